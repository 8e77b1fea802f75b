"""Both CLAP spaces keep the contract, load the published layout and count what they should."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter, process_time

import pytest
import torch
from omnibind_plugin_clap import GENERAL_SPACE, MUSIC_SPACE
from omnibind_plugin_clap.audio import ClapAudio
from torch import Tensor, nn

from omnibind.engine.finishing import batch_of
from omnibind.specs import SpaceSpec, resolve
from omnibind.testing import SpaceContract, samples
from omnibind.weights.build import seeded

FACTS = Path(__file__).parents[4] / "shared" / "golden" / "space_facts.json"
PUBLISHED = {
    "tower.audio_encoder.": "audio_branch.",
    "tower.": "text_branch.",
    ".batch_norm.": ".bn0.",
    ".layernorm_before.": ".norm1.",
    ".layernorm_after.": ".norm2.",
    ".attention.output.dense.": ".attn.proj.",
    ".attention.self.relative": ".attn.relative",
    ".intermediate.dense.": ".mlp.fc1.",
}


@pytest.fixture(params=[GENERAL_SPACE, MUSIC_SPACE], ids=lambda space: space.name)
def space(request: pytest.FixtureRequest) -> SpaceSpec:
    return request.param


class TestClap(SpaceContract):
    def published(self, encoder: nn.Module) -> Mapping[str, Tensor]:
        own = dict(encoder.state_dict())
        kind = "audio" if isinstance(encoder, ClapAudio) else "text"
        for key in [key for key in own if kind == "audio" and ".attention.self.query." in key]:
            parts = [own.pop(key.replace("query", name)) for name in ("query", "key", "value")]
            own[key.replace("attention.self.query", "attn.qkv")] = torch.cat(parts)
        named = {f"state_dict.module.{_published(key, kind)}": own[key] for key in own}
        return named | {
            "state_dict.module.audio_branch.head.weight": torch.zeros(2, 2),
            "state_dict.module.text_branch.embeddings.position_ids": torch.arange(5)[None],
            "state_dict.module.logit_scale_a": torch.tensor(2.7),
            "optimizer.state.0.exp_avg": torch.zeros(2),
        }


def _published(key: str, kind: str) -> str:
    if key.startswith("projection."):
        return f"{kind}_{key}"
    for own, published in PUBLISHED.items():
        if kind == "audio" or own == "tower.":
            key = key.replace(own, published)
    return key.replace(".output.dense.", ".mlp.fc2.") if kind == "audio" else key


def test_the_full_sizes_have_the_published_parameters(space: SpaceSpec) -> None:
    started = process_time()
    counts = {modality: _count(card.build) for modality, card in space.encoders.items()}
    assert process_time() - started < 5
    assert counts == {modality: card.params for modality, card in space.encoders.items()}
    if not FACTS.exists():
        pytest.skip(f"the facts about the originals are not at {FACTS}")
    facts = {fact["name"]: fact for fact in json.loads(FACTS.read_text())["spaces"]}[space.name]
    assert counts == {modality: facts["params"][modality] for modality in counts}
    scales = 2  # temperatures of the loss, not loaded
    assert sum(counts.values()) + scales == facts["params"]["total"]


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
