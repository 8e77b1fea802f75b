"""Networks of a benchmark's own, beside the engine's: all at once, or one at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from omnibind.bench.setting import Setting
from omnibind.engine.layers import plain, quickened
from omnibind.engine.memory.budget import budget_of, host_has_room, module_bytes
from omnibind.engine.memory.copies import emptied
from omnibind.engine.precision import Numbers, borne, build, laid_out, resolved
from omnibind.specs import Encoder, EncoderSpec

__all__ = ["Networks"]


@dataclass
class Networks:
    """Encoders built as the engine's are: from the same weights, and in the same numbers.

    Those of the published code are float32, and it holds all of them at once. Where they do not
    fit beside the engine's, one at a time gives the same rows and the same forwards; only building
    it again takes time, which is counted apart.

    Attributes:
        setting: size, weights and seed.
        device: where they live.
        alone: each leaves before the next one comes.
        wall, work: wall and processor seconds of building, so far.
    """

    setting: Setting
    device: torch.device
    alone: bool = False
    wall: float = 0.0
    work: float = 0.0
    _built: dict[tuple[str, Numbers], nn.Module] = field(
        default_factory=dict[tuple[str, Numbers], nn.Module]
    )

    def __post_init__(self) -> None:
        self._dtype: Numbers = resolved(self.setting.dtype, [self.device])

    def numbers(self, spec: EncoderSpec, *, published: bool = False) -> Numbers:
        """What an encoder computes in."""
        return "float32" if published else borne(spec, self._dtype)

    def get(self, spec: EncoderSpec, *, published: bool = False) -> Encoder:
        """The encoder of a card; built where it is not there.

        Args:
            spec: the card.
            published: its layers are torch's own and its numbers float32, as in the published
                code; else both are the engine's.
        """
        numbers = self.numbers(spec, published=published)
        if (spec.key, numbers) not in self._built:
            wall, work = time.perf_counter(), time.process_time()
            if self.alone:
                self.forget()
            self._built[spec.key, numbers] = self._made(spec, numbers)
            self.wall += time.perf_counter() - wall
            self.work += time.process_time() - work
        module = self._built[spec.key, numbers]
        quick = self.device.type == "cpu" and not published
        return cast("Encoder", quickened(module) if quick else plain(module))

    def groups(self, cards: Iterable[EncoderSpec]) -> list[list[EncoderSpec]]:
        """Those that are there together."""
        listed = list(cards)
        return [[card] for card in listed] if self.alone else [listed]

    @property
    def nbytes(self) -> int:
        """Bytes of those that are there."""
        return sum(map(module_bytes, self._built.values()))

    def forget(self) -> None:
        """Drops all of them."""
        self._built.clear()
        emptied(self.device)

    def fit(self, cards: Iterable[EncoderSpec], *, published: bool = False) -> bool:
        """Whether all of these fit beside what is on the device now, and leave room to compute.

        Args:
            cards: of the encoders.
            published: those of the published code are wanted too.
        """
        kinds: dict[tuple[str, Numbers], EncoderSpec] = {
            (c.key, self.numbers(c, published=p)): c for c in cards for p in {False, published}
        }
        size = self.setting.size
        wanted = sum(
            module_bytes(laid_out(card, numbers, size=size)) for (_, numbers), card in kinds.items()
        )
        free = budget_of("auto", self.device)
        return host_has_room(wanted) if free is None else wanted <= free

    def _made(self, spec: EncoderSpec, numbers: Numbers) -> nn.Module:
        module = build(
            spec,
            numbers,
            size=self.setting.size,
            weights=self.setting.weights,
            seed=self.setting.seed,
            device=self.device,
        )
        if spec.long:
            cast("Any", module).long = "windows"  # the engine's default
        return module
