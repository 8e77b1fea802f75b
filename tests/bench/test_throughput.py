"""The engine and the published code's way give the same rows; only the way is longer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from omnibind.bench.bare import loop
from omnibind.bench.ceiling import Ceiling
from omnibind.bench.naive import Naive
from omnibind.bench.setting import Networks, Setting, cards_of
from omnibind.bench.throughput import ALL, Figure, measure
from omnibind.bench.timing import Spread
from omnibind.errors import SetupError, UnknownNameError

CPU = torch.device("cpu")
RATE = Spread.of([1e9])
CEILING = Ceiling(
    device="cpu", threads=1, side=8, products={"float32": RATE}, copies={}, left_out={}
)


@pytest.fixture(scope="module")
def figures(media, known) -> Sequence[Figure]:
    setting = Setting(recipe="toys", size="tiny", device="cpu", batch=2, workers=2)
    return measure(setting, media, CEILING, naive=True, runs=2, known=known)


def test_each_modality_is_measured_and_then_all_in_one_call(figures, media):
    assert [one.modality for one in figures] == [*media, ALL]
    assert figures[-1].items == sum(map(len, media.values()))


def test_rows_of_both_ways_are_equal(figures):
    for one in figures:
        assert one.difference is not None
        assert one.difference < 1e-5


def test_a_figure_has_its_spread_and_stands_beside_floor_and_prediction(figures):
    for one in figures:
        assert one.seconds.runs == one.naive.runs == one.ratio.runs == 2
        assert one.ratio.least <= one.ratio.median <= one.ratio.most
        assert one.flops > 0
        assert one.floor > 0
        assert one.prediction > 0


def test_without_naive_nothing_is_compared(media, known, setting):
    (one,) = measure(setting, {"text": media["text"]}, CEILING, runs=1, known=known)
    assert (one.naive, one.ratio, one.difference) == (None, None, None)


def test_the_naive_way_decodes_and_encodes_once_a_space(media, known, setting):
    model = setting.model(known)
    way = Naive(model, Networks(setting, CPU), batch=5)
    way.embed("image", media["image"])
    assert (way.decoded, way.forwards) == (2 * 5, 2)  # back and side: the same network, twice
    model.engine.close()


def test_the_naive_way_takes_sounds_one_by_one(media, known, setting):
    model = setting.model(known)
    way = Naive(model, Networks(setting, CPU), batch=5)
    way.embed("audio", media["audio"])
    assert way.forwards == 2 * 3
    model.engine.close()


def test_the_engine_decodes_once_an_item(media, known, setting, loaded):
    model = setting.model(known)
    model.embed(media["image"], "image")
    assert sorted(loaded) == sorted(media["image"])
    model.engine.close()


def test_rows_of_every_space_are_equal(media, known, setting):
    model = setting.model(known)
    networks = Networks(setting, CPU)
    for modality, sources in media.items():
        there = model.encode(sources, modality).rows[modality]
        long_way = Naive(model, networks, batch=2).encode(modality, sources)
        plain, _ = loop(
            known.modality(modality), sources, cards_of(model, list(media)), networks, batch=2
        )
        for name, rows in long_way.items():
            assert torch.allclose(there[name], rows, rtol=0, atol=1e-5)
            key = model.spaces[name].encoders[modality].key
            assert torch.allclose(plain[key], rows, rtol=0, atol=1e-5)
    model.engine.close()


def test_an_item_that_fails_is_named(known, setting, tmp_path: Path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"nothing")
    with pytest.raises(SetupError, match=r"1 fail; .*broken\.jpg, decode"):
        measure(setting, {"image": [broken]}, CEILING, runs=1, known=known)


def test_a_modality_that_the_recipe_lacks_is_named(known, setting):
    with pytest.raises(UnknownNameError, match="modality of the recipe 'toys' 'smell'"):
        measure(setting, {"smell": ["x"]}, CEILING, runs=1, known=known)
