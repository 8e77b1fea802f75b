"""Points of open3d objects, legacy and tensor ones, without importing open3d."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from omnibind.media.clouds import unit_rgb
from omnibind.media.meshes import SURFACE_POINTS, check_faces
from omnibind.media.source import refusal
from omnibind.media.surface import Cloud, Paint, Piece, by_vertex, sample, textured


def from_open3d(shape: Any, label: str, problems: list[str]) -> Cloud:
    """Points on a TriangleMesh, or those of a PointCloud."""
    tensor = hasattr(shape, "is_cpu")
    if tensor:
        shape = shape.cpu()
    if hasattr(shape, "point") or hasattr(shape, "points"):
        return _tensor_cloud(shape, label) if tensor else _legacy_cloud(shape)
    read = _tensor_pieces if tensor else _legacy_pieces
    pieces = list(read(shape, label, problems))
    if not sum(len(piece.faces) for piece in pieces):
        raise refusal("points", label, found="an empty mesh: no faces")
    return sample(pieces, SURFACE_POINTS)


def _legacy_cloud(cloud: Any) -> Cloud:
    return np.asarray(cloud.points), np.asarray(cloud.colors) if cloud.has_colors() else None


def _tensor_cloud(cloud: Any, label: str) -> Cloud:
    if "positions" not in cloud.point:
        return np.empty((0, 3)), None
    rgb = unit_rgb(cloud.point.colors.numpy(), label) if "colors" in cloud.point else None
    return cloud.point.positions.numpy(), rgb


def _legacy_pieces(mesh: Any, label: str, problems: list[str]) -> Iterator[Piece]:
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.triangles)
    check_faces(len(faces), label)
    textures = [np.asarray(texture) for texture in mesh.textures]
    if mesh.has_vertex_colors() or not (mesh.has_triangle_uvs() and any(map(_has_rows, textures))):
        colours = np.asarray(mesh.vertex_colors) if mesh.has_vertex_colors() else None
        yield Piece.of(vertices, faces, None if colours is None else by_vertex(colours, faces))
        return
    places = np.asarray(mesh.triangle_uvs)
    corners = np.arange(len(places)).reshape(-1, 3)
    materials = np.asarray(mesh.triangle_material_ids)
    materials = materials if len(materials) else np.zeros(len(faces), int)
    for number in np.unique(materials):
        mine = materials == number
        texture = textures[number] if number < len(textures) else np.empty(0)
        bottom_first = texture[::-1] if _has_rows(texture) else None
        paint = _texture(places, corners[mine], bottom_first, problems)
        yield Piece.of(vertices, faces[mine], paint)


def _has_rows(texture: Any) -> bool:
    return texture.ndim > 1  # open3d stands an empty image in for a material without a texture


def _tensor_pieces(mesh: Any, label: str, problems: list[str]) -> Iterator[Piece]:
    if "positions" not in mesh.vertex or "indices" not in mesh.triangle:
        return
    vertices, faces = mesh.vertex.positions.numpy(), mesh.triangle.indices.numpy()
    check_faces(len(faces), label)
    paint: Paint | None = None
    if "colors" in mesh.vertex:
        paint = by_vertex(unit_rgb(mesh.vertex.colors.numpy(), label), faces)
    elif "texture_uvs" in mesh.triangle and "albedo" in mesh.material.texture_maps:
        places = mesh.triangle.texture_uvs.numpy().reshape(-1, 2)
        pixels = mesh.material.texture_maps["albedo"].as_tensor().numpy()
        paint = _texture(places, np.arange(len(places)).reshape(-1, 3), pixels, problems)
    yield Piece.of(vertices, faces, paint)


def _texture(places: Any, corners: Any, pixels: Any, problems: list[str]) -> Paint | None:
    if pixels is None:
        return None
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] < 3:
        problems.append(
            f"a texture {list(pixels.shape)} of {pixels.dtype}, not 8-bit RGB: left out"
        )
        return None
    return textured(places, corners, pixels[..., :3])
