"""Fewer points that still cover a cloud evenly, and which way its surface faces at them."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

__all__ = ["normals", "thinned"]

Floats = NDArray[np.float64]

GRID = 40
"""Cells along each side of the cloud's box for normals: a neighbourhood is about a tenth of it."""

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
    summed = _spread(_moments(xyz))
    moments = _read(summed, at)
    mass = np.maximum(moments[:, :1], 1e-9)
    mean, square = moments[:, 1:4] / mass, moments[:, 4:] / mass
    covariance = square.reshape(-1, 3, 3) - mean[:, :, None] * mean[:, None, :]
    return np.linalg.eigh(covariance)[1][:, :, 0]


def _cells(xyz: Floats) -> Floats:
    """Positions in units of cells; cell centres are whole numbers, 1 to GRID."""
    return np.clip((xyz + 1) / 2 * GRID + 0.5, 0.5, GRID + 0.5)


def _moments(xyz: Floats) -> Floats:
    """`[moment, cell]`: 1, x, y, z, xx, xy, xz, yx, ... summed over the points of each cell."""
    side = GRID + 2
    i, j, k = np.rint(_cells(xyz)).astype(np.int64).T
    products = (xyz[:, :, None] * xyz[:, None, :]).reshape(len(xyz), 9)
    values = np.concatenate([np.ones((len(xyz), 1)), xyz, products], axis=1)
    where = (i * side + j) * side + k
    counted = [np.bincount(where, column, minlength=side**3) for column in values.T]
    return np.stack(counted).astype(np.float64)


def _spread(moments: Floats) -> Floats:
    """Adds to each cell its neighbours along every axis, with weights 1, 2, 1."""
    grid = moments.reshape(-1, GRID + 2, GRID + 2, GRID + 2)
    for axis in (1, 2, 3):
        grid = 2 * grid + np.roll(grid, 1, axis) + np.roll(grid, -1, axis)
    return grid


def _read(grid: Floats, at: Floats) -> Floats:
    """`[place, moment]`, interpolated between the eight cells around each place."""
    cells = _cells(at)
    low = np.minimum(cells.astype(np.int64), GRID)
    part = cells - low
    found = np.zeros((len(at), len(grid)))
    for corner in itertools.product((0, 1), repeat=3):
        weight = np.prod(np.where(corner, part, 1 - part), axis=1)
        i, j, k = (low + corner).T
        found += weight[:, None] * grid[:, i, j, k].T
    return found
