"""Shapes: `Points`, a cloud with or without colour, whether they came as a cloud or as a mesh.

Meshes become 65,536 points spread evenly over their surface, the same ones every time, coloured by
texture, material, vertices or faces. y is up, as in OBJ and glTF; axes and units stay as in the
file, unless `load` is told that z is up there, as in many scans and in STL files.
Ours: all limits, and that one point is enough (`sample` repeats points to make more).

Mesh files are parsed by trimesh, which is Python, and point files by a few lines of numpy: both
raise on corrupted files and never crash the process. Nothing is unpickled. open3d's objects are
understood but open3d is never imported here.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnibind.media import clouds, meshes
from omnibind.media.arrays import as_array, is_array
from omnibind.media.open3d_objects import from_open3d
from omnibind.media.source import Content, MediaWarning, decoding, describe, read, refusal
from omnibind.media.surface import Cloud

MAX_POINTS = 20_000_000
UpAxis = Literal["y", "z"]
LARGEST = 1e15
"""Coordinates beyond this overflow float32 when they are squared."""

_SEED = 20240711
_POINT_FILES = {
    "npz": clouds.from_npz,
    "npy": clouds.from_npy,
    "xyz": clouds.from_xyz,
    "pcd": clouds.from_pcd,
}
_MESH_FILES = ("obj", "ply", "stl", "off", "glb", "gltf")
_SHAPES = ("Trimesh", "Scene", "PointCloud", "TriangleMesh")
_OPENINGS = (  # how a file says what it is, whatever its name
    (b"PK\x03\x04", "npz"),
    (b"\x93NUMPY", "npy"),
    (b"glTF", "glb"),
    (b"ply", "ply"),
    (b"# .PCD", "pcd"),
    (b"VERSION", "pcd"),
    (b"OFF", "off"),
    (b"COFF", "off"),
    (b"{", "gltf"),
)


@dataclass(frozen=True, eq=False)
class Points:
    """One cloud.

    Attributes:
        xyz: positions in the units of the file, y up.
        rgb: colours in [0, 1], or None where nothing is known of them.
    """

    xyz: Float[Tensor, "point 3"]
    rgb: Float[Tensor, "point 3"] | None

    def sample(
        self, count: int
    ) -> tuple[Float[Tensor, "{count} 3"], Float[Tensor, "{count} 3"] | None]:
        """Exactly `count` points: an even pick of a fixed shuffle, round again if there are fewer.

        Raises:
            ValueError: `count` is not positive.
        """
        if count < 1:
            raise ValueError(f"cannot sample {count} points: ask for at least one")
        held = len(self.xyz)
        steps = torch.arange(count)
        chosen = self._shuffle[steps * held // count if count <= held else steps % held]
        return self.xyz[chosen], None if self.rgb is None else self.rgb[chosen]

    @cached_property
    def _shuffle(self) -> Tensor:
        return torch.randperm(len(self.xyz), generator=torch.Generator().manual_seed(_SEED))


def load(source: object, *, up_axis: UpAxis = "y") -> Points:
    """Reads a shape.

    Args:
        source: a path or the bytes of a mesh file (.obj, .ply, .stl, .off, .glb, .gltf) or point
            file (.ply, .pcd, .xyz, .npz, .npy); `(xyz, rgb)` arrays or tensors, rgb or None; a
            float table `[point, 3 | 6]`; a trimesh or open3d mesh, scene or cloud; `Points`.
        up_axis: what points up in the source; with `z` the shape is turned about the x axis.
    Raises:
        MediaError: no shape, damaged, empty, without area, NaN or infinite, or too large.
    Warns:
        MediaWarning: a material or texture is missing or damaged; the shape is used without.
    """
    problems: list[str] = []
    if _is_in_memory(source):
        label = f"({describe(source)})"
        with decoding("points", label):
            points = _checked(_from_object(source, label, problems), label)
    else:
        content = read(source, "points")
        label = content.label
        with decoding("points", label):
            points = _checked(_from_file(content, problems), label)
    for problem in dict.fromkeys(problems):
        warnings.warn(f"points {label}: {problem}", MediaWarning, stacklevel=2)
    return _upright(points, up_axis, label)


def claims(thing: object) -> bool:
    """Whether the object is a cloud or a mesh: `Points`, `(xyz, rgb)`, a float table
    `[point, 3 | 6]`, or a shape of trimesh or open3d."""
    if isinstance(thing, tuple):
        return (
            len(thing) == 2 and _is_table(thing[0], 3) and (thing[1] is None or is_array(thing[1]))
        )
    return isinstance(thing, Points) or _library(thing) != "" or _is_table(thing, 3, 6)


def digest(media: Points) -> bytes:
    """Equal positions and colours, equal digest."""
    head = f"{len(media.xyz)} {media.rgb is not None}".encode()
    summary = blake2b(head, digest_size=16, person=b"points")
    for values in (media.xyz, media.rgb):
        if values is not None:
            summary.update(values.contiguous().numpy().data)
    return summary.digest()


def _upright(points: Points, up_axis: str, label: str) -> Points:
    if up_axis not in get_args(UpAxis):
        raise refusal("points", label, found=f"up_axis={up_axis!r}", next_step="say 'y' or 'z'")
    if up_axis == "y":
        return points
    x, y, z = points.xyz.unbind(-1)
    return Points(torch.stack([x, z, -y], dim=-1), points.rgb)


def _is_in_memory(thing: object) -> bool:
    return isinstance(thing, Points | tuple) or is_array(thing) or _library(thing) != ""


def _is_table(thing: object, *widths: int) -> bool:
    return (
        is_array(thing)
        and "float" in str(thing.dtype)
        and thing.ndim == 2
        and thing.shape[1] in widths
    )


def _library(thing: object) -> str:
    """`trimesh` or `open3d` if the object, or a class it derives from, is one of their shapes."""
    for kind in type(thing).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in ("trimesh", "open3d") and kind.__name__ in _SHAPES:
            return library
    return ""


def _from_object(thing: Any, label: str, problems: list[str]) -> Cloud:
    if isinstance(thing, Points):
        thing = (thing.xyz, thing.rgb)
    if isinstance(thing, tuple):
        return _from_pair(thing, label)  # pyright: ignore[reportUnknownArgumentType]
    if is_array(thing):
        return clouds.from_columns(as_array(thing), label)
    if _library(thing) == "open3d":
        return from_open3d(thing, label, problems)
    return meshes.from_trimesh(thing, label, problems)


def _from_pair(pair: tuple[Any, ...], label: str) -> Cloud:
    if len(pair) != 2 or not is_array(pair[0]) or not (pair[1] is None or is_array(pair[1])):
        raise refusal(
            "points",
            label,
            found=f"a tuple of {', '.join(map(describe, pair)) or 'nothing'}",
            next_step="give (xyz, rgb): two arrays [point, 3], or None for rgb",
        )
    xyz, rgb = pair
    return as_array(xyz), None if rgb is None else clouds.unit_rgb(as_array(rgb), label)


def _from_file(content: Content, problems: list[str]) -> Cloud:
    kind = _kind(content)
    if kind in _POINT_FILES:
        return _POINT_FILES[kind](content)
    if kind in _MESH_FILES:
        return meshes.from_file(content, kind, problems)
    raise refusal(
        "points",
        content.label,
        found=f"no known shape; it starts with {content.data[:12]!r}",
        next_step=f"convert it to one of {', '.join([*_MESH_FILES, *_POINT_FILES])}",
    )


def _kind(content: Content) -> str:
    """What a file is: as its first bytes say; else as its name says; else by its first line."""
    start = content.data[:4096].lstrip()
    for opening, kind in _OPENINGS:
        if start.startswith(opening):
            return kind
    if content.suffix[1:] in ("obj", "stl", "xyz", "off"):
        return content.suffix[1:]
    if b"\nVERSION" in start and b"\nFIELDS" in start:
        return "pcd"
    triangles = int.from_bytes(content.data[80:84], "little")
    if start.startswith(b"solid") or len(content.data) == 84 + 50 * triangles:
        return "stl"
    lines = [line for line in start.splitlines() if line and not line.startswith(b"#")]
    first = lines[0].split()[0] if lines else b""
    if first in (b"v", b"o", b"g", b"vn", b"vt", b"mtllib", b"usemtl"):
        return "obj"
    return "xyz" if first[:1].isdigit() or first[:1] in (b"-", b".", b"+") else ""


def _checked(cloud: Cloud, label: str) -> Points:
    xyz, rgb = cloud
    if xyz.ndim != 2 or xyz.shape[1] != 3 or (rgb is not None and rgb.shape != xyz.shape):
        shapes = [list(part.shape) for part in cloud if part is not None]
        found = f"positions and colours of the shapes {shapes}, expected [point, 3]"
    elif not 1 <= len(xyz) <= MAX_POINTS:
        found = f"{len(xyz):,} points; 1 to {MAX_POINTS:,} are taken"
    elif not (np.abs(xyz) <= LARGEST).all():  # also catches NaN
        found = f"coordinates that are NaN, infinite or beyond {LARGEST:g}"
    elif rgb is not None and not ((rgb >= 0) & (rgb <= 1)).all():
        found = "colours that are NaN or outside [0, 1]"
    else:
        tensors = (_tensor(xyz), None if rgb is None else _tensor(rgb))
        return Points(*tensors)
    raise refusal("points", label, found=found, next_step="mend the shape, or leave it out")


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
