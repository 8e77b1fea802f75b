"""Which stretches of a sound are held: all of a short one, thirty excerpts of a long one.

Hours need no more memory than minutes: beyond five minutes a sound is its thirty excerpts of 10 s,
evenly spread from the first sample to the last. No encoder looks at more than thirty windows, and
windows of up to 10 s lie within the excerpts, at the places they have in the whole sound. Ours.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EXCERPT_SECONDS", "MAX_HELD", "MOST", "WHOLE_SECONDS", "Stretches", "evenly"]

WHOLE_SECONDS = 300
"""Up to this length, in s, all of a sound is held."""
EXCERPT_SECONDS = 10
MOST = 30
MAX_HELD = 64 * 1024**2
"""Most samples over all channels that are held: 256 MiB. Many channels have fewer excerpts."""


@dataclass(frozen=True, kw_only=True)
class Stretches:
    """Stretches of one length.

    Attributes:
        starts: first sample of each, in order.
        length: samples of each.
    """

    starts: tuple[int, ...]
    length: int

    @classmethod
    def of(cls, channels: int, times: int, rate: int) -> Stretches:
        """What is held of a sound; no starts where not even two excerpts of it could be."""
        if times <= WHOLE_SECONDS * rate and channels * times <= MAX_HELD:
            return cls(starts=(0,), length=times)
        length = EXCERPT_SECONDS * rate
        count = min(MOST, MAX_HELD // (channels * length))
        return cls(starts=evenly(count, times - length) if count > 1 else (), length=length)


def evenly(count: int, last: int) -> tuple[int, ...]:
    """So many whole numbers from 0 to `last`, evenly spread; one alone is 0."""
    return tuple(k * last // max(1, count - 1) for k in range(count))
