"""Point clouds from arrays and from point files: .npz, .npy, .pcd and .xyz.

The parsers are few lines of numpy that trust no size they read and never unpickle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from math import prod
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from omnibind.errors import MediaError
from omnibind.media.source import Content, refusal
from omnibind.media.surface import Cloud

MAX_BYTES = 512 * 1024**2
"""Largest array inside a file, in bytes when unpacked (ours)."""

_XYZ_NAMES, _RGB_NAMES = ("xyz", "points"), ("rgb", "colors")
_PCD_KINDS = {"F": "f", "U": "u", "I": "i"}


def from_columns(table: NDArray[Any], label: str) -> Cloud:
    """A table `[point, 3]` of x, y, z or `[point, 6]` of x, y, z, red, green, blue."""
    if table.ndim != 2 or table.shape[1] not in (3, 6):
        raise refusal(
            "points",
            label,
            found=f"an array of shape {list(table.shape)}",
            next_step="give [point, 3] or [point, 6]: x, y, z and, if known, red, green, blue",
        )
    return (table, None) if table.shape[1] == 3 else (table[:, :3], unit_rgb(table[:, 3:], label))


def unit_rgb(colours: NDArray[Any], label: str) -> NDArray[Any]:
    """Colours in [0, 1] from 8-bit ones or whole numbers up to 255; others must be in [0, 1]."""
    if not colours.size or colours.dtype == np.uint8:
        return colours / 255
    low, high = colours.min(), colours.max()
    if low >= 0 and high <= 1:
        return colours
    if low >= 0 and high <= 255 and not (colours % 1).any():
        return colours / 255
    raise refusal(
        "points",
        label,
        found=f"colours from {low:g} to {high:g}",
        next_step="give rgb as uint8 in [0, 255] or float in [0, 1], or leave it out",
    )


def from_npz(content: Content) -> Cloud:
    """Arrays `xyz` and `rgb` (or `points` and `colors`), or a single table."""
    with ZipFile(BytesIO(content.data)) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        found = _pick(members, _XYZ_NAMES)
        if found is None and len(members) != 1:
            raise refusal(
                "points",
                content.label,
                found=f"arrays named {', '.join(list(members)[:9]) or 'nothing'}",
                next_step="save it again with np.savez(path, xyz=..., rgb=...)",
            )
        wanted = (found or next(iter(members)), _pick(members, _RGB_NAMES))
        if sum(members[name].file_size for name in wanted if name) > MAX_BYTES:
            raise _too_large(content.label)
        xyz, rgb = (
            _array(archive.read(members[name]), content.label) if name else None for name in wanted
        )
    assert xyz is not None
    return from_columns(xyz, content.label) if rgb is None else (xyz, unit_rgb(rgb, content.label))


def from_npy(content: Content) -> Cloud:
    """One table."""
    return from_columns(_array(content.data, content.label), content.label)


def from_xyz(content: Content) -> Cloud:
    """Lines of three or six numbers; `#` starts a comment, commas count as spaces."""
    return from_columns(_numbers(content.data.replace(b",", b" ")), content.label)


def from_pcd(content: Content) -> Cloud:
    """A Point Cloud Library file, `DATA ascii` or `DATA binary`."""
    header, encoding, body = _pcd_header(content)
    count = int(header["POINTS"][0])
    repeats = [int(number) for number in header.get("COUNT", ["1"] * len(header["FIELDS"]))]
    kinds = [
        f"<{_PCD_KINDS[kind]}{int(size)}"
        for kind, size in zip(header["TYPE"], header["SIZE"], strict=True)
    ]
    if encoding == "ascii":
        column = _columns(header["FIELDS"], kinds, repeats, _numbers(body))
    else:
        layout = np.dtype(
            [
                (f"{name}" if name != "_" else f"_{number}", kind, (repeat,))
                for number, (name, kind, repeat) in enumerate(
                    zip(header["FIELDS"], kinds, repeats, strict=True)
                )
            ]
        )
        column = np.frombuffer(body, layout, count=count).__getitem__
    xyz = np.stack([column(axis).reshape(-1) for axis in "xyz"], axis=1)
    if len(xyz) != count:
        raise ValueError(f"{count} points are promised, {len(xyz)} are there")
    name = _pick(dict.fromkeys(header["FIELDS"]), ("rgb", "rgba"))
    return xyz, _packed_rgb(column(name)) if name else None


def _pick(names: Mapping[str, object], wanted: tuple[str, ...]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _array(data: bytes, label: str) -> NDArray[Any]:
    """What `np.load(allow_pickle=False)` does, with the promised size checked before."""
    stream = BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read_header = np.lib.format.read_array_header_2_0
    shape, by_column, kind = read_header(stream)
    if kind.hasobject:
        raise refusal(
            "points",
            label,
            found="pickled Python objects, which could run code",
            next_step="if you trust it, load it yourself and np.savez(path, xyz=..., rgb=...)",
        )
    rest = data[stream.tell() :]
    if kind.kind not in "fiu" or prod(shape) * kind.itemsize != len(rest):
        raise ValueError(f"{len(rest)} bytes for an array of shape {shape} and type {kind}")
    if len(rest) > MAX_BYTES:
        raise _too_large(label)
    return np.frombuffer(rest, kind).reshape(shape, order="F" if by_column else "C")


def _numbers(text: bytes) -> NDArray[np.float64]:
    return np.loadtxt(BytesIO(text), ndmin=2, encoding="latin-1")


def _pcd_header(content: Content) -> tuple[dict[str, list[str]], str, bytes]:
    head, mark, rest = content.data.partition(b"\nDATA ")
    first, _, body = rest.partition(b"\n")
    encoding = first.strip().decode("ascii")
    if not mark or encoding not in ("ascii", "binary"):
        raise refusal(
            "points",
            content.label,
            found=f"PCD data of the kind {encoding[:20]!r}",
            next_step="write it uncompressed, with `DATA binary` or `DATA ascii`",
        )
    lines = (line.split() for line in head.decode("ascii").splitlines())
    return {line[0]: line[1:] for line in lines if line}, encoding, body


def _columns(
    names: list[str], kinds: list[str], repeats: list[int], table: NDArray[np.float64]
) -> Callable[[str], NDArray[Any]]:
    starts = np.cumsum([0, *repeats])
    if starts[-1] != table.shape[1]:
        raise ValueError(f"{starts[-1]} columns are promised, {table.shape[1]} are there")

    def column(name: str) -> NDArray[Any]:
        number = names.index(name)
        return table[:, starts[number]].astype(kinds[number])

    return column


def _packed_rgb(packed: NDArray[Any]) -> NDArray[Any]:
    """Colours from the four bytes 0xAARRGGBB, stored as an integer or as a float's bits."""
    bits = np.ascontiguousarray(packed).reshape(-1).view("<u4")
    return np.stack([bits >> shift & 255 for shift in (16, 8, 0)], axis=1) / 255


def _too_large(label: str) -> MediaError:
    return refusal(
        "points",
        label,
        found=f"arrays of more than {MAX_BYTES:,} bytes",
        next_step="give fewer points",
    )
