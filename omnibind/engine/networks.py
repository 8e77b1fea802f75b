"""How an engine builds its encoders, and what their rows depend on."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from omnibind.engine.garbage import Garbage
from omnibind.engine.memory.budget import module_bytes
from omnibind.engine.precision import Numbers, borne, build, laid_out
from omnibind.errors import PluginError
from omnibind.specs import Encoder, EncoderSpec, Long, Size
from omnibind.weights import locate
from omnibind.weights.build import Weights, skeleton

__all__ = ["Networks"]


@dataclass
class Networks:
    """Builds encoders; of each, one laid out without weights prepares items.

    Attributes:
        size, weights, seed: how they are built (see `omnibind.weights.build_encoder`).
        long: the setting of those that have it (see `omnibind.specs.Long`).
        dtype: the numbers that they compute in, where their cards bear it.
        garbage: is told of each that has been built.
    """

    size: Size = "full"
    weights: Weights = "official"
    seed: int = 0
    long: Long = "windows"
    dtype: Numbers = "float32"
    garbage: Garbage = field(default_factory=Garbage)
    _preparing: dict[str, nn.Module] = field(default_factory=dict[str, nn.Module])
    _identities: dict[tuple[Any, ...], str] = field(default_factory=dict[tuple[Any, ...], str])
    _sizes: dict[str, int] = field(default_factory=dict[str, int])
    _locks: dict[str, threading.Lock] = field(default_factory=dict[str, threading.Lock])
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __getstate__(self) -> dict[str, Any]:
        """For another process: the settings alone."""
        names = ("size", "weights", "seed", "long", "dtype")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def build(
        self, spec: EncoderSpec, device: torch.device, drawn_on: torch.device | None = None
    ) -> nn.Module:
        """An encoder with its weights on a device, in the numbers that it computes in.

        Args:
            spec: its card.
            device: where it is to be.
            drawn_on: see `omnibind.weights.build_encoder`.
        """
        module = build(
            spec,
            self.numbers(spec),
            size=self.size,
            weights=self.weights,
            seed=self.seed,
            device=device,
            drawn_on=drawn_on,
        )
        self._set_long(spec, module)
        self.garbage.loaded()
        return module

    def numbers(self, spec: EncoderSpec) -> Numbers:
        """What an encoder computes in."""
        return borne(spec, self.dtype)

    def preparing(self, spec: EncoderSpec) -> Encoder:
        """An encoder whose `preprocess` can be called; several threads may ask at once."""
        made = self._preparing.get(spec.key)
        if made is not None:
            return cast("Encoder", made)
        with self._guard:
            lock = self._locks.setdefault(spec.key, threading.Lock())
        with lock:
            if spec.key not in self._preparing:
                module = skeleton(spec, size=self.size, weights=self.weights)
                self._set_long(spec, module)
                self._preparing[spec.key] = module
                self.garbage.loaded()
            return cast("Encoder", self._preparing[spec.key])

    def nbytes(self, spec: EncoderSpec) -> int:
        """Bytes of an encoder on a device, without building it."""
        if spec.key not in self._sizes:
            module = laid_out(spec, self.numbers(spec), size=self.size)
            self._sizes[spec.key] = module_bytes(module)
        return self._sizes[spec.key]

    def identity(self, spec: EncoderSpec) -> str:
        """Everything that rows of this encoder depend on, besides the item.

        A file without a checksum in its reference, an asset too, counts with its size and time of
        change.
        Of two identities that differ in their numbers alone, the rows are alike and not equal.
        """
        known = (spec.key, spec.revision, spec.weights, spec.precision)
        if known not in self._identities:
            parts: list[Any] = [spec.key, spec.revision, self.size, self.weights, self.seed]
            parts += [*spec.weights, *sorted(spec.assets.items())]
            parts += [f"long={self.long}"] if spec.long else []
            numbers = self.numbers(spec)
            parts += [] if numbers == "float32" else [f"numbers={numbers}"]
            if self.size == "full" and self.weights == "official":
                files = (*spec.weights, *spec.assets.values())
                parts += [_state_of(ref) for ref in files if "#sha256=" not in ref]
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
