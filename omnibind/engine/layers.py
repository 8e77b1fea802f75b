"""Layers that multiply by `omnibind.products`, in place of torch's own. Ours."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnibind.products import linear

__all__ = ["plain", "quickened"]


class QuickLinear(nn.Linear):
    """A linear layer that multiplies by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """As `nn.Linear`; where somebody wants gradients, just so."""
        if torch.is_grad_enabled() or not input.is_cpu:
            return super().forward(input)
        return linear(input, self.weight, cast("Tensor | None", self.bias))


class QuickAttention(nn.MultiheadAttention):
    """Attention whose products go by `linear`, and whose scores are never written out.

    torch's own short cut for inference writes them out on a CPU, and in bfloat16 takes fourteen
    times as long as in float32.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As `nn.MultiheadAttention`, which does whatever else can be asked for."""
        asked = need_weights or key_padding_mask is not None or (is_causal and attn_mask is None)
        if asked or not self._is_usual(query):
            return super().forward(
                query,
                key,
                value,
                key_padding_mask,
                need_weights,
                attn_mask,
                average_attn_weights,
                is_causal,
            )
        made = self._projected(query, key, value)
        if not self.batch_first:
            made = [one.transpose(0, 1) for one in made]
        q, k, v = (one.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for one in made)
        found = functional.scaled_dot_product_attention(q, k, v, self._mask(attn_mask, q.dtype))
        found = found.transpose(1, 2).flatten(2)
        found = found if self.batch_first else found.transpose(0, 1)
        return linear(found, self.out_proj.weight, cast("Tensor | None", self.out_proj.bias)), None

    def _is_usual(self, query: Tensor) -> bool:
        return (
            query.is_cpu
            and query.dim() == 3
            and self._qkv_same_embed_dim
            and self.bias_k is None
            and not (self.add_zero_attn or self.training or torch.is_grad_enabled())
        )

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        weight, bias = self.in_proj_weight, cast("Tensor | None", self.in_proj_bias)
        if query is key is value:
            return list(linear(query, weight, bias).chunk(3, -1))
        weights = weight.chunk(3)
        biases = bias.chunk(3) if bias is not None else (None,) * 3
        given = zip((query, key, value), weights, biases, strict=True)
        return [linear(*one) for one in given]

    def _mask(self, mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """What is added to scores, or where they count; torch's own has True where they do not."""
        if mask is None:
            return None
        mask = mask.logical_not() if mask.dtype == torch.bool else mask.to(dtype)
        return mask.unflatten(0, (-1, self.num_heads)) if mask.dim() == 3 else mask


QUICK: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: QuickLinear,
    nn.MultiheadAttention: QuickAttention,
}
PLAIN = {quick: plain for plain, quick in QUICK.items()}


def quickened(module: nn.Module) -> nn.Module:
    """Has a network's layers multiply by `linear`; their tensors stay where they are."""
    return _exchanged(module, QUICK)


def plain(module: nn.Module) -> nn.Module:
    """The same network as its plugin built it."""
    return _exchanged(module, PLAIN)


def _exchanged(module: nn.Module, classes: dict[type[nn.Module], type[nn.Module]]) -> nn.Module:
    for layer in module.modules():
        if type(layer) in classes:
            layer.__class__ = classes[type(layer)]
    return module
