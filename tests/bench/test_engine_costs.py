"""Overhead over a bare loop, and single items from many threads: what is counted, not how fast."""

from __future__ import annotations

import pytest

from omnibind.bench import overhead, threads
from omnibind.errors import SetupError


def test_engine_and_loop_take_turns(media, known, setting):
    (one,) = overhead.measure(setting, {"image": media["image"]}, runs=2, known=known)
    assert (one.modality, one.items) == ("image", 5)
    assert one.ratio.runs == one.work.runs == 2
    assert one.ratio.median > 0


def test_every_item_is_a_call_of_its_own(media, known, setting, loaded):
    given = {"image": media["image"]}
    (one,) = threads.measure(setting, given, threads=3, runs=2, known=known)
    assert (one.threads, one.calls) == (3, 5)
    warm, batch = 2, 2
    assert len(loaded) == warm + 2 * (5 + 5 + batch)
    assert 0 < one.p50 <= one.p99


def test_fewer_items_than_threads_are_refused(media, known, setting):
    with pytest.raises(SetupError, match="--items image=9"):
        threads.measure(setting, {"image": media["image"]}, threads=9, known=known)
