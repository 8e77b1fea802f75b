r"""InfoNCE of many heads with one set of targets, fused: the loss and its gradient in one pass.

The same loss as `omnibind.training.losses.info_nce`, summed over the modality pairs of a head, over
rows that are scaled to unit norm here. What is saved is memory traffic, which is most of the time
on a CPU: the tables of a few heads stay in the cache, both directions share one exponential, and
nothing is copied for the products. Ours.

$$ \frac{\partial L}{\partial \ell_{ij}} = \frac{1}{2n}
   \bigl( \mathrm{softmax}_j(\ell_{i \cdot})_j + \mathrm{softmax}_i(\ell_{\cdot j})_i
   - 2 \delta_{ij} \bigr), \qquad
   \frac{\partial L}{\partial x} = \frac{1}{\lVert x \rVert}
   \Bigl( \frac{\partial L}{\partial u} - u\, \bigl\langle u, \frac{\partial L}{\partial u}
   \bigr\rangle \Bigr), \quad u = \frac{x}{\lVert x \rVert} $$
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from omnibind.products import batched
from omnibind.projectors import EPS

__all__ = ["contrast"]

IN_CACHE = 2**18
"""Numbers of the tables that a CPU works on at a time: 1 MB."""
HIGHEST, LOWEST = 80.0, 1e-37
"""What is raised to e, and the least sum of such powers: what float32 holds with room to spare."""


def contrast(
    rows: Float[Tensor, "space head joint place"],
    aims: Float[Tensor, "head target item joint"],
    repeated: Bool[Tensor, "head target item side item"] | None,
    scale: Float[Tensor, "space head"],
) -> Float[Tensor, "space head"]:
    """The sum over sides and targets of the symmetric InfoNCE of each head.

    Args:
        rows: of the heads, of any norm, channels first: all items of one side, then of the next.
            What stands in one place in all sides and targets belongs to one tuple.
        aims: unit rows of the backbone; they get no gradient.
        repeated: places that show the same item; see `omnibind.training.losses.repeats`.
        scale: inverse temperatures, at most 100; at 100 all cosines of a row below -0.6 are as one.
    """
    return cast("Tensor", _Contrast.apply(rows, aims, repeated, scale))


class _Contrast(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, aims: Tensor, repeated: Tensor | None, scale: Tensor
    ) -> Tensor:
        heads, targets, items, _ = aims.shape
        flat = aims.flatten(1, 2)
        turned = flat.mT.contiguous()
        losses, by_scale = torch.empty_like(scale), torch.empty_like(scale)
        by_rows = torch.empty_like(rows)
        fitting = max(1, IN_CACHE // (targets * items * rows.shape[-1]))
        together = fitting if rows.is_cpu else heads
        for at, own in enumerate(rows):
            for start in range(0, heads, together):
                part = slice(start, start + together)
                losses[at, part], by_scale[at, part] = _of_some(
                    own[part],
                    (flat[part], turned[part]),
                    None if repeated is None else repeated[part],
                    scale[at, part, None],
                    (targets, items),
                    into=by_rows[at, part],
                )
        ctx.gradients, ctx.items = (by_rows, by_scale), items
        return losses / (2 * items)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, Tensor]:
        by_rows, by_scale = ctx.gradients
        del ctx.gradients  # used up: they are scaled in their place
        gradient = gradients[0] / (2 * ctx.items)
        return by_rows.mul_(gradient[..., None, None]), None, None, by_scale.mul_(gradient)


def _of_some(
    own: Float[Tensor, "head joint place"],
    aims: tuple[Tensor, Tensor],
    repeated: Tensor | None,
    scale: Float[Tensor, "head 1"],
    sizes: tuple[int, int],
    *,
    into: Float[Tensor, "head joint place"],
) -> tuple[Float[Tensor, " head"], Float[Tensor, " head"]]:
    """2n times the losses of some heads and their gradients by scale; those by rows go `into`.

    One table of exponentials serves both directions: a cosine times the scale is small enough to
    be raised as it is, but for the part of a scale that is beyond what float32 holds.
    """
    flat, turned = aims
    targets, items = sizes
    inverse = own.square().sum(1).clamp_(min=EPS**2).rsqrt_()  # [head, place]
    factor = inverse * scale
    products = batched(flat, own)
    logits = (products * factor.unsqueeze(1)).sub_((scale - HIGHEST).clamp_(min=0).unsqueeze(2))
    table = logits.view(len(own), targets, items, -1, items)
    right = table.diagonal(0, 2, 4).sum((1, 2, 3))
    table.exp_()
    if repeated is not None:
        table.masked_fill_(repeated, 0)
    there, back = (table.sum(axis, keepdim=True).clamp_(min=LOWEST) for axis in (4, 2))
    losses = there.log().sum((1, 2, 3, 4)) + back.log().sum((1, 2, 3, 4)) - 2 * right
    gradient = (table * there.reciprocal_()).addcmul_(table, back.reciprocal_())
    gradient.diagonal(0, 2, 4).sub_(2)
    gradient = gradient.view(products.shape)
    along = products.mul_(gradient).sum(1).mul_(inverse)  # <u, dL/du> / scale
    torch.mul(batched(turned, gradient), factor.unsqueeze(1), out=into)
    into.addcmul_(own, (along * inverse * factor).unsqueeze(1), value=-1)
    return losses, along.sum(1)
