"""Looks over a glTF before trimesh reads it: sizes that lie, parts that would be read wrongly."""

from __future__ import annotations

import base64
import json
from typing import Any

from omnibind.errors import MediaError
from omnibind.media.image import open_header
from omnibind.media.source import Content, refusal

MAX_NUMBERS = 64 * 1024**2
"""Most numbers in all accessors together (ours)."""

_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_COMPRESSION = {"KHR_draco_mesh_compression", "EXT_meshopt_compression"}
_UNSIGNED_SHORT = 5123


def check(content: Content, *, binary: bool) -> list[str]:
    """What the shape has to do without, such as a texture in a format that is not read.

    Raises:
        MediaError: too large, compressed, or of a kind whose colours would come out wrong.
    """
    tree, body = _split(content.data) if binary else (json.loads(content.data), b"")
    label = content.label
    _check_size(tree, label)
    _check_compression(tree, label)
    _check_colours(tree, label)
    return [problem for image in tree.get("images", []) for problem in _fault(image, tree, body)]


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    end = 20 + int.from_bytes(data[12:16], "little")
    return json.loads(data[20:end]), data[end + 8 :]


def _check_size(tree: dict[str, Any], label: str) -> None:
    numbers = sum(part["count"] * _WIDTHS[part["type"]] for part in tree.get("accessors", []))
    if numbers > MAX_NUMBERS:
        raise refusal(
            "points",
            label,
            found=f"{numbers:,} numbers; at most {MAX_NUMBERS:,} are read",
            next_step="simplify the mesh, or sample points on it and give those",
        )


def _check_compression(tree: dict[str, Any], label: str) -> None:
    needed = _COMPRESSION.intersection(tree.get("extensionsRequired", []))
    if needed:
        raise refusal(
            "points",
            label,
            found=f"geometry packed with {', '.join(sorted(needed))}",
            next_step="export it without compression",
        )


def _check_colours(tree: dict[str, Any], label: str) -> None:
    for mesh in tree.get("meshes", []):
        for primitive in mesh["primitives"]:
            colour = primitive["attributes"].get("COLOR_0")
            if colour is None or "material" in primitive:
                continue
            if tree["accessors"][colour]["componentType"] == _UNSIGNED_SHORT:
                raise refusal(
                    "points",
                    label,
                    found="16-bit vertex colours on a mesh without a material",
                    next_step="give the mesh a material, or store the colours as bytes or floats",
                )


def _fault(image: dict[str, Any], tree: dict[str, Any], body: bytes) -> list[str]:
    uri: str = image.get("uri", "")
    if uri and "base64," not in uri:
        return []  # a file beside the mesh; looked at when it is read
    name = image.get("name", "a texture")
    try:
        open_header(_embedded(image, uri, tree, body), "(texture)")
    except MediaError as error:
        return [f"{name!r} is left out: {error.found[0]}"]
    return []


def _embedded(image: dict[str, Any], uri: str, tree: dict[str, Any], body: bytes) -> bytes:
    if uri:
        return _decoded(uri)
    view = tree["bufferViews"][image["bufferView"]]
    buffer = tree["buffers"][view["buffer"]].get("uri", "")
    whole = _decoded(buffer) if buffer else body
    start = view.get("byteOffset", 0)
    return whole[start : start + view["byteLength"]]


def _decoded(uri: str) -> bytes:
    return base64.b64decode(uri.partition("base64,")[2])
