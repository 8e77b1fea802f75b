"""Toy spaces keep the contract that real ones keep."""

from __future__ import annotations

import pytest

from omnibind.specs import SpaceSpec
from omnibind.testing import SpaceContract, toy_space


@pytest.fixture
def space() -> SpaceSpec:
    return toy_space("toy", dim=6)


class TestToySpace(SpaceContract):
    pass
