"""The encoders an engine holds: each built once, at first use, on the engine's device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from omnibind.errors import PluginError
from omnibind.specs import Encoder, EncoderSpec, Long, Size
from omnibind.weights import build_encoder, locate
from omnibind.weights.build import Weights

__all__ = ["Residents", "Sample", "run_batch"]

Sample = dict[str, Tensor]
Collate = Callable[[list[Sample]], Sample]


@dataclass
class Residents:
    """Built encoders by key.

    Attributes:
        device: where they live and run.
        size, weights, seed: how they are built (see `omnibind.weights.build_encoder`).
        long: the setting of those that have it (see `omnibind.specs.Long`).
    """

    device: torch.device
    size: Size = "full"
    weights: Weights = "official"
    seed: int = 0
    long: Long = "windows"
    _built: dict[str, nn.Module] = field(default_factory=dict[str, nn.Module])
    _identities: dict[tuple[Any, ...], str] = field(default_factory=dict[tuple[Any, ...], str])
    _locks: dict[str, threading.Lock] = field(default_factory=dict[str, threading.Lock])
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def get(self, spec: EncoderSpec) -> Encoder:
        """The encoder of a card; several threads may ask at once, one of them builds it."""
        with self._guard:
            lock = self._locks.setdefault(spec.key, threading.Lock())
        with lock:
            if spec.key not in self._built:
                module = build_encoder(
                    spec, size=self.size, weights=self.weights, seed=self.seed, device=self.device
                )
                if spec.long:
                    _set_long(spec, module, self.long)
                self._built[spec.key] = module
            return cast("Encoder", self._built[spec.key])

    def identity(self, spec: EncoderSpec) -> str:
        """Everything that rows of this encoder depend on, besides the item.

        A file without a checksum in its reference counts with its size and time of change.
        """
        known = (spec.key, spec.revision, spec.weights)
        if known not in self._identities:
            parts: list[Any] = [spec.key, spec.revision, self.size, self.weights, self.seed]
            parts += [*spec.weights, *sorted(spec.assets.items())]
            parts += [f"long={self.long}"] if spec.long else []
            if self.size == "full" and self.weights == "official":
                parts += [_state_of(ref) for ref in spec.weights if "#sha256=" not in ref]
            self._identities[known] = "|".join(map(str, parts))
        return self._identities[known]

    @property
    def resident(self) -> tuple[str, ...]:
        """Keys of the encoders that have been built."""
        return tuple(self._built)


def run_batch(
    spec: EncoderSpec, encoder: Encoder, samples: Sequence[Sample], device: torch.device
) -> Tensor:
    """Collates, moves and encodes samples; rows `[item, dim]` come back on the CPU in float32.

    Raises:
        PluginError: the encoder gave rows of another shape than its card says.
    """
    collate = cast("Collate", getattr(encoder, "collate", _stack))
    batch = {name: tensor.to(device) for name, tensor in collate(list(samples)).items()}
    with torch.inference_mode():
        rows = encoder(batch).float().cpu()
    if rows.shape != (len(samples), spec.dim):
        raise PluginError(
            f"rows [{len(samples)}, {spec.dim}] of the encoder {spec.key!r}",
            found=f"{list(rows.shape)}",
            next_step="mend the plugin's forward, or the width on its card",
        )
    return rows


def _set_long(spec: EncoderSpec, module: nn.Module, long: Long) -> None:
    if not hasattr(module, "long"):
        raise PluginError(
            f"the setting long={long!r} of the encoder {spec.key!r}",
            found="a card that has it and a network that has not",
            next_step="give the network an attribute `long`, or take it off the card",
        )
    cast("Any", module).long = long


def _state_of(reference: str) -> tuple[int, int]:
    facts = locate(reference).stat()
    return facts.st_size, facts.st_mtime_ns


def _stack(samples: list[Sample]) -> Sample:
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
