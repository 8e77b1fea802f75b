"""Which way a cloud's surface faces at some of its points, from how their neighbours lie."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

__all__ = ["normals"]

Floats = NDArray[np.float64]

GRID = 40
"""Cells along each side of the cloud's box: a neighbourhood is about a twelfth of it."""


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
