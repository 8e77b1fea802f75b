"""Points on meshes, from files and from trimesh objects.

trimesh reads the files. It is Python: a corrupted file makes it raise, where readers in C++ have
been seen to crash. What a mesh could not be given (a missing texture, say) is added to `problems`.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import trimesh as untyped_trimesh
from numpy.typing import NDArray
from PIL import Image

from omnibind.errors import MediaError
from omnibind.media import gltf
from omnibind.media.image import FORMATS, MAX_PIXELS, as_rgb, open_header
from omnibind.media.source import Content, read, refusal
from omnibind.media.surface import (
    Cloud,
    Paint,
    Piece,
    by_face,
    by_vertex,
    flat,
    product,
    sample,
    textured,
)

SURFACE_POINTS = 65_536
MAX_FACES = 3_000_000
"""Most triangles of one shape, all parts together (ours): some seconds and under 2 GB."""
MAX_MEGABYTES_OF_TEXT = {"obj": 128, "stl": 128, "gltf": 128, "ply": 48, "off": 48}
"""Largest mesh files that are text (ours), by how fast trimesh parses them."""
MAX_SIBLING = 128 * 1024**2
"""Largest file beside a mesh that is read, in bytes (ours)."""

trimesh: Any = untyped_trimesh


def from_file(content: Content, kind: str, problems: list[str]) -> Cloud:
    """Reads a mesh file: obj, ply, stl, off, glb or gltf."""
    _check_text(content, kind)
    if kind == "stl":
        check_faces((len(content.data) - 84) // 50, content.label)
    if kind in ("glb", "gltf"):
        problems += gltf.check(content, binary=kind == "glb")
    siblings = Siblings(content.path.parent if content.path else None, problems)
    scene = trimesh.load_scene(
        BytesIO(content.data), file_type=kind, resolver=siblings, process=False
    )
    return from_trimesh(scene, content.label, problems)


def from_trimesh(shape: Any, label: str, problems: list[str]) -> Cloud:
    """Points on a Trimesh or on all meshes of a Scene; the points of a PointCloud."""
    parts = _parts(shape)
    meshes = [(part, matrix) for part, matrix in parts if len(getattr(part, "faces", ()))]
    if meshes:
        if len(meshes) < len(parts):
            problems.append(f"{len(parts) - len(meshes)} of its parts have no faces: left out")
        check_faces(sum(len(mesh.faces) for mesh, _ in meshes), label)
        painter = Painter(problems)
        return sample([_piece(mesh, matrix, painter) for mesh, matrix in meshes], SURFACE_POINTS)
    clouds = [_cloud(part, matrix) for part, matrix in parts if len(part.vertices)]
    if not clouds:
        raise refusal("points", label, found="an empty mesh: no faces and no points")
    xyz = np.concatenate([points for points, _ in clouds])
    colours = [rgb for _, rgb in clouds if rgb is not None]
    return xyz, np.concatenate(colours) if len(colours) == len(clouds) else None


def check_faces(count: int, label: str) -> None:
    """Refuses shapes that would take too long, before their faces are looked at."""
    if count > MAX_FACES:
        raise refusal(
            "points",
            label,
            found=f"{count:,} faces; at most {MAX_FACES:,} are sampled",
            next_step="simplify the mesh, or sample points on it and give those",
        )


def _check_text(content: Content, kind: str) -> None:
    head = content.data[:1000]
    binary = (kind == "ply" and b"format ascii" not in head) or (
        kind == "stl" and b"facet" not in head
    )
    megabytes = len(content.data) / 1024**2
    if kind in MAX_MEGABYTES_OF_TEXT and not binary and megabytes > MAX_MEGABYTES_OF_TEXT[kind]:
        raise refusal(
            "points",
            content.label,
            found=f"{megabytes:,.0f} MB of text; at most {MAX_MEGABYTES_OF_TEXT[kind]} are parsed",
            next_step="convert it to .glb or binary .ply",
        )


class Siblings:
    """The files beside a mesh that it may name; trimesh calls this a resolver.

    Nothing outside the mesh's own folder is read, by whatever path, link or URL.
    """

    def __init__(self, folder: Path | None, problems: list[str]) -> None:
        self.folder = folder
        self.problems = problems

    def get(self, name: str) -> bytes:
        """The bytes of a file by the name the mesh gives it."""
        try:
            return self._read(name.strip().replace("\\", "/"))
        except (MediaError, OSError, ValueError) as error:
            reason = error.found[0] if isinstance(error, MediaError) else str(error)
            self.problems.append(f"{name.strip()!r} is left out: {reason}")
            raise FileNotFoundError(name) from error

    __getitem__ = get

    def _read(self, name: str) -> bytes:
        if self.folder is None:
            raise ValueError("bytes in memory have no folder to look in")
        if name.startswith("-"):  # options before the name of a texture in an .mtl
            name = name.split()[-1]
        folder = self.folder.resolve()
        for candidate in (name, name.rpartition("/")[2]):  # as named, else right beside the mesh
            path = (folder / candidate).resolve()
            if path.is_relative_to(folder) and path.is_file():
                break
        else:
            raise ValueError("there is no such file in the folder of the mesh")
        content = read(path, "points", limit=MAX_SIBLING)
        if path.suffix.lower() not in (".mtl", ".bin"):
            open_header(content.data, name)
        return content.data


class Painter:
    """Finds how each mesh of a shape is coloured; decodes each texture once."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        self._pixels: dict[int, NDArray[np.uint8] | None] = {}
        self._room = MAX_PIXELS

    def paint(self, mesh: Any) -> Paint | None:
        """The colours of a mesh: its material's or texture's, its vertices' or its faces'."""
        look = mesh.visual
        if look.kind == "vertex":
            return by_vertex(look.vertex_colors[:, :3] / 255, mesh.faces)
        if look.kind == "face":
            return by_face(look.face_colors[:, :3] / 255)
        if look.kind == "texture":
            return self._of_material(look, mesh.faces)
        return None

    def _of_material(self, look: Any, faces: Any) -> Paint | None:
        material = look.material
        physical = hasattr(material, "baseColorFactor")
        if not physical and not hasattr(material, "diffuse"):
            self.problems.append("several materials on one mesh: its colours are left out")
            return None
        picture = material.baseColorTexture if physical else material.image
        colour = material.baseColorFactor if physical else _diffuse(material)
        pixels = None if picture is None or look.uv is None else self._decode(picture)
        paint = flat(np.asarray(colour)[:3] / 255) if colour is not None else None
        if pixels is not None:
            texture = textured(np.asarray(look.uv), faces, pixels)
            paint = product(texture, paint) if physical and paint else texture
        elif physical and paint is None:
            paint = flat(np.ones(3))  # what glTF says of a material that says nothing
        blend = look.vertex_attributes.data.get("color")
        if paint is not None and blend is not None:
            paint = product(paint, by_vertex(_unit(np.asarray(blend))[:, :3], faces))
        return paint

    def _decode(self, picture: Image.Image) -> NDArray[np.uint8] | None:
        if id(picture) not in self._pixels:
            self._pixels[id(picture)] = self._decode_once(picture)
        return self._pixels[id(picture)]

    def _decode_once(self, picture: Image.Image) -> NDArray[np.uint8] | None:
        if _is_placeholder(picture):
            return None
        self._room -= picture.width * picture.height
        fault = ""
        if self._room < 0:
            fault = f"the textures have more than {MAX_PIXELS:,} pixels"
        elif picture.format not in (*FORMATS, None):
            fault = f"a texture of the format {picture.format}, which is not read"
        else:
            try:
                return np.asarray(as_rgb(picture, "(texture)"))
            except Exception as error:  # noqa: BLE001 - damaged, of any kind
                fault = f"a texture does not decode ({type(error).__name__}: {error})"
        self.problems.append(f"{fault}: it is left out")
        return None


