r"""Large linear layers in float8: a byte a weight, and twice bfloat16's rate on a Hopper GPU.

$$ y = (s_x \hat x)(s_w \hat w)^T + b, \qquad s = \max|\cdot| / 448 $$

with a scale for each row of activations x, found in each forward, and one for each output channel
of the weights w; hats are float8 (e4m3).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from omnibind.errors import SetupError

__all__ = ["LEAST", "Float8Linear", "quantised", "refuse", "shrunk"]

NARROW = torch.float8_e4m3fn
LARGEST = torch.finfo(NARROW).max
STEP = 16
"""Sides of matrices are multiples of it: what the GPU's kernels take."""
LEAST = 768
"""A layer with a shorter side stays bfloat16: little is gained there (ours)."""


class Float8Linear(nn.Module):
    """A linear layer whose product is of float8 numbers.

    Shape:
        `[..., given]` -> `[..., made]` in bfloat16.
    Source:
        row-wise scales as in torchao's `Float8DynamicActivationFloat8WeightConfig`, which is not
        used: its weights are tensors of a class of their own, and the engine exchanges the data
        of tensors when encoders come and go.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        narrow, scale = quantised(linear.weight.detach())
        self.narrow = nn.Parameter(narrow, requires_grad=False)
        self.scale = nn.Parameter(scale.T.contiguous(), requires_grad=False)
        bias = cast("Tensor | None", linear.bias)
        self.bias = (
            None
            if bias is None
            else nn.Parameter(bias.detach().to(torch.bfloat16), requires_grad=False)
        )

    @property
    def weight(self) -> Tensor:
        """The weights in bfloat16, for networks that look at their type or multiply themselves."""
        return (self.narrow.float() * self.scale.T).to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """The product of what is scaled and rounded now with what was when it was built."""
        rows, scale = quantised(x.reshape(-1, self.in_features))
        made = _product(rows, scale, self.narrow, self.scale, self.bias)
        return made.unflatten(0, x.shape[:-1])


def quantised(
    rows: Float[Tensor, "row given"],
) -> tuple[Float[Tensor, "row given"], Float[Tensor, "row 1"]]:
    """Rows in float8, and the float32 scale that each has to be multiplied by."""
    rows = rows.float()
    scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-12) / LARGEST
    return (rows / scale).clamp(-LARGEST, LARGEST).to(NARROW), scale


def shrunk(module: nn.Module) -> nn.Module:
    """Puts `Float8Linear` in the place of every large linear layer of a network.

    Layers of a class of their own stay (the last one of `nn.MultiheadAttention`), and so do those
    whose weights their network multiplies itself.
    """
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if _large(layer) and not _is_read(parent, name):
                setattr(parent, name, Float8Linear(cast("nn.Linear", layer)))
    return module


def refuse(device: torch.device) -> None:
    """Multiplies two small matrices there.

    Raises:
        SetupError: torch has no such product at all, or none on this device.
    """
    try:
        layer = Float8Linear(nn.Linear(STEP, STEP, device=device))
        with torch.inference_mode():
            layer(torch.ones(STEP, STEP, device=device))
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise SetupError(
            f"dtype='float8' on {device}",
            found=str(error).splitlines()[0].partition(". ")[0],
            next_step="say bfloat16: float8 needs an NVIDIA GPU of compute capability 8.9 or more",
        ) from error


def _product(
    rows: Tensor, scale: Tensor, narrow: Tensor, narrow_scale: Tensor, bias: Tensor | None
) -> Tensor:
    """Rows times the transposed weights in bfloat16; a scale for each row of both.

    Raises:
        SetupError: this torch has no `scaled_mm`. Only who multiplies needs it.
    """
    offered = cast("Any", functional)
    if not hasattr(offered, "scaled_mm") or not hasattr(offered, "ScalingType"):
        raise SetupError(
            "dtype='float8', a matrix product of float8 numbers",
            found=f"torch {torch.__version__}, whose torch.nn.functional has no scaled_mm",
            next_step="say bfloat16, or pip install 'torch>=2.11'",
        )
    by_row = offered.ScalingType.RowWise
    made = offered.scaled_mm(
        rows,
        narrow.T,
        scale,
        by_row,
        narrow_scale,
        by_row,
        bias=bias,
        output_dtype=torch.bfloat16,
    )
    return cast("Tensor", made)


def _large(layer: nn.Module) -> bool:
    if type(layer) is not nn.Linear:
        return False
    sides = (layer.in_features, layer.out_features)
    return min(sides) >= LEAST and not any(side % STEP for side in sides)


def _is_read(parent: nn.Module, name: str) -> bool:
    """Whether it is timm's EVA, which multiplies by `qkv.weight` and joins the bias itself."""
    return name == "qkv" and getattr(parent, "q_bias", None) is not None
