"""ImageBind keeps the contract, loads the published layout and counts what it should."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import pytest
import torch
from omnibind_plugin_imagebind import IMAGEBIND
from omnibind_plugin_imagebind.depth import Depth
from omnibind_plugin_imagebind.imu import Movement
from omnibind_plugin_imagebind.thermal import Thermal
from torch import Tensor, nn

from omnibind.engine.finishing import batch_of
from omnibind.specs import SpaceSpec, resolve
from omnibind.testing import SpaceContract, samples
from omnibind.weights import build_encoder

FACTS = Path(__file__).parents[4] / "shared" / "golden" / "space_facts.json"
SHARES = {
    "Image": "vision",
    "Text": "text",
    "Audio": "audio",
    "Depth": "depth",
    "Thermal": "thermal",
    "Movement": "imu",
}
PUBLISHED = {
    r"(trunk\.first|tower\.class_embedding)": "preprocessors.N.cls_token",
    r"(trunk\.places|tower\.positional_embedding)": "preprocessors.N.PLACES",
    r"trunk\.stem\.proj\.weight": "preprocessors.N.rgbt_stem.proj.weight",
    r"trunk\.stem\.norm\.(\w+)": r"preprocessors.N.rgbt_stem.norm_layer.\1",
    r"trunk\.norm\.(\w+)": r"heads.N.0.\1",
    r"trunk\.head\.weight": "heads.N.2.weight",
    r"(trunk\.)?log_scale": "postprocessors.N.1.log_logit_scale",
    r"tower\.conv1\.frames\.weight": "preprocessors.N.rgbt_stem.proj.1.weight",
    r"tower\.token_embedding\.weight": "preprocessors.N.token_embedding.weight",
    r"tower\.ln_pre\.(\w+)": r"trunks.N.pre_transformer_layer.0.\1",
    r"tower\.ln_post\.(\w+)": r"heads.N.0.\1",
    r"tower\.ln_final\.(\w+)": r"heads.N.proj.0.\1",
    r"tower\.proj": "heads.N.2.weight",
    r"tower\.text_projection": "heads.N.proj.1.weight",
    r"(?:trunk|tower\.transformer)\.(?:res)?(blocks\..+)": r"trunks.N.\1",
}
BLOCKS = {
    "ln_": "norm_",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}


@pytest.fixture
def space() -> SpaceSpec:
    return IMAGEBIND


class TestImageBind(SpaceContract):
    def items(self, modality: str) -> Sequence[Any]:
        made = {"depth": depths, "thermal": thermals, "imu": movements}
        return made[modality]() if modality in made else samples.media(modality)

    def published(self, encoder: nn.Module) -> Mapping[str, Tensor]:
        share = SHARES[type(encoder).__name__.removeprefix("ImageBind")]
        own = encoder.state_dict()
        return dict(_published(key, tensor, share) for key, tensor in own.items()) | {
            f"modality_trunks.{other}.blocks.0.norm_1.weight": torch.ones(2)
            for other in SHARES.values()
            if other != share
        }


def _published(key: str, tensor: Tensor, share: str) -> tuple[str, Tensor]:
    found = ((re.fullmatch(pattern, key), theirs) for pattern, theirs in PUBLISHED.items())
    name = next(match.expand(theirs) for match, theirs in found if match)
    name = name.replace(".N.", f".{share}.")
    for ours, block in BLOCKS.items():
        name = name.replace(ours, block)
    flat = share in ("text", "imu")
    name = name.replace("PLACES", "pos_embed" if flat else "pos_embedding_helper.pos_embed")
    if key in ("tower.class_embedding", "tower.positional_embedding"):
        tensor = tensor.reshape(1, -1, tensor.shape[-1])
    return f"modality_{name}", tensor.mT if key.endswith(("tower.proj", "projection")) else tensor


def depths() -> list[Depth]:
    slope = torch.linspace(0.5, 8, 60).expand(40, 60)
    return [Depth(slope), Depth(torch.where(slope > 4, 0.0, slope).mT), Depth(torch.ones(2, 2))]


def thermals() -> list[Thermal]:
    warm = torch.linspace(0, 1, 50).expand(70, 50)
    return [Thermal(warm), Thermal(warm.flip(1)), Thermal(torch.zeros(2, 300))]


def movements() -> list[Movement]:
    time = torch.arange(3000) / 200
    turns = torch.stack([torch.sin(time * (1 + k)) for k in range(6)])
    return [Movement(turns, 200.0), Movement(turns[:, :50], 100.0), Movement(turns[:, :2], 1.0)]


def test_the_full_sizes_have_the_published_parameters() -> None:
    started = process_time()
    counts = {modality: _count(card.build) for modality, card in IMAGEBIND.encoders.items()}
    assert process_time() - started < 5
    assert counts == {modality: card.params for modality, card in IMAGEBIND.encoders.items()}
    if not FACTS.exists():
        pytest.skip(f"the facts about the originals are not at {FACTS}")
    spaces = {fact["name"]: fact for fact in json.loads(FACTS.read_text())["spaces"]}
    assert {"total": sum(counts.values()), **counts} == spaces["imagebind-huge"]["params"]


@pytest.mark.slow
@pytest.mark.parametrize("modality", IMAGEBIND.encoders)
def test_one_item_at_full_size(
    modality: str, record_property: Callable[[str, object], None]
) -> None:
    card = IMAGEBIND.encoders[modality]
    encoder = build_encoder(card, weights="random")
    (item, *_) = TestImageBind().items(modality)
    batch = batch_of(encoder, [encoder.preprocess(item)])
    started = perf_counter()
    with torch.inference_mode():
        row = encoder(batch)
    record_property(card.key, f"{perf_counter() - started:.2f} s")
    assert row.shape == (1, 1024)
    assert row.norm().item() == pytest.approx(1)


def _count(build: str) -> int:
    with torch.device("meta"):
        network = resolve(build)("full", {})
    return sum(parameter.numel() for parameter in network.parameters())
