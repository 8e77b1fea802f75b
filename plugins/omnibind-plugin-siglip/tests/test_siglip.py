"""SigLIP spaces keep the contract, and give the numbers of the original."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import sentencepiece
import torch
from omnibind_plugin_siglip import provide_spaces, space_from
from omnibind_plugin_siglip.networks import SiglipText, tokens
from omnibind_plugin_siglip.sizes import Siglip
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers.models.siglip import SiglipTokenizer

from omnibind.engine.finishing import batch_of
from omnibind.errors import UnknownNameError
from omnibind.media.image import load
from omnibind.specs import SpaceSpec, resolve
from omnibind.testing import SpaceContract
from omnibind.testing.golden import Case, compare
from omnibind.weights import build_encoder

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"
SPACES = {space.name: space for space in provide_spaces()}
FIRST, SECOND = (Siglip.named(f"{name}-base-patch16-256") for name in ("siglip", "siglip2"))
TEXTS = ("a cat on a mat", "  The CAT, on a mat!! ", "a cat's mat </s> end", "cat " * 100, "!", "")


@pytest.fixture(scope="module")
def space() -> SpaceSpec:
    return SPACES["siglip-so400m"]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNIBIND_OFFLINE", "1")


class TestSiglip(SpaceContract):
    def published(self, encoder):
        return {
            key.replace("vision.", "vision_model.").replace("text.", "text_model."): value
            for key, value in encoder.state_dict().items()
        }


def on_meta(space: SpaceSpec) -> dict[str, nn.Module]:
    with torch.device("meta"):
        return {m: resolve(card.build)("full", {}) for m, card in space.encoders.items()}


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "total"), [("siglip-l", 652_478_466), ("siglip-so400m", 877_960_498)]
)
def test_the_published_size_has_its_parameters_and_is_laid_out_within_5_s(name, total):
    started = time.process_time()
    assert sum(map(size, on_meta(SPACES[name]).values())) == total
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "name",
    ["siglip-l", "siglip-so400m", "siglip2-base-patch32-256", "siglip2-giant-opt-patch16-256"],
)
def test_cards_count_what_the_networks_have(name):
    space = SPACES[name]
    for modality, encoder in on_meta(space).items():
        assert size(encoder) == space.encoders[modality].params


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden cases beside the project")
@pytest.mark.parametrize("name", ["siglip-l", "siglip-so400m"])
def test_a_filled_checkpoint_gives_the_numbers_of_the_original(name):
    case = Case(GOLDEN / name)
    verdicts = list(compare(case.facts["checks"], case.run(), case.expected))
    assert verdicts
    assert [verdict for verdict in verdicts if not verdict.passes] == []


def test_positions_of_older_files_are_dropped_with_a_reason():
    encoder = build_encoder(SPACES["siglip-l"].encoders["text"], size="tiny")
    state = {k.replace("text.", "text_model."): v for k, v in encoder.state_dict().items()}
    positions = "text_model.embeddings.position_ids"
    report = encoder.load_official({**state, positions: torch.arange(64)})
    assert report.dropped == {positions: "0, 1, 2, ...: made when building"}


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary of the kind SigLIP has, learnt from a few words."""
    folder = tmp_path_factory.mktemp("pieces")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a cat on a mat", "the end of the mat", "cats on mats"] * 20),
        model_prefix=str(folder / "spiece"),
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
        pad_id=-1,
        unk_id=2,
        bos_id=-1,
        eos_id=1,
        control_symbols=["<pad>"],
    )
    return folder / "spiece.model"


@pytest.mark.parametrize("text", TEXTS)
def test_texts_become_the_tokens_of_the_original_class(pieces, text):
    original = SiglipTokenizer(vocab_file=str(pieces))
    wanted = original(text, padding="max_length", truncation=True, max_length=64).input_ids
    encoder = SiglipText(nn.Module(), tokens(FIRST, {"vocabulary": pieces}))
    made = encoder.preprocess(text)["ids"]
    assert made.tolist() == wanted
    assert made[-1] == 1


def test_siglip_2_lower_cases_ends_with_1_and_pads_with_0(tmp_path):
    words = Tokenizer(models.WordLevel({"red": 5, "wall": 6, "?": 3}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.enable_truncation(2)
    words.save(str(tmp_path / "tokenizer.json"))
    tokenize = tokens(SECOND, {"vocabulary": tmp_path / "tokenizer.json"})
    encoder = SiglipText(nn.Module(), tokenize, pad=0)
    assert encoder.preprocess("Red WALL wall")["ids"].tolist() == [5, 6, 6, 1, *[0] * 60]


def test_any_size_is_a_space_by_name():
    card = space_from("siglip-base-patch16-256")
    assert (card.name, card.dim) == ("siglip-base-patch16-256", 768)
    with pytest.raises(UnknownNameError, match="base, giant-opt, large, so400m"):
        space_from("siglip-huge-patch16-256")


def test_siglip_2_runs_at_tiny_size():
    card = SPACES["siglip2-giant-opt-patch16-256"]
    for modality, item in {"image": Image.new("RGB", (64, 48)), "text": "a red wall"}.items():
        encoder = build_encoder(card.encoders[modality], size="tiny")
        batch = batch_of(encoder, [encoder.preprocess(item)])
        assert encoder(batch).shape == (1, 1536)


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("name", ["siglip-l", "siglip-so400m"])
def test_the_full_size_runs_on_a_cpu(name, modality, record_property):
    card = SPACES[name].encoders[modality]
    encoder = resolve(card.build)("full", {}).eval()
    item = {"image": load(Image.new("RGB", (320, 240), "red")), "text": "a red wall"}[modality]
    batch = batch_of(encoder, [encoder.preprocess(item)])
    started = time.monotonic()
    with torch.inference_mode():
        row = encoder(batch)
    record_property("seconds", time.monotonic() - started)
    assert row.shape == (1, card.dim)
    assert torch.isfinite(row).all()
    assert abs(row.norm().item() - 1) < 1e-4
