"""The engine and the published code's way give the same rows; only the way is longer."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from omnibind.bench.bare import loop
from omnibind.bench.ceiling import Ceiling
from omnibind.bench.naive import Naive
from omnibind.bench.networks import Networks
from omnibind.bench.setting import Setting, cards_of
from omnibind.bench.throughput import ALL, Figure, measure
from omnibind.bench.timing import Spread
from omnibind.engine.memory.budget import bytes_of
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


def test_rows_that_are_alike_have_a_cosine_of_one(figures):
    assert all(0.999999 < one.cosine < 1.000001 for one in figures)


def test_what_the_engine_has_on_its_device_is_told(figures):
    assert all(one.resident > 0 for one in figures)
    assert [one.moved for one in figures] == [0] * len(figures)
    assert [one.peak for one in figures] == [None] * len(figures)


def test_networks_that_do_not_fit_together_come_one_at_a_time_and_rows_are_the_same(media, known):
    setting = Setting(recipe="toys", size="tiny", device="cpu", batch=2, workers=2)
    found = measure(setting, media, CEILING, naive=True, runs=1, alone=True, known=known)
    assert all(one.alone and one.difference < 1e-5 and one.stages.decode > 0 for one in found)


def test_a_network_that_is_alone_leaves_before_the_next_is_built(media, known, setting):
    model = setting.model(known)
    networks = Networks(setting, CPU, alone=True)
    there = []
    for spec in cards_of(model, ["audio"])["audio"].values():
        there.append(weakref.ref(networks.get(spec)))
        assert networks.nbytes == bytes_of(spec, "tiny")
    Naive(model, networks, batch=5).embed("audio", media["audio"])
    loop(known.modality("audio"), media["audio"], cards_of(model, ["audio"]), networks, batch=2)
    assert len(there) == 2
    assert sum(one() is not None for one in there) == 0
    model.engine.close()


def test_building_is_counted_apart_and_once(known, setting):
    networks = Networks(setting, CPU)
    spec = known.space("back").encoders["text"]
    networks.get(spec)
    wall, work = networks.wall, networks.work
    networks.get(spec)
    assert networks.wall == wall > 0
    assert networks.work == work


def huge(size, assets):
    return torch.nn.Linear(1 << 20, 1 << 20)  # 4 TiB


def test_networks_that_the_host_has_no_memory_for_do_not_fit(known, setting):
    card = replace(known.space("back").encoders["text"], build=f"{__name__}:huge")
    assert not Networks(setting, CPU).fit([card])


@pytest.mark.parametrize(
    ("name", "said"), [("ops.txt", "aten::linear"), ("ops.json", "traceEvents")]
)
def test_a_profile_says_what_all_threads_have_done(media, known, setting, tmp_path, name, said):
    texts = {"text": media["text"]}
    measure(setting, texts, CEILING, runs=1, known=known, profile=tmp_path / name)
    assert said in (tmp_path / name).read_text()


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
