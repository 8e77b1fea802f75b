"""Spaces out of open_clip keep the contract, and DFN5B gives the numbers of the original."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from omnibind_plugin_openclip import DFN5B_H14, provide_spaces, space_from
from omnibind_plugin_openclip.networks import tokens
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from omnibind import specs
from omnibind.engine.finishing import batch_of, sample_of
from omnibind.errors import PluginError, UnknownNameError
from omnibind.media.image import load
from omnibind.specs import SpaceSpec, resolve
from omnibind.testing import SpaceContract
from omnibind.testing.golden import Case, compare
from omnibind.weights import build_encoder

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"


@pytest.fixture(scope="module")
def space() -> SpaceSpec:
    return DFN5B_H14


class TestDfn5b(SpaceContract):
    def published(self, encoder):
        return {key.removeprefix("model."): value for key, value in encoder.state_dict().items()}


def test_dfn5b_has_its_parameters_and_is_laid_out_within_5_s():
    count, started = 0, time.process_time()
    for card in DFN5B_H14.encoders.values():
        with torch.device("meta"):
            count += sum(p.numel() for p in resolve(card.build)("full", {}).parameters())
    assert count == 986_109_441
    assert time.process_time() - started < 5


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden cases beside the project")
def test_a_filled_checkpoint_gives_the_numbers_of_the_original():
    case = Case(GOLDEN / "dfn-h14")
    verdicts = list(compare(case.facts["checks"], case.run(), case.expected))
    assert verdicts
    assert [verdict for verdict in verdicts if not verdict.passes] == []


def test_dfn5b_squashes_pictures():
    encoder = build_encoder(DFN5B_H14.encoders["image"], size="tiny")
    halves = Image.new("RGB", (400, 100), "black")
    halves.paste("white", (0, 0, 200, 100))
    pixels = sample_of(encoder, halves, early=True)["pixels"]
    assert pixels.shape == (3, 224, 224)
    assert pixels[:, :, :100].min() > 0 > pixels[:, :, 124:].max()


@pytest.mark.parametrize(
    ("model", "tag"), [("ViT-B-32", "laion2b_s34b_b79k"), ("RN50-quickgelu", "openai")]
)
def test_any_model_is_a_space_by_name(model, tag):
    card = space_from(model, tag, licence="MIT", commercial_use=True)
    assert card.name == f"{model}-{tag}".lower().replace("_", "-")
    assert eval(repr(card), vars(specs)) == card
    for modality, item in {"image": Image.new("RGB", (64, 48)), "text": "a red wall"}.items():
        encoder = build_encoder(card.encoders[modality], size="tiny")
        batch = batch_of(encoder, [encoder.preprocess(item)])
        assert encoder(batch).shape == (1, card.dim)


def test_models_are_named_in_the_environment(monkeypatch):
    monkeypatch.setenv("OMNIBIND_OPENCLIP", "ViT-B-32/laion2b_s34b_b79k")
    names = [space.name for space in provide_spaces()]
    assert names == ["dfn5b-h14", "vit-b-32-laion2b-s34b-b79k"]


def test_the_vision_tower_may_be_timms_and_loads_open_clips_keys():
    card = space_from("EVA02-B-16", "merged2b_s8b_b131k", name="eva")
    assert card.encoders["image"].params == 86_263_040
    assert card.encoders["text"].params == 63_428_097
    encoder = build_encoder(card.encoders["text"], size="tiny")
    state = {key.removeprefix("model."): value for key, value in encoder.state_dict().items()}
    report = encoder.load_official({**state, "visual.trunk.norm.weight": torch.ones(1)})
    assert report.dropped == {"visual.trunk.norm.weight": "the picture tower"}


@pytest.mark.parametrize(
    ("model", "tag", "error", "says"),
    [
        ("ViT-B-33", "openai", UnknownNameError, "Did you mean 'ViT-B-32'"),
        ("ViT-B-32", "laion9b", UnknownNameError, "laion2b_s34b_b79k"),
        ("ViT-B-32", "openai", PluginError, "ViT-B-32-quickgelu"),
        ("roberta-ViT-B-32", "laion2b_s12b_b32k", PluginError, "roberta-base"),
    ],
)
def test_what_cannot_be_a_space_says_why(model, tag, error, says):
    with pytest.raises(error, match=says):
        space_from(model, tag)


def test_a_tokenizer_of_the_hub_is_read_from_its_files(tmp_path):
    words = Tokenizer(models.WordLevel({"<pad>": 0, "red": 1, "wall": 2, "?": 3}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>").save_pretrained(tmp_path)
    config = {"hf_tokenizer_name": "some/tokenizer", "context_length": 4}
    ids = tokens(config, {"tokenizer.json": tmp_path / "tokenizer.json"})
    assert ids("red wall").tolist() == [[1, 2, 0, 0]]


def test_a_long_text_is_cut_at_77_tokens_with_the_end_last():
    ids = build_encoder(DFN5B_H14.encoders["text"], size="tiny").preprocess("word " * 200)["ids"]
    assert (len(ids), ids[0], ids[-1], ids[-2]) == (77, 49_406, 49_407, ids[1])


def test_a_book_and_a_very_slim_picture_are_read_at_once():
    started = time.process_time()
    encoders = {m: build_encoder(card, size="tiny") for m, card in DFN5B_H14.encoders.items()}
    encoders["text"].preprocess("z" * 1_000_000)
    encoders["image"].preprocess(Image.new("RGB", (2, 400_000), "red"))
    assert time.process_time() - started < 5


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["image", "text"])
def test_the_full_size_runs_on_a_cpu(modality, record_property):
    encoder = build_encoder(DFN5B_H14.encoders[modality], weights="random")
    item = {"image": load(Image.new("RGB", (320, 240), "red")), "text": "a red wall"}[modality]
    batch = batch_of(encoder, [encoder.preprocess(item)])
    started = time.monotonic()
    with torch.inference_mode():
        row = encoder(batch)
    record_property("seconds", time.monotonic() - started)
    assert row.shape == (1, 1024)
    assert torch.isfinite(row).all()
    assert abs(row.norm().item() - 1) < 1e-4
