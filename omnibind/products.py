"""Products of float32 matrices on a CPU, the fastest way that torch has for them.

torch multiplies them by MKL, which leaves half of an AMD processor with AVX-512 idle. oneDNN, which
torch carries for convolutions, does not: 250 GFLOP/s on a core of Zen 5 beside 110. The results
differ by rounding, as between two processors. All of it ours.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

__all__ = ["batched", "linear", "mkl_lags"]

LEAST = 2**21
"""Multiply-adds from which oneDNN wins: below, its preparations cost more than they gain."""
LEAST_OF_MANY = 2**23
"""The same for each of many products, which MKL takes all at once and oneDNN one by one."""


def linear(
    x: Float[Tensor, "*row given"],
    weight: Float[Tensor, "made given"],
    bias: Float[Tensor, " made"] | None = None,
) -> Float[Tensor, "*row made"]:
    """Rows times transposed weights, on a CPU and without gradients."""
    enough = x.numel() * len(weight) >= LEAST
    if enough and x.dtype == weight.dtype == torch.float32 and mkl_lags():
        product = cast("Any", torch.ops).mkldnn._linear_pointwise
        return product(x, weight, bias, "none", [], "")
    return functional.linear(x, weight, bias)


@cache
def mkl_lags() -> bool:
    """Whether MKL leaves out instructions of this processor that oneDNN uses."""
    return (
        torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and "AuthenticAMD" in _maker()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def batched(
    left: Float[Tensor, "matrix row inner"], right: Float[Tensor, "matrix inner column"]
) -> Float[Tensor, "matrix row column"]:
    """`left @ right`, gradients included."""
    if left.is_cpu and left[0].numel() * right.shape[2] >= LEAST_OF_MANY and mkl_lags():
        return cast("Tensor", _Batched.apply(left, right))
    return torch.bmm(left, right)


class _Batched(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)
        return _one_by_one(left, right)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        left, right = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            _one_by_one(gradients[0], right.mT) if wanted[0] else None,
            _one_by_one(left.mT, gradients[0]) if wanted[1] else None,
        )


def _one_by_one(left: Tensor, right: Tensor) -> Tensor:
    if len(left) == 1:  # without a copy
        return linear(left[0], right[0].mT).unsqueeze(0)
    return torch.stack([linear(a, b.mT) for a, b in zip(left, right, strict=True)])


def _maker() -> str:
    facts = Path("/proc/cpuinfo")
    return facts.read_text(encoding="utf-8") if facts.is_file() else platform.processor()
