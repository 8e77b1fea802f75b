"""WavCaps keeps the contract, loads the published layout and counts what it should."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter, process_time

import pytest
import torch
from omnibind_plugin_wavcaps import PT, provide_spaces
from omnibind_plugin_wavcaps.audio import WavCapsAudio
from torch import Tensor, nn

from omnibind.engine.finishing import batch_of
from omnibind.specs import SpaceSpec, resolve
from omnibind.testing import SpaceContract, samples
from omnibind.weights.build import seeded

FACTS = Path(__file__).parents[4] / "shared" / "golden" / "space_facts.json"
NOT_LOADED = 2_707_199 + 1  # classifiers of the tower's own pre-training, and a temperature
PUBLISHED = {
    "tower.audio_encoder.": "audio_encoder.audio_enc.",
    "tower.": "text_encoder.text_encoder.",
    ".batch_norm.": ".bn0.",
    ".layernorm_before.": ".norm1.",
    ".layernorm_after.": ".norm2.",
    ".attention.output.dense.": ".attn.proj.",
    ".attention.self.relative": ".attn.relative",
    ".intermediate.dense.": ".mlp.fc1.",
}


@pytest.fixture
def space() -> SpaceSpec:
    return PT


class TestWavCaps(SpaceContract):
    def published(self, encoder: nn.Module) -> Mapping[str, Tensor]:
        own = dict(encoder.state_dict())
        kind = "audio" if isinstance(encoder, WavCapsAudio) else "text"
        for key in [key for key in own if kind == "audio" and ".attention.self.query." in key]:
            parts = [own.pop(key.replace("query", name)) for name in ("query", "key", "value")]
            own[key.replace("attention.self.query", "attn.qkv")] = torch.cat(parts)
        named = {f"model.{_published(key, kind)}": own[key] for key in own}
        return named | {
            "model.audio_encoder.audio_enc.head.weight": torch.zeros(2, 2),
            "model.text_encoder.text_encoder.embeddings.position_ids": torch.arange(5)[None],
            "model.temp": torch.tensor(0.07),
            "optimizer.state.0.exp_avg": torch.zeros(2),
        }


def _published(key: str, kind: str) -> str:
    if key.startswith("projection."):
        return key.replace("projection", f"{kind}_proj")
    for own, published in PUBLISHED.items():
        if kind == "audio" or own == "tower.":
            key = key.replace(own, published)
    return key.replace(".output.dense.", ".mlp.fc2.") if kind == "audio" else key


def test_the_three_spaces_differ_in_their_weights_alone() -> None:
    spaces = list(provide_spaces())
    assert len({card.weights for space in spaces for card in space.encoders.values()}) == 3
    for modality in ("audio", "text"):
        cards = [space.encoders[modality] for space in spaces]
        assert len({(card.build, card.params, card.dim) for card in cards}) == 1


def test_the_full_size_has_the_published_parameters(space: SpaceSpec) -> None:
    started = process_time()
    counts = {modality: _count(card.build) for modality, card in space.encoders.items()}
    assert process_time() - started < 5
    assert counts == {modality: card.params for modality, card in space.encoders.items()}
    if not FACTS.exists():
        pytest.skip(f"the facts about the originals are not at {FACTS}")
    facts = {fact["name"]: fact for fact in json.loads(FACTS.read_text())["spaces"]}[space.name]
    assert sum(counts.values()) + NOT_LOADED == facts["params"]["total"]


@pytest.mark.slow
def test_one_item_at_full_size(
    space: SpaceSpec, record_property: Callable[[str, object], None]
) -> None:
    for modality, card in space.encoders.items():
        encoder = seeded(lambda card=card: resolve(card.build)("full", {}), card.key, 0).eval()
        started = perf_counter()
        with torch.inference_mode():
            row = encoder(batch_of(encoder, [encoder.preprocess(samples.media(modality)[0])]))
        record_property(card.key, f"{perf_counter() - started:.2f} s")
        assert row.shape == (1, space.dim)
        assert row.norm().item() == pytest.approx(1)


def _count(build: str) -> int:
    with torch.device("meta"):
        network = resolve(build)("full", {})
    return sum(parameter.numel() for parameter in network.parameters())
