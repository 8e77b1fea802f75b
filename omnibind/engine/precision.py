"""The numbers that encoders compute in: float32, bfloat16 where the card bears it, float8 on top.

bfloat16: the weights of layers that multiply matrices are bfloat16, all others float32, and the
forward runs under `torch.autocast`, which multiplies in bfloat16. Norms, sums of residuals where
the network keeps them, everything before the first layer and rows stay float32. A network that
computes matrix products of its own before that (a Fourier transform's mel bands) does so in
`finish`, or protects them by `with torch.autocast(x.device.type, enabled=False)`.

float8: as bfloat16, and large linear layers multiply in float8 (see `omnibind.engine.float8`).

On a CPU linear layers and attention go the fastest way that torch has (see
`omnibind.engine.layers`).

All of it has run on a CPU. On a GPU nothing has been run yet: none was at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn

from omnibind.engine import float8
from omnibind.engine.layers import quickened
from omnibind.errors import SetupError
from omnibind.specs import EncoderSpec, Size
from omnibind.weights import build_encoder, lay_out
from omnibind.weights.build import Weights
from omnibind.weights.placement import place

__all__ = ["Dtype", "Numbers", "borne", "build", "computing", "laid_out", "resolved"]

Dtype = Literal["auto", "float32", "bfloat16", "float8"]
Numbers = Literal["float32", "bfloat16", "float8"]
BFLOAT16_FROM = (8, 0)
"""Compute capability from which a GPU multiplies bfloat16."""


def resolved(dtype: Dtype, devices: Sequence[torch.device]) -> Numbers:
    """What `auto` is on these devices; anything else is what it says.

    Ours: bfloat16 where all devices are GPUs that multiply it, else float32. On a CPU without
    matrix units bfloat16 is slower than float32 (docs/numbers.md), and rows of all CPUs are alike.

    Raises:
        SetupError: none of the four, or float8 on a device that does not multiply it.
    """
    if dtype not in ("auto", "float32", "bfloat16", "float8"):
        raise SetupError(
            f"dtype={dtype!r}",
            found="no number type of the engine's",
            next_step="say auto, float32, bfloat16 or float8",
        )
    if dtype == "float8":
        for device in devices:
            float8.refuse(device)
    if dtype == "auto":
        return "bfloat16" if all(map(_multiplies_bfloat16, devices)) else "float32"
    return dtype


def borne(spec: EncoderSpec, numbers: Numbers) -> Numbers:
    """What one encoder computes in: float32 where its card does not say that it bears less."""
    return numbers if spec.precision == "bfloat16" else "float32"


def build(
    spec: EncoderSpec,
    numbers: Numbers,
    *,
    size: Size = "full",
    weights: Weights = "official",
    seed: int = 0,
    device: torch.device | str = "cpu",
    drawn_on: torch.device | None = None,
) -> nn.Module:
    """An encoder in these numbers, whatever those of its file are; its card is not asked.

    Raises:
        WeightsError, PluginError: see `omnibind.weights.build_encoder`.
    """
    module = build_encoder(
        spec,
        size=size,
        weights=weights,
        seed=seed,
        device=device,
        dtype=torch.float32,
        products=_products(numbers),
        drawn_on=drawn_on,
    )
    module = float8.shrunk(module) if numbers == "float8" else module
    return quickened(module) if torch.device(device).type == "cpu" else module


def laid_out(spec: EncoderSpec, numbers: Numbers, *, size: Size = "full") -> nn.Module:
    """The same on the meta device, without files: to count its bytes.

    Raises:
        PluginError: the card names no callable that makes an `nn.Module`.
    """
    module = lay_out(spec, size=size)
    place(module, torch.device("meta"), torch.float32, _products(numbers))
    return float8.shrunk(module) if numbers == "float8" else module


def computing(numbers: Numbers, device: torch.device) -> AbstractContextManager[object]:
    """What a forward in these numbers runs under."""
    if numbers == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


def _products(numbers: Numbers) -> torch.dtype:
    return torch.float32 if numbers == "float32" else torch.bfloat16


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a GPU does; the line for CUDA has not been run yet."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= BFLOAT16_FROM
