"""Points on a surface: area-weighted, coloured, and the same ones every time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]
Cloud = tuple[Floats, Floats | None]
"""Points `[point, 3]` and their colours `[point, 3]` in [0, 1], where they have any."""
Paint = Callable[[Integers, Floats], Floats]
"""Colours `[point, 3]` at points given by face number and barycentric weights `[point, corner]`."""

UNPAINTED = 0.4
"""Grey of the parts without colour in a shape that has others with colour (ours)."""

_SEED = 20240711


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Triangles that are coloured in one way.

    Attributes:
        vertices: `[vertex, 3]`.
        faces: `[face, 3]`, numbers of vertices.
        paint: how to colour points on it, or None.
    """

    vertices: Floats
    faces: Integers
    paint: Paint | None = None

    @classmethod
    def of(cls, vertices: Floats, faces: Integers, paint: Paint | None) -> Piece:
        """A piece whose faces have been checked to name vertices that are somewhere.

        Raises:
            ValueError: they do not.
        """
        if any(array.ndim != 2 or array.shape[1] != 3 for array in (vertices, faces)):
            raise ValueError(f"vertices {vertices.shape} and faces {faces.shape} are no triangles")
        if not np.isfinite(vertices).all():
            raise ValueError("NaN or infinite coordinates")
        if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
            raise ValueError("a face names a vertex that does not exist")
        return cls(vertices=vertices.astype(np.float64), faces=faces, paint=paint)


def sample(pieces: Sequence[Piece], count: int) -> Cloud:
    r"""Spreads points evenly over the area of all pieces together.

    Point `i` lies where the running sum of face areas reaches `(i + u_i) / count` of the total,
    with `u_i` uniform: one point in each equal share of the area, at a random place in its face.

    Raises:
        ValueError: the area is zero or not finite.
    Source:
        Inside a face: Osada et al. 2002, "Shape distributions", eq. 1. Ours: one point a share.
    """
    areas = np.concatenate([_areas(piece) for piece in pieces])
    reached = np.cumsum(areas, dtype=np.float64)
    if not (np.isfinite(reached[-1]) and reached[-1] > 0):
        raise ValueError(f"the faces have an area of {reached[-1]:g}")
    random = np.random.default_rng(_SEED)
    where = (np.arange(count) + random.random(count)) * (reached[-1] / count)
    chosen = np.minimum(np.searchsorted(reached, where, "right"), np.flatnonzero(areas)[-1])
    root, along = np.sqrt(random.random(count)), random.random(count)
    weights = np.stack([1 - root, root * (1 - along), root * along], axis=1)
    return _place(pieces, chosen, weights)


def flat(colour: Floats) -> Paint:
    """One colour everywhere."""
    return lambda faces, _: np.broadcast_to(colour, (len(faces), 3))


def by_face(colours: Floats) -> Paint:
    """One colour a face."""
    return lambda faces, _: colours[faces]


def by_vertex(colours: Floats, faces: Integers) -> Paint:
    """A colour a vertex, blended inside each face; rounding does not leave the colours' range."""

    def paint(chosen: Integers, weights: Floats) -> Floats:
        blended = np.einsum("pc,pcd->pd", weights, colours[faces[chosen]])
        return blended.clip(colours.min(), colours.max())

    return paint


def textured(places: Floats, corners: Integers, pixels: NDArray[np.uint8]) -> Paint:
    """The nearest pixel of a picture that repeats in both directions.

    Args:
        places: `[place, 2]`, u to the right and v upwards, the picture filling [0, 1].
        corners: `[face, 3]`, numbers of places.
        pixels: `[height, width, 3]`, top row first.
    """
    height, width = pixels.shape[:2]

    def paint(chosen: Integers, weights: Floats) -> Floats:
        where = np.einsum("pc,pcd->pd", weights, places[corners[chosen]])
        u, v = np.nan_to_num(where, posinf=0, neginf=0).T % 1
        rows = np.minimum(((1 - v) * height).astype(np.int64), height - 1)
        columns = np.minimum((u * width).astype(np.int64), width - 1)
        return pixels[rows, columns] / 255

    return paint


def product(first: Paint, second: Paint) -> Paint:
    """Both colours multiplied, as glTF does with factor, texture and vertex colour."""
    return lambda faces, weights: first(faces, weights) * second(faces, weights)


def _areas(piece: Piece) -> Floats:
    a, b, c = (piece.vertices[piece.faces[:, corner]] for corner in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def _place(pieces: Sequence[Piece], chosen: Integers, weights: Floats) -> Cloud:
    ends = np.cumsum([len(piece.faces) for piece in pieces])
    cuts = np.searchsorted(chosen, ends)  # `chosen` is sorted: each piece has one run of it
    xyz, rgb = np.empty((len(chosen), 3)), np.full((len(chosen), 3), UNPAINTED)
    start = 0
    for piece, end, cut in zip(pieces, ends, cuts, strict=True):
        run = slice(start, int(cut))
        faces = chosen[run] - (end - len(piece.faces))
        xyz[run] = np.einsum("pc,pcd->pd", weights[run], piece.vertices[piece.faces[faces]])
        if piece.paint:
            rgb[run] = piece.paint(faces, weights[run])
        start = int(cut)
    return xyz, rgb if any(piece.paint for piece in pieces) else None
