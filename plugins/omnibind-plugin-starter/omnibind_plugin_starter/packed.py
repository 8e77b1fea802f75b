"""Matrices of the plugin's own files: a byte a number, and a scale a row."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["packed", "unpacked"]

SCALE = "/scale"
MOST = 127


def packed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices as int8 with a float32 scale a row, `<key>/scale`; everything else as it is.

    A number is off by at most half a scale, that is 1/254 of the largest one of its row.
    """
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        if value.ndim != 2:
            found[key] = value.float().contiguous()
            continue
        scale = value.float().abs().amax(1).clamp(min=1e-12) / MOST
        found[key] = (value.float() / scale[:, None]).round().to(torch.int8)
        found[key + SCALE] = scale
    return found


def unpacked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The matrices again; tensors that were not packed are passed through."""
    return {
        key: value.float() * state[key + SCALE][:, None] if key + SCALE in state else value
        for key, value in state.items()
        if not key.endswith(SCALE)
    }
