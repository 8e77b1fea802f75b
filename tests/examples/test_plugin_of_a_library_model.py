"""A space out of a library model takes at most 100 lines in two modules, and keeps the contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from omnibind.specs import SpaceSpec, resolve
from omnibind.testing import SpaceContract

EXAMPLE = Path(__file__).parents[2] / "examples" / "omnibind-plugin-clip"


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> SpaceSpec:
    pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(EXAMPLE)
    (space,) = resolve("omnibind_plugin_clip:provide_spaces")()
    return space


class TestExample(SpaceContract):
    def published(self, encoder: nn.Module) -> Mapping[str, Tensor]:
        own = encoder.state_dict()
        others = {
            "logit_scale": torch.ones(()),
            "text_model.embeddings.position_ids": torch.ones(1),
        }
        return {key.removeprefix("network."): tensor for key, tensor in own.items()} | others


def test_it_is_at_most_a_hundred_lines_its_packaging_among_them() -> None:
    code = list(EXAMPLE.rglob("*.py"))
    assert len(code) <= 2
    lines = [path.read_text().splitlines() for path in (*code, EXAMPLE / "pyproject.toml")]
    assert sum(map(len, lines)) <= 100


def test_a_long_text_is_cut_at_77_tokens_with_the_end_last(space: SpaceSpec) -> None:
    encoder = resolve(space.encoders["text"].build)("tiny", {})
    ids = encoder.preprocess("a very long text " * 50)["input_ids"]
    assert ids.tolist() == [49_406, *(b"a very long text " * 5)[:75], 49_407]


@pytest.mark.parametrize("modality", ["image", "text"])
def test_its_cards_count_the_parameters(space: SpaceSpec, modality: str) -> None:
    card = space.encoders[modality]
    with torch.device("meta"):
        network = resolve(card.build)("full", {})
    assert sum(parameter.numel() for parameter in network.parameters()) == card.params
