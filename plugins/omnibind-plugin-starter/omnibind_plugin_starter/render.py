"""Pictures of a point cloud: splats with a depth buffer, shaded by the surface they lie on."""

from __future__ import annotations

import numpy as np

__all__ = ["VIEWS", "views_of"]

# (azimuth, elevation) in degrees; y is up, and azimuth 0 looks along -z.
VIEWS = ((30, 20), (-30, 20), (0, 5), (90, 15), (150, 20), (-150, 20))
FILL = 0.9  # share of the picture's side that the cloud takes
GREY = 0.72
LIGHT = np.array([-0.35, 0.55, 0.76], dtype=np.float32)  # from the viewer's upper left
AMBIENT = 0.35


def views_of(
    xyz: np.ndarray, rgb: np.ndarray | None, side: int, views: tuple[tuple[float, float], ...]
) -> np.ndarray:
    """Renders a cloud from several directions: uint8 `[view, side, side, 3]` on white.

    Args:
        xyz: `[point, 3]`, y up, any unit; centred and scaled here.
        rgb: `[point, 3]` in [0, 1], or None for grey.
        side: pixels.
        views: azimuth and elevation in degrees.
    """
    centred = (xyz - (xyz.min(0) + xyz.max(0)) / 2).astype(np.float32)
    colour = np.full_like(centred, GREY) if rgb is None else rgb.astype(np.float32)
    return np.stack([_view(_fitted(centred @ _turn(*view).T), colour, side) for view in views])


def _fitted(xyz: np.ndarray) -> np.ndarray:
    """Moved and scaled so that what the viewer sees fills the picture: x and y in [-1, 1]."""
    low, high = xyz.min(0), xyz.max(0)
    half = (high - low)[:2].max() / 2
    return (xyz - (low + high) / 2) / max(float(half), 1e-9)


def _turn(azimuth: float, elevation: float) -> np.ndarray:
    a, e = np.radians(azimuth), np.radians(elevation)
    around = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    over = np.array([[1, 0, 0], [0, np.cos(e), -np.sin(e)], [0, np.sin(e), np.cos(e)]])
    return (over @ around).astype(np.float32)


def _view(xyz: np.ndarray, colour: np.ndarray, side: int) -> np.ndarray:
    """One picture; z points at the viewer."""
    depth, painted = _splat(xyz, colour, side)
    covered = np.isfinite(depth)
    shade = AMBIENT + (1 - AMBIENT) * _facing(np.where(covered, depth, 0), covered, side)
    picture = np.where(covered[..., None], painted * shade[..., None], 1.0)
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)


def _splat(xyz: np.ndarray, colour: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth `[side, side]` (-inf: nothing) and colour; each point covers 3 x 3 pixels.

    Points are painted from far to near: of several on one pixel the last, nearest, stays.
    """
    order = np.argsort(xyz[:, 2], kind="stable")
    xyz, colour = xyz[order], colour[order]
    column = ((1 + FILL * xyz[:, 0]) * side / 2).astype(np.int64)
    row = ((1 - FILL * xyz[:, 1]) * side / 2).astype(np.int64)
    steps = np.array([-1, 0, 1])
    rows = (row[:, None, None] + steps[:, None]).clip(0, side - 1)
    columns = (column[:, None, None] + steps[None, :]).clip(0, side - 1)
    pixel = (rows * side + columns).reshape(len(xyz), 9)
    nearest = np.full(side * side, -1, dtype=np.int64)
    nearest[pixel.ravel()] = np.repeat(np.arange(len(xyz)), 9)
    depth = np.where(nearest >= 0, xyz[nearest, 2], -np.inf).reshape(side, side)
    return depth, colour[nearest].reshape(side, side, 3)


def _facing(depth: np.ndarray, covered: np.ndarray, side: int) -> np.ndarray:
    """How much each pixel's surface faces the light, in [0, 1], from the slope of the depth."""
    smooth = _box(depth, 2) / np.maximum(_box(covered.astype(np.float32), 2), 1e-6)
    unit = FILL * side / 2
    down, right = np.gradient(smooth * unit)
    normal = np.stack([-right, down, np.ones_like(smooth)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return (normal @ (LIGHT / np.linalg.norm(LIGHT))).clip(0, 1)


def _box(values: np.ndarray, radius: int) -> np.ndarray:
    """Mean over a square neighbourhood."""
    size = 2 * radius + 1
    for axis in (0, 1):
        widths = [(radius + 1, radius) if a == axis else (0, 0) for a in (0, 1)]
        total = np.pad(values, widths, mode="edge").cumsum(axis, dtype=np.float64)
        first, last = [slice(None)] * 2, [slice(None)] * 2
        first[axis], last[axis] = slice(None, -size), slice(size, None)
        values = (total[tuple(last)] - total[tuple(first)]) / size
    return values.astype(np.float32)
