"""How a cloud becomes groups of neighbours: normalised, far apart centres, nearest points.

No compiled operators: everything here is a handful of torch functions, alike on every device.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["GREY", "farthest", "groups", "nearest", "normalised"]

GREY = 0.4
"""Red, green and blue of a point without colour, as in training."""
NEAR = 1e-3
"""Squared distance from the origin up to which a point is never a centre."""
FAR = 1e10
FLAT = 1e-6


def normalised(xyz: Float[Tensor, "point 3"]) -> Float[Tensor, "point 3"]:
    """The cloud around its mean, its farthest point at distance 1.

    Ours: points that are all at one place, but for rounding, go to the origin.
    """
    exact = xyz.double()
    centred = exact - exact.mean(0)
    radius = centred.norm(dim=-1).max()
    if radius <= FLAT * exact.abs().max():
        return torch.zeros_like(xyz)
    return (centred / radius).float()


def farthest(xyz: Float[Tensor, "item point 3"], count: int) -> Int[Tensor, "item {count}"]:
    """Indices of points far apart: the first, then each time the one farthest from all before.

    Points near the origin are never chosen, the first excepted. Of several at one distance it is
    the first; where none is left, point 0 again.
    """
    items = torch.arange(len(xyz), device=xyz.device)
    axes = xyz.movedim(-1, 0).contiguous()
    distance = torch.where(axes.square().sum(0) > NEAR, FAR, -1.0)
    chosen = [torch.zeros_like(items)]
    for _ in range(count - 1):
        last = axes[:, items, chosen[-1]].unsqueeze(-1)
        distance = torch.minimum(distance, (axes - last).square().sum(0))
        chosen.append(distance.argmax(-1))
    return torch.stack(chosen, dim=1)


def nearest(
    centres: Float[Tensor, "item group 3"], xyz: Float[Tensor, "item point 3"], count: int
) -> Int[Tensor, "item group {count}"]:
    """Indices of the points nearest to each centre, itself among them, in no order."""
    apart = torch.cdist(centres, xyz, compute_mode="donot_use_mm_for_euclid_dist")
    return apart.topk(count, largest=False, sorted=False).indices


def groups(
    xyz: Float[Tensor, "item point 3"],
    rgb: Float[Tensor, "item point 3"],
    centres: Float[Tensor, "item group 3"],
    size: int,
) -> Float[Tensor, "item group {size} 6"]:
    """The nearest points of each centre: offset from it, then colour."""
    items = torch.arange(len(xyz), device=xyz.device)[:, None, None]
    members = nearest(centres, xyz, size)
    return torch.cat([xyz[items, members] - centres.unsqueeze(2), rgb[items, members]], dim=-1)
