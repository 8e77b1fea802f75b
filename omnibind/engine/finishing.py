"""From media to what `forward` reads: a sample of each item, then a batch, finished on the way.

Preprocessing has two halves. `preprocess` is for one item, on the CPU, in one thread of many; what
is the same arithmetic for all items an encoder leaves to `finish`: mel spectrograms, the scale of
pixels. Where the second half is done is ours.

Late, on an accelerator: for a whole batch, on the device, in float32, before autocast begins. The
workers' processors are left to decoders, and pixels travel as bytes, a quarter of what they become.
Sounds are more bytes than their spectrograms, two to five times: so samples are joined on the
device, and on the host each is copied once.

Early, on a CPU: by the worker, for each item right after the first half. There is no faster place,
and a batch would be slower: the spectrogram of 10 s takes 5 ms by itself and 12 ms among 32, whose
arrays do not fit the processor's caches. Encoders that share a sample share the finished one too,
and batches are measured by what `forward` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from omnibind.engine.requests import Sample
from omnibind.errors import PluginError
from omnibind.specs import Encoder

__all__ = ["batch_of", "collated", "finishes_early", "sample_of"]

Collate = Callable[[list[Sample]], Mapping[str, Tensor]]
Finish = Callable[[Mapping[str, Tensor]], Sample]


def finishes_early(devices: Sequence[torch.device]) -> bool:
    """Whether samples for these devices are finished item by item: where all are CPUs."""
    return all(device.type == "cpu" for device in devices)


def sample_of(
    encoder: Encoder | nn.Module, media: Any, *, early: bool, key: str | None = None
) -> Sample:
    """What an encoder makes of one item, on the CPU; finished if that is done early.

    Args:
        encoder: need not have weights.
        media: as its modality loads it.
        early: whether it is finished.
        key: of the encoder, for the message.

    Raises:
        PluginError: it makes something else than tensors by name.
    """
    name = key or type(encoder).__name__
    sample = _tensors(cast("Encoder", encoder).preprocess(media), "preprocess", name)
    return _tensors(_finished(encoder, sample), "finish", name) if early else sample


def batch_of(
    encoder: Encoder | nn.Module,
    samples: Sequence[Sample],
    device: torch.device | str = "cpu",
    *,
    early: bool = False,
) -> Sample:
    """What `forward` reads of some samples: moved to a device, collated, finished there.

    Args:
        encoder: its own tensors are on that device.
        samples: of different items.
        device: where they go.
        early: they have been finished already, one by one.
    """
    where = torch.device(device)
    if early or not hasattr(encoder, "finish"):
        return _moved(collated(encoder, samples), where)
    there = [_moved(sample, where) for sample in samples]  # one copy on the host instead of two
    return _finished(encoder, _moved(collated(encoder, there), where))


def collated(encoder: Encoder | nn.Module, samples: Sequence[Sample]) -> Mapping[str, Tensor]:
    """Some samples as a batch, by the encoder's own `collate` or stacked."""
    collate = cast("Collate", getattr(encoder, "collate", _stacked))
    return collate(list(samples))


def _tensors(made: object, by: str, key: str) -> Sample:
    """What was made, if it is tensors by name."""
    found = f"something of the type {type(made).__name__}"
    if isinstance(made, Mapping):
        named = cast("Mapping[object, object]", made)
        wrong = [name for name, one in named.items() if not isinstance(one, Tensor)]
        if named and not wrong:
            return cast("Sample", made)
        found = "an empty dict" if not named else f"{wrong[0]!r}: {type(named[wrong[0]]).__name__}"
    raise PluginError(
        f"a sample of the encoder {key!r}",
        found=f"its {by} gave {found}",
        next_step="return a dict with a torch.Tensor by each name",
    )


@torch.no_grad()
def _finished(encoder: Encoder | nn.Module, tensors: Sample) -> Sample:
    finish = cast("Finish | None", getattr(encoder, "finish", None))
    return finish(tensors) if finish else tensors


def _moved(tensors: Mapping[str, Tensor], device: torch.device) -> Sample:
    return {name: _moved_one(tensor, device) for name, tensor in tensors.items()}


def _moved_one(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda" and tensor.is_cpu:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _stacked(samples: list[Sample]) -> Sample:
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