def _parts(shape: Any) -> list[tuple[Any, NDArray[Any]]]:
    """Every geometry with its place in the scene, in an order that depends on content alone."""
    if not hasattr(shape, "geometry"):
        return [(shape, np.eye(4))]
    order = {name: number for number, name in enumerate(shape.geometry)}
    placed = [(name, matrix) for matrix, name in map(shape.graph.get, shape.graph.nodes_geometry)]
    placed.sort(key=lambda part: (order[part[0]], np.asarray(part[1]).tobytes()))
    return [(shape.geometry[name], matrix) for name, matrix in placed]


def _piece(mesh: Any, matrix: NDArray[Any], painter: Painter) -> Piece:
    return Piece.of(_moved(mesh.vertices, matrix), np.asarray(mesh.faces), painter.paint(mesh))


def _cloud(part: Any, matrix: NDArray[Any]) -> Cloud:
    colours = np.asarray(getattr(getattr(part, "visual", None), "vertex_colors", ()))
    rgb = colours[:, :3] / 255 if colours.shape == (len(part.vertices), 4) else None
    return _moved(part.vertices, matrix), rgb


def _moved(vertices: Any, matrix: NDArray[Any]) -> NDArray[np.float64]:
    points = np.asarray(vertices, dtype=np.float64)
    if np.array_equal(matrix, np.eye(4)):
        return points
    return points @ np.asarray(matrix)[:3, :3].T + np.asarray(matrix)[:3, 3]


def _diffuse(material: Any) -> Any:
    """A material's own colour, or None where trimesh put its default."""
    default = cast("Any", untyped_trimesh).visual.color.DEFAULT_COLOR
    named = "kd" in material.kwargs or not np.array_equal(material.diffuse, default)
    return material.diffuse if named else None


def _is_placeholder(picture: Image.Image) -> bool:
    """Whether this is the 2 x 2 grey picture that trimesh gives to meshes without a material."""
    return picture.format is None and picture.size == (2, 2)


def _unit(colours: NDArray[Any]) -> NDArray[Any]:
    top = np.iinfo(colours.dtype).max if colours.dtype.kind == "u" else 1
    return np.clip(colours / top, 0, 1)
