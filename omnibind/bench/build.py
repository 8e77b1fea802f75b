"""How long it takes to lay out each installed encoder at full size, without memory or files."""

from __future__ import annotations

import time
from dataclasses import dataclass

from omnibind.plugins import Registry
from omnibind.specs import EncoderSpec, resolve
from omnibind.weights import lay_out

__all__ = ["LIMIT", "Layout", "measure"]

LIMIT = 5.0
"""What each of them may take at most, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One encoder: the seconds of this process, its parameters by its card and as laid out."""

    encoder: str
    seconds: float
    params_on_card: int
    params: int


def measure(known: Registry) -> tuple[Layout, ...]:
    """Lays out every encoder once, the slowest first; imports are not counted."""
    cards = {card.key: card for space in known.spaces.values() for card in space.encoders.values()}
    return tuple(sorted(map(_measured, cards.values()), key=lambda layout: -layout.seconds))


def _measured(card: EncoderSpec) -> Layout:
    resolve(card.build)
    started = time.process_time()
    module = lay_out(card)
    return Layout(
        encoder=card.key,
        seconds=time.process_time() - started,
        params_on_card=card.params,
        params=sum(parameter.numel() for parameter in module.parameters()),
    )
