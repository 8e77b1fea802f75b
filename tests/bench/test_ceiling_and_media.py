"""What the device can do, what it is, and the files that are derived to measure with."""

from __future__ import annotations

import math

import pytest
import torch

from omnibind.bench import ceiling
from omnibind.bench.hardware import cores, describe
from omnibind.bench.media import derive, example_media, files_of
from omnibind.bench.timing import Spread, quantile
from omnibind.errors import SetupError
from omnibind.plugins import load_registry
from omnibind.specs import resolve

MODALITIES = load_registry().modalities


def test_rates_are_positive_and_finite():
    before = torch.get_num_threads()
    found = ceiling.measure("cpu", runs=2, side=32, copied=1000)
    rates = [*found.products.values(), *found.copies.values()]
    assert {"float32", "bfloat16"} <= found.products.keys()
    assert all(0 < rate.least <= rate.median <= rate.most < math.inf for rate in rates)
    assert {"float16", "float8"} == found.left_out.keys()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("dtype", "best"), [("float32", 3.0), ("bfloat16", 3.0), ("float8", 5.0)])
def test_the_limit_is_the_fastest_of_the_numbers_that_layers_may_have(dtype, best):
    rates = {"float32": 3.0, "bfloat16": 1.0, "float8": 5.0, "tf32": 9.0}
    products = {name: Spread.of([rate]) for name, rate in rates.items()}
    found = ceiling.Ceiling(
        device="cpu", threads=1, side=8, products=products, copies={}, left_out={}
    )
    assert found.product(dtype) == best


def test_a_machine_names_its_parts():
    machine = describe()
    assert machine.cpu
    assert machine.cores == cores() >= 1
    assert {"torch", "python", "omnibind"} <= machine.versions.keys()


def test_derived_files_are_different_and_the_same_every_time(tmp_path):
    counts = {"image": 20, "audio": 18, "points": 18, "text": 6000}
    one = derive(example_media(), tmp_path / "one", MODALITIES, counts)
    two = derive(example_media(), tmp_path / "two", MODALITIES, counts)
    assert {m: len(set(items)) for m, items in one.items()} == counts
    for modality in ("image", "audio", "points"):
        digests = [_digest(modality, path) for path in one[modality]]
        assert digests == [_digest(modality, path) for path in two[modality]]
        assert len(set(digests)) == counts[modality]


def _digest(modality: str, path: object) -> bytes:
    card = MODALITIES[modality]
    return resolve(card.digest)(resolve(card.load)(path))


def test_a_folder_of_ones_own_is_taken_as_it_is():
    found = files_of(example_media(), MODALITIES, {"image": 3, "text": 2})
    assert [path.name for path in found["image"]] == ["camera.png", "car.png", "cat.jpg"]
    assert len(found["text"]) == 2


def test_a_folder_with_too_few_files_says_how_many():
    with pytest.raises(SetupError, match="--items image=17"):
        files_of(example_media(), MODALITIES, {"image": 99})


def test_a_modality_that_cannot_be_derived_is_refused(tmp_path):
    with pytest.raises(SetupError, match="--media"):
        derive(example_media(), tmp_path, MODALITIES, {"smell": 1})


def test_a_spread_is_of_all_runs():
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(median=2.0, least=1.0, most=3.0, runs=3)


def test_a_quantile_is_one_of_the_values():
    values = [float(k) for k in range(1, 101)]
    assert [quantile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
