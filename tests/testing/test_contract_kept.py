"""Toy spaces keep the contract that real ones keep, at both sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnibind.specs import SpaceSpec
from omnibind.testing import SpaceContract, ToySpace, with_files


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> SpaceSpec:
    folder: Path = tmp_path_factory.mktemp("weights")
    return with_files(ToySpace("toy", dim=6), folder, backbone="other", joint=8)


class TestTinyToy(SpaceContract):
    pass


class TestFullToy(SpaceContract):
    size = "full"
    weights = "official"
