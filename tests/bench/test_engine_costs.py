"""Overhead over a bare loop, and single items from many threads: what is counted, not how fast."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omnibind.bench import overhead, threads
from omnibind.bench.bare import loop
from omnibind.bench.media import example_media
from omnibind.bench.networks import Networks
from omnibind.engine import recognise
from omnibind.errors import SetupError
from omnibind.plugins import registry


def test_engine_and_loop_take_turns(media, known, setting):
    (one,) = overhead.measure(setting, {"image": media["image"]}, runs=2, known=known)
    assert (one.modality, one.items) == ("image", 5)
    assert one.ratio.runs == one.work.runs == 2
    assert one.ratio.median > 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_loop_computes_in_the_engines_numbers_and_the_published_way_in_float32(setting, dtype):
    setting, known = replace(setting, recipe="large", dtype=dtype), registry()
    spec = known.space("siglip-so400m").encoders["image"]
    assert spec.precision == "bfloat16"
    networks, sources = Networks(setting, torch.device("cpu")), [example_media() / "cat.jpg"]
    rows, _ = loop(
        known.modality("image"), sources, {"image": {spec.key: spec}}, networks, setting.batch
    )
    model = setting.model()
    items = [recognise(0, sources[0], known.modalities)]
    engine = model.engine.encode(items, {"image": [spec]}).rows
    model.engine.close()
    assert torch.equal(rows[spec.key], engine[spec.key])
    published = networks.get(spec, published=True)
    assert {p.dtype for p in published.parameters()} == {torch.float32}


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
