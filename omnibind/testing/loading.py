"""Checks that `load_official` is strict: every key is used or named as dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import cast

import torch
from torch import Tensor

from omnibind.errors import WeightsError
from omnibind.testing.subject import Fault, Subject
from omnibind.weights import LoadReport
from omnibind.weights.build import merged_state

__all__ = ["strict"]

STRANGER = "omnibind.a_key_that_nobody_published"
State = Mapping[str, Tensor]


def strict(subject: Subject) -> Iterator[Fault]:
    """An extra key, a missing key and a wrong shape each raise WeightsError.

    The published layout is the official file's, the one that the test class gives, or the
    encoder's own; where it is none of these, only what needs no layout is checked.
    """
    if not hasattr(subject.encoder, "load_official"):
        return
    stranger = {STRANGER: torch.zeros(2, 3)}
    yield from _refuses(subject, stranger, "an unexpected key by name", named=STRANGER)
    if subject.encoder.state_dict():
        yield from _refuses(subject, {}, "an empty checkpoint")
    state = _published(subject)
    if state is None:
        return
    report = _load(subject, state)
    if isinstance(report, LoadReport):
        yield from _spoiled(subject, state, report)
    else:
        yield subject.fault(
            "load_official takes a checkpoint in the published layout, and says what became of it",
            f"{type(report).__name__}: {report}",
            "return load_state(...); correct `published` in your test class if that is wrong",
        )


def _spoiled(subject: Subject, state: State, report: LoadReport) -> Iterator[Fault]:
    odd = state.keys() ^ {*report.used, *report.dropped}
    if odd:
        yield subject.fault(
            "the report names every published key, as used or as dropped with a reason",
            f"left out or invented: {', '.join(sorted(odd))[:200]}",
            "return what load_state(..., dropped={'pattern': 'why'}) gives",
        )
        return
    yield from _refuses(subject, {**state, STRANGER: torch.zeros(2, 3)}, "one key too many")
    for key in dict.fromkeys((*report.used[:1], *report.used[-1:])):
        less = {name: tensor for name, tensor in state.items() if name != key}
        yield from _refuses(subject, less, f"a checkpoint without {key!r}")
        longer = torch.cat([state[key].reshape(-1), state[key].reshape(-1)[:1]])
        yield from _refuses(subject, {**state, key: longer}, f"another shape of {key!r}")


def _refuses(subject: Subject, state: State, what: str, named: str = "") -> Iterator[Fault]:
    outcome = _load(subject, state)
    if not isinstance(outcome, WeightsError) or named not in str(outcome):
        found = "it was taken" if isinstance(outcome, LoadReport) else type(outcome).__name__
        yield subject.fault(
            f"load_official refuses {what} with WeightsError",
            f"{found}: {outcome}" if isinstance(outcome, Exception) else found,
            "load with omnibind.weights.load_state(self, state, rename=..., dropped=...)",
        )


def _load(subject: Subject, state: State) -> object:
    load = cast("Callable[[State], object]", subject.another().load_official)
    try:
        return load({key: tensor.clone() for key, tensor in state.items()})
    except Exception as error:  # noqa: BLE001 - whatever it raises is what the check is about
        return error


def _published(subject: Subject) -> State | None:
    if subject.published is not None:
        return subject.published
    if subject.weights == "official" and subject.size == "full":
        return merged_state(subject.spec.weights)
    own = subject.encoder.state_dict()
    return own if own and isinstance(_load(subject, own), LoadReport) else None
