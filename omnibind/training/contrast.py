r"""InfoNCE of many heads with one set of targets, fused: the loss and its gradient in one pass.

The same loss as `omnibind.training.losses.info_nce`, summed over the modality pairs of a head. What
is saved is memory traffic, which is most of the time on a CPU: the table of one space stays in the
cache, both directions share it, its gradient takes its place, and nothing is copied for the
products. Ours.

$$ \frac{\partial L}{\partial \ell_{ij}} = \frac{1}{2n}
   \bigl( \mathrm{softmax}_j(\ell_{i \cdot})_j + \mathrm{softmax}_i(\ell_{\cdot j})_i
   - 2 \delta_{ij} \bigr) $$
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["contrast"]


def contrast(
    rows: Float[Tensor, "space head joint side item"],
    aims: Float[Tensor, "head target item joint"],
    repeated: Bool[Tensor, "head target item side item"] | None,
    scale: Float[Tensor, "space head"],
) -> Float[Tensor, "space head"]:
    """The sum over sides and targets of the symmetric InfoNCE of each head.

    Args:
        rows: unit rows of the heads, channels first; what stands in one place in all sides and
            targets belongs to one tuple.
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
        spaces, heads, joint, sides, items = rows.shape
        targets = aims.shape[1]
        rows = rows.reshape(spaces, heads, joint, sides * items)
        flat = aims.reshape(heads, targets * items, joint)
        losses = torch.empty_like(scale)
        by_rows, by_scale = torch.empty_like(rows), torch.empty_like(scale)
        for at in range(spaces):
            cosines = torch.bmm(flat, rows[at]).view(heads, targets, items, sides, items)
            logits = cosines * scale[at].view(-1, 1, 1, 1, 1)
            if repeated is not None:
                logits.masked_fill_(repeated, -torch.inf)
            there, back = (logits.logsumexp(dim, keepdim=True) for dim in (4, 2))
            own = logits.diagonal(0, 2, 4).sum((1, 2, 3))
            losses[at] = there.sum((1, 2, 3, 4)) + back.sum((1, 2, 3, 4)) - 2 * own
            gradient = torch.exp(logits - there).add_(logits.sub_(back).exp_())
            gradient.diagonal(0, 2, 4).sub_(2)
            by_scale[at] = cosines.mul_(gradient).sum((1, 2, 3, 4))
            gradient *= scale[at].view(-1, 1, 1, 1, 1)
            torch.bmm(flat.mT, gradient.view(heads, targets * items, -1), out=by_rows[at])
        ctx.save_for_backward(by_rows, by_scale)
        ctx.shape = (spaces, heads, joint, sides, items)
        return losses / (2 * items)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, Tensor]:
        by_rows, by_scale = ctx.saved_tensors
        gradient = gradients[0] / (2 * ctx.shape[-1])
        rows = by_rows * gradient[..., None, None]
        return rows.view(ctx.shape), None, None, by_scale * gradient
