"""One batch through one encoder: collated, moved, finished, encoded, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import cast

import torch
from torch import Tensor, nn

from omnibind.engine.finishing import batch_of
from omnibind.engine.precision import Numbers, computing
from omnibind.engine.requests import Sample
from omnibind.errors import OmnibindError, PluginError
from omnibind.specs import Encoder, EncoderSpec

__all__ = ["run_batch", "same_device", "shapes_of"]


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
    try:
        batch = batch_of(encoder, samples, device, early=early)
        with torch.inference_mode(), computing(numbers, device):
            rows = (forward or encoder)(batch)
    except OmnibindError:
        raise
    except Exception:
        # one that moves itself and goes on computing fails, as a rule, by tensors on two devices
        _refuse_moved(spec, chain(module.named_parameters(), module.named_buffers()), device)
        raise
    _refuse_other_than_rows(spec, rows, len(samples), device)
    _refuse_moved(spec, islice(module.named_parameters(), 1), device)
    return rows.float().cpu()


def shapes_of(sample: Sample) -> str:
    """What a sample holds, for messages."""
    return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in sample.items())


def same_device(one: torch.device, other: torch.device) -> bool:
    """Whether two devices are the same one; without a number it is the one in use."""
    return one.type == other.type and _number(one) == _number(other)


def _number(device: torch.device) -> int:
    number = cast("int | None", device.index)
    if number is not None:
        return number
    here = torch.accelerator.current_accelerator(check_available=True)
    same = here is not None and here.type == device.type
    return torch.accelerator.current_device_index() if same else 0


def _refuse_other_than_rows(
    spec: EncoderSpec, rows: object, count: int, device: torch.device
) -> None:
    if isinstance(rows, Tensor):
        _refuse_moved(spec, [("rows", rows)], device)
    found = str(list(rows.shape)) if isinstance(rows, Tensor) else f"no tensor: {type(rows)}"
    if found != str([count, spec.dim]):
        raise PluginError(
            f"rows [{count}, {spec.dim}] of the encoder {spec.key!r}",
            found=found,
            next_step="mend the plugin's forward, or the width on its card",
        )


def _refuse_moved(
    spec: EncoderSpec, named: Iterable[tuple[str, Tensor]], device: torch.device
) -> None:
    for name, tensor in named:
        if not same_device(tensor.device, device):
            raise PluginError(
                f"the encoder {spec.key!r} on {device}, where the engine has put it",
                found=f"{name} on {tensor.device}: it moves itself",
                next_step="leave devices to the engine: no .to(), .cuda() or .cpu() in the plugin",
            )
