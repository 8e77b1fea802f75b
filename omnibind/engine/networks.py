"""How an engine builds its encoders, and what their rows depend on."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from omnibind.engine.budget import bytes_of
from omnibind.errors import PluginError
from omnibind.specs import Encoder, EncoderSpec, Long, Size
from omnibind.weights import build_encoder, locate
from omnibind.weights.build import Weights, skeleton

__all__ = ["Networks"]


@dataclass
class Networks:
    """Builds encoders; of each, one laid out without weights prepares items.

    Attributes:
        size, weights, seed: how they are built (see `omnibind.weights.build_encoder`).
        long: the setting of those that have it (see `omnibind.specs.Long`).
    """

    size: Size = "full"
    weights: Weights = "official"
    seed: int = 0
    long: Long = "windows"
    _preparing: dict[str, nn.Module] = field(default_factory=dict[str, nn.Module])
    _identities: dict[tuple[Any, ...], str] = field(default_factory=dict[tuple[Any, ...], str])
    _sizes: dict[str, int] = field(default_factory=dict[str, int])
    _locks: dict[str, threading.Lock] = field(default_factory=dict[str, threading.Lock])
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __getstate__(self) -> dict[str, Any]:
        """For another process: the settings alone."""
        return {name: getattr(self, name) for name in ("size", "weights", "seed", "long")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def build(self, spec: EncoderSpec, device: torch.device, *, runs_on: torch.device) -> nn.Module:
        """An encoder with its weights on a device, in the numbers for the one it will run on."""
        module = build_encoder(
            spec,
            size=self.size,
            weights=self.weights,
            seed=self.seed,
            device=device,
            runs_on=runs_on,
        )
        self._set_long(spec, module)
        return module

    def preparing(self, spec: EncoderSpec) -> Encoder:
        """An encoder whose `preprocess` can be called; several threads may ask at once."""
        with self._guard:
            lock = self._locks.setdefault(spec.key, threading.Lock())
        with lock:
            if spec.key not in self._preparing:
                module = skeleton(spec, size=self.size, weights=self.weights)
                self._set_long(spec, module)
                self._preparing[spec.key] = module
            return cast("Encoder", self._preparing[spec.key])

    def nbytes(self, spec: EncoderSpec) -> int:
        """Bytes of an encoder on a device, without building it."""
        if spec.key not in self._sizes:
            self._sizes[spec.key] = bytes_of(spec, self.size)
        return self._sizes[spec.key]

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

    def _set_long(self, spec: EncoderSpec, module: nn.Module) -> None:
        if not spec.long:
            return
        if not hasattr(module, "long"):
            raise PluginError(
                f"the setting long={self.long!r} of the encoder {spec.key!r}",
                found="a card that has it and a network that has not",
                next_step="give the network an attribute `long`, or take it off the card",
            )
        cast("Any", module).long = self.long


def _state_of(reference: str) -> tuple[int, int]:
    facts = locate(reference).stat()
    return facts.st_size, facts.st_mtime_ns
