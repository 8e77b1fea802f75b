"""Points of open3d objects, legacy and tensor ones, without importing open3d."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from omnibind.media.clouds import unit_rgb
from omnibind.media.meshes import SURFACE_POINTS, check_faces
from omnibind.media.source import refusal
from omnibind.media.surface import Cloud, Paint, Piece, by_vertex, sample, textured


def from_open3d(shape: Any, label: str) -> Cloud:
    """Points on a TriangleMesh, or those of a PointCloud."""
    tensor = hasattr(shape, "is_cpu")
    if tensor:
        shape = shape.cpu()
    if hasattr(shape, "point") or hasattr(shape, "points"):
        return _tensor_cloud(shape, label) if tensor else _legacy_cloud(shape)
    pieces = list(_tensor_pieces(shape, label) if tensor else _legacy_pieces(shape, label))
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


def _legacy_pieces(mesh: Any, label: str) -> Iterator[Piece]:
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.triangles)
    check_faces(len(faces), label)
    if mesh.has_vertex_colors() or not (mesh.has_triangle_uvs() and mesh.has_textures()):
        colours = np.asarray(mesh.vertex_colors) if mesh.has_vertex_colors() else None
        yield Piece.of(vertices, faces, None if colours is None else by_vertex(colours, faces))
        return
    places = np.asarray(mesh.triangle_uvs)
    corners = np.arange(len(places)).reshape(-1, 3)
    materials = np.asarray(mesh.triangle_material_ids)
    for number, texture in enumerate(mesh.textures):
        mine = materials == number if len(materials) else np.full(len(faces), number == 0)
        pixels = np.asarray(texture)
        paint = _texture(places, corners[mine], pixels) if pixels.size else None
        yield Piece.of(vertices, faces[mine], paint)


def _tensor_pieces(mesh: Any, label: str) -> Iterator[Piece]:
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
        paint = _texture(places, np.arange(len(places)).reshape(-1, 3), pixels)
    yield Piece.of(vertices, faces, paint)


def _texture(places: Any, corners: Any, pixels: Any) -> Paint:
    colour = pixels[..., :3] if pixels.shape[-1] >= 3 else np.repeat(pixels[..., :1], 3, axis=-1)
    return textured(places, corners, colour)
