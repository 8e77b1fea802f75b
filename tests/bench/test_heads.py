"""The benchmark of heads: all three ways learn the same, and each is timed."""

from __future__ import annotations

import pytest

from omnibind.bench.heads import Sizes, batched_step, given, loop_step, measure

SMALL = Sizes(spaces=2, dim=8, hidden=8, batch=12)


def test_the_loop_has_the_losses_of_the_batched_module_step_by_step():
    names, data = given(SMALL)
    batched = batched_step(names, data)
    loop = [loop_step(name, head, data) for name in names for head in data.recipe.heads]
    for step in range(4):
        assert batched(step) == pytest.approx(sum(one(step) for one in loop), rel=1e-5)


def test_rows_a_second_are_measured():
    found = measure(SMALL, seconds=0.0)
    assert min(found.batched, found.loop, found.own_loop) > 0
    assert found.ratio == found.batched / found.loop
