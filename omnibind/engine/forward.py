"""One batch through one encoder: collated, moved, finished, encoded, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from omnibind.engine.finishing import batch_of
from omnibind.engine.precision import Numbers, computing
from omnibind.engine.requests import Sample
from omnibind.errors import PluginError
from omnibind.specs import Encoder, EncoderSpec

__all__ = ["run_batch", "shapes_of"]


def run_batch(
    spec: EncoderSpec,
    module: nn.Module,
    samples: Sequence[Sample],
    device: torch.device,
    numbers: Numbers = "float32",
    *,
    early: bool = False,
    forward: Callable[[Sample], Tensor] | None = None,
) -> Tensor:
    """Encodes samples; rows `[item, dim]` come back on the CPU in float32.

    Args:
        spec: its card.
        module: built in these `numbers`.
        samples: of one batch.
        device: where the module is.
        numbers: what it computes in.
        early: the samples have been finished (see `omnibind.engine.finishing`).
        forward: how the module is run on a batch; it is called by default.

    Raises:
        PluginError: rows of another shape than the card says, or an encoder that has moved.
    """
    encoder = cast("Encoder", module)
    batch = batch_of(encoder, samples, device, early=early)
    with torch.inference_mode(), computing(numbers, device):
        rows = (forward or encoder)(batch)
    _refuse_moved(spec, module, rows, device)
    if rows.shape != (len(samples), spec.dim):
        raise PluginError(
            f"rows [{len(samples)}, {spec.dim}] of the encoder {spec.key!r}",
            found=f"{list(rows.shape)}",
            next_step="mend the plugin's forward, or the width on its card",
        )
    return rows.float().cpu()


def shapes_of(sample: Sample) -> str:
    """What a sample holds, for messages."""
    return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in sample.items())


def _refuse_moved(spec: EncoderSpec, module: nn.Module, rows: Tensor, device: torch.device) -> None:
    first = next(module.parameters(), rows)
    for what, tensor in (("rows", rows), ("parameters", first)):
        if tensor.device.type != device.type:
            raise PluginError(
                f"the encoder {spec.key!r} on {device}, where the engine has put it",
                found=f"{what} on {tensor.device}: it moves itself",
                next_step="leave devices to the engine: no .to(), .cuda() or .cpu() in the plugin",
            )
