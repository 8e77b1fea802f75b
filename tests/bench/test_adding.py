"""The benchmark of adding a space: one line a space, with all three figures and both shares."""

from __future__ import annotations

import pytest

from omnibind.bench.adding import World, measure
from omnibind.errors import UnknownNameError


def test_each_space_that_comes_later_is_measured():
    found = measure(World(spaces=3, items=150, steps=4))
    assert [one.space for one in found] == ["look"]
    assert all(0 < figure < 1 for one in found for figure in (one.before, one.added, one.anew))
    assert found[0].share > 0
    assert found[0].share_anew > 0


@pytest.mark.parametrize("late", ["nowhere", "back"])
def test_a_space_that_cannot_be_added_is_refused_before_anything_is_bound(late):
    with pytest.raises(UnknownNameError, match="--late"):
        measure(World(spaces=3, items=150, steps=4), [late])
