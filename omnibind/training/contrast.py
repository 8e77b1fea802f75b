r"""InfoNCE of many heads with one set of targets, fused: the loss and its gradient in one pass.

The same loss as `omnibind.training.losses.info_nce`, summed over the modality pairs of a head, over
rows that are scaled to unit norm here. What is saved is memory traffic, which is most of the time
on a CPU: the table of one space stays in the cache, both directions share it, its gradient takes
its place, and nothing is copied for the products. Ours.

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

from omnibind.projectors import EPS

__all__ = ["contrast"]


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
        scale: inverse temperatures.
    """
    return cast("Tensor", _Contrast.apply(rows, aims, repeated, scale))


class _Contrast(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, aims: Tensor, repeated: Tensor | None, scale: Tensor
    ) -> Tensor:
        heads, targets, items, _ = aims.shape
        sides = rows.shape[-1] // items
        flat = aims.reshape(heads, targets * items, -1)
        losses, by_rows = torch.empty_like(scale), torch.empty_like(rows)
        by_scale = torch.empty_like(scale)
        for at, own in enumerate(rows):
            inverse = own.square().sum(1).clamp_(min=EPS**2).rsqrt_()  # [head, side * item]
            cosines = torch.bmm(flat, own).mul_(inverse.unsqueeze(1))
            table = (heads, targets, items, sides, items)
            factor = scale[at].view(-1, 1, 1)
            logits = (cosines * factor).view(table)
            if repeated is not None:
                logits.masked_fill_(repeated, -torch.inf)
            there, back = (logits.logsumexp(axis, keepdim=True) for axis in (4, 2))
            right = logits.diagonal(0, 2, 4).sum((1, 2, 3))
            losses[at] = there.sum((1, 2, 3, 4)) + back.sum((1, 2, 3, 4)) - 2 * right
            gradient = torch.exp(logits - there).add_(logits.sub_(back).exp_())
            gradient.diagonal(0, 2, 4).sub_(2)
            gradient = gradient.view(heads, targets * items, -1)
            along = cosines.mul_(gradient).sum(1)  # <u, dL/du> / scale
            by_scale[at] = along.sum(1)
            gradient *= factor * inverse.unsqueeze(1)
            torch.bmm(flat.mT, gradient, out=by_rows[at])
            held = along * inverse.square() * scale[at].unsqueeze(1)
            by_rows[at].addcmul_(own, held.unsqueeze(1), value=-1)
        ctx.gradients, ctx.items = (by_rows, by_scale), items
        return losses / (2 * items)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, Tensor]:
        by_rows, by_scale = ctx.gradients
        del ctx.gradients  # used up: they are scaled in their place
        gradient = gradients[0] / (2 * ctx.items)
        return by_rows.mul_(gradient[..., None, None]), None, None, by_scale.mul_(gradient)
