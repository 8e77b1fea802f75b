"""The EVA-CLIP spaces keep the contract, and give the numbers of the original code."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omnibind_plugin_evaclip import SPACES
from omnibind_plugin_evaclip.networks import CONTEXT, words
from PIL import Image
from torch import Tensor, nn

from omnibind.engine.finishing import batch_of
from omnibind.media import image as pictures
from omnibind.specs import SpaceSpec, resolve
from omnibind.testing import SpaceContract
from omnibind.testing.golden import Case, compare
from omnibind.weights import build_encoder

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"
TOTALS = {
    "eva-clip-18b": 18_325_482_241,
    "eva02-e14-plus": 5_044_889_089,
    "eva02-l14": 427_755_457,
    "eva02-b16": 149_691_137,
}


@pytest.fixture(scope="module", params=["eva-clip-18b", "eva02-b16"])
def space(request: pytest.FixtureRequest) -> SpaceSpec:
    return SPACES[request.param]


class TestEvaClip(SpaceContract):
    def published(self, encoder: nn.Module) -> Mapping[str, Tensor]:
        state = encoder.state_dict()
        names = {"trunk.": "visual.", "tower.": "text.", "logit_scale": "logit_scale"}
        return {
            new + key.removeprefix(old): state[key]
            for key in state
            for old, new in names.items()
            if key.startswith(old)
        }


@pytest.mark.parametrize("name", SPACES)
def test_the_published_size_has_its_parameters_and_is_laid_out_within_5_s(name):
    count, started = 0, time.process_time()
    for card in SPACES[name].encoders.values():
        with torch.device("meta"):
            encoder = resolve(card.build)("full", {})
        made = sum(parameter.numel() for parameter in encoder.parameters())
        assert made == card.params
        count += made
    assert count == TOTALS[name]
    assert time.process_time() - started < 5


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden cases beside the project")
@pytest.mark.parametrize("name", ["eva-clip-18b", "eva02-e14p"])
def test_a_filled_checkpoint_gives_the_numbers_of_the_original(name):
    case = Case(GOLDEN / name)
    verdicts = list(compare(case.facts["checks"], case.run(), case.expected))
    assert verdicts
    assert [verdict for verdict in verdicts if not verdict.passes] == []


@pytest.mark.parametrize("wrap", ["", "model.", "module.module.", "state_dict.module."])
def test_the_wrapping_of_the_published_file_does_not_matter(wrap):
    encoder = build_encoder(SPACES["eva02-e14-plus"].encoders["text"], size="tiny")
    state = {f"text.{k.removeprefix('tower.')}": v for k, v in encoder.state_dict().items()}
    wrapped = {wrap + key: tensor for key, tensor in state.items()}
    picture = {f"{wrap}visual.norm.weight": torch.ones(8)}
    report = encoder.load_official({**wrapped, **picture})
    assert set(report.used) == set(wrapped)
    assert report.dropped == {f"{wrap}visual.norm.weight": "the picture tower"}


def test_tables_that_no_file_holds_are_the_same_once_weights_are_loaded(tmp_path):
    card = SPACES["eva02-b16"].encoders["image"]
    made = build_encoder(card, weights="random")
    state = {key.replace("trunk.", "visual.trunk."): v for key, v in made.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "copy.bin")
    loaded = build_encoder(replace(card, weights=(f"file:{tmp_path / 'copy.bin'}",)))
    tables = dict(loaded.named_buffers())
    assert "trunk.rope.pos_embed" in tables
    for name, table in made.named_buffers():
        assert torch.equal(tables[name], table)
    assert torch.equal(loaded.trunk.head.weight, made.trunk.head.weight)


def test_texts_end_where_the_originals_cut_them():
    long = words("eva02-e14-plus")("a dog " * 200)
    assert long.shape == (CONTEXT,)
    assert long[-1] == 49407
    backbone = words("eva-clip-18b")("a dog " * 200)
    assert backbone.shape == (CONTEXT,)
    assert backbone.argmax() == 41
    assert not backbone[42:].any()


def test_only_the_backbone_takes_clips_spelling_for_the_token_itself():
    assert words("eva-clip-18b")("<|endoftext|>")[1] == 49407
    assert words("eva02-e14-plus")("<|endoftext|>")[1] != 49407


def test_only_the_backbone_keeps_entities_beside_a_tag():
    plain, entity = "<b> & c", "<b> &amp; c"
    assert words("eva02-e14-plus")(entity).equal(words("eva02-e14-plus")(plain))
    assert not words("eva-clip-18b")(entity).equal(words("eva-clip-18b")(plain))


def test_a_book_is_read_at_once():
    started = time.process_time()
    words("eva02-b16")("z" * 1_000_000)
    assert time.process_time() - started < 2


def test_a_very_slim_picture_does_not_grow_out_of_memory():
    encoder = build_encoder(SPACES["eva02-b16"].encoders["image"], size="tiny")
    slim = Image.new("RGB", (2, 400_000), "red")
    assert encoder.preprocess(slim)["pixels"].shape == (3, 224, 224)


def available_memory() -> int:
    """Bytes that can be had without swapping: free ones, and caches where the kernel says so."""
    try:
        facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("name", ["eva02-b16", "eva02-l14", "eva02-e14-plus"])
def test_the_full_size_runs_on_a_cpu(name, modality, record_property):
    card = SPACES[name].encoders[modality]
    if available_memory() < 4.4 * card.params:
        pytest.skip(f"{4.4e-9 * card.params:.0f} GB of free memory are needed")
    encoder = build_encoder(card, weights="random")
    item = {"image": pictures.load(Image.new("RGB", (320, 240), "red")), "text": "a red wall"}
    batch = batch_of(encoder, [encoder.preprocess(item[modality])])
    started = time.monotonic()
    with torch.inference_mode():
        row = encoder(batch)
    record_property("seconds", time.monotonic() - started)
    assert row.shape == (1, SPACES[name].dim)
    assert torch.isfinite(row).all()
    assert abs(row.norm().item() - 1) < 1e-4
