"""Fewer points that still cover a cloud evenly, and which way its surface faces at them."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

__all__ = ["normals", "thinned"]

Floats = NDArray[np.float64]

GRID = 40
"""Cells along each side of the cloud's box for normals: a neighbourhood is about a tenth of it."""

PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
SQUARE = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
"""Where in PAIRS each entry of a symmetric matrix stands."""

ENOUGH = 25_000
"""Points that normals are computed from, about."""

FINEST = 1024
"""Cells along each side for thinning, at most."""


def thinned(xyz: Floats, about: int) -> tuple[NDArray[np.int64], float]:
    """One point in each cell of a grid, which is made as fine as the wanted number needs.

    Args:
        xyz: `[point, 3]`, inside `[-1, 1]`.
        about: points to keep, within a few per cent; all of them where there are fewer.

    Returns:
        Numbers of the kept points, and the width of the grid's cells.
    """
    cells = 64
    for _ in range(3):  # the number of cells on a surface grows with the square of their fineness
        kept = _one_a_cell(xyz, cells)
        cells = min(FINEST, max(2, round(cells * (about / len(kept)) ** 0.5)))
    return _one_a_cell(xyz, cells), 2 / cells


def _one_a_cell(xyz: Floats, cells: int) -> NDArray[np.int64]:
    i, j, k = np.minimum(((xyz + 1) / 2 * cells).astype(np.int64), cells - 1).T
    return np.unique((i * cells + j) * cells + k, return_index=True)[1]


def normals(xyz: Floats, at: Floats) -> Floats:
    r"""Unit normals without a sign: the direction in which the neighbourhood is thinnest.

    The moments $(1, x, xx^\top)$ of all points are summed on a grid, spread over neighbouring
    cells, and read at each point between the cells; the normal is the eigenvector of the smallest
    eigenvalue of the covariance they give. Linear in the number of points; no search tree.

    Args:
        xyz: the whole cloud, `[point, 3]`, inside `[-1, 1]`.
        at: where to tell, `[place, 3]`.

    Returns:
        `[place, 3]`.
    """
    moments = _read(_spread(_moments(xyz[:: 1 + len(xyz) // ENOUGH])), at)
    moments /= np.maximum(moments[:, :1], 1e-9)
    mean, square = moments[:, 1:4], moments[:, 4:][:, SQUARE]
    covariance = square - mean[:, :, None] * mean[:, None, :]
    return np.linalg.eigh(covariance)[1][:, :, 0]


def _cells(xyz: Floats) -> Floats:
    """Positions in units of cells; cell centres are whole numbers, 1 to GRID."""
    return np.clip((xyz + 1) / 2 * GRID + 0.5, 0.5, GRID + 0.5)


def _moments(xyz: Floats) -> Floats:
    """`[i, j, k, moment]`: 1, x, y, z, xx, xy, xz, yy, yz, zz, summed over each cell's points."""
    side = GRID + 2
    i, j, k = np.rint(_cells(xyz)).astype(np.int64).T
    where = (i * side + j) * side + k
    values = [np.ones(len(xyz)), *xyz.T, *(xyz[:, a] * xyz[:, b] for a, b in PAIRS)]
    counted = [np.bincount(where, value, minlength=side**3) for value in values]
    return np.stack(counted, axis=1).astype(np.float64).reshape(side, side, side, -1)


def _spread(grid: Floats) -> Floats:
    """Adds to each cell its neighbours along every axis, with weights 1, 2, 1."""
    for axis in range(3):
        spread = 2 * grid
        low, high = np.moveaxis(spread, axis, 0)[:-1], np.moveaxis(spread, axis, 0)[1:]
        low += np.moveaxis(grid, axis, 0)[1:]
        high += np.moveaxis(grid, axis, 0)[:-1]
        grid = spread
    return grid


def _read(grid: Floats, at: Floats) -> Floats:
    """`[place, moment]`, interpolated between the eight cells around each place."""
    cells = _cells(at)
    low = np.minimum(cells.astype(np.int64), GRID)
    part = cells - low
    found = np.zeros((len(at), grid.shape[-1]))
    for corner in itertools.product((0, 1), repeat=3):
        weight = np.prod(np.where(corner, part, 1 - part), axis=1)
        i, j, k = (low + corner).T
        found += weight[:, None] * grid[i, j, k]
    return found
