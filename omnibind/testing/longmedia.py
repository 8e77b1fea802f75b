"""Checks of the setting `long`: media longer than a clip become one row in each way, repeatably."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast, get_args

from omnibind.specs import Long
from omnibind.testing import samples
from omnibind.testing.rows import COARSE
from omnibind.testing.subject import Fault, Subject, same

__all__ = ["both_ways"]


def both_ways(subject: Subject) -> Iterator[Fault]:
    """The card says whether there is the setting; `windows` is where it starts; each way works."""
    has = hasattr(subject.encoder, "long")
    if has != subject.spec.long:
        yield subject.fault(
            "its card says whether it has the setting `long`",
            f"long={subject.spec.long} on the card, {'one' if has else 'none'} on the network",
            "`long=True` on the card and `self.long = 'windows'` on the network, or neither",
        )
        return
    if not has:
        return
    if subject.encoder.long != "windows":
        yield subject.fault(
            "`long` starts as 'windows'",
            f"{subject.encoder.long!r}",
            "set self.long = 'windows' in __init__; the engine sets what the user asks for",
        )
    media = [*subject.media[:1], *samples.long_media(subject.spec.modality)]
    for way in get_args(Long):
        yield from _one_way(replace(subject, media=media, encoder=subject.another()), way)


def _one_way(subject: Subject, way: str) -> Iterator[Fault]:
    """The same tensors twice, and unit rows: with one forward, for long media are slow."""
    cast("Any", subject.encoder).long = way
    made, again = subject.samples(), subject.samples()
    if not all(map(same, made, again)):
        yield subject.fault(
            f"long={way!r}: preprocess gives the same tensors for the same item",
            "an item differs when it is preprocessed again",
            "where the authors draw at random, take the middle",
        )
    norms = subject.rows(made).double().norm(dim=-1)
    if norms.shape != (len(made),) or not ((norms - 1).abs() <= COARSE).all():
        yield subject.fault(
            f"long={way!r}: one unit row an item",
            f"norms {[round(norm, 3) for norm in norms.flatten().tolist()]}",
            "omnibind.media.windows.mean_rows, then torch.nn.functional.normalize",
        )
