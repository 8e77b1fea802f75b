"""Every Uni3D space keeps the contract, loads the published layout and counts what it should."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time

import pytest
import torch
from omnibind_plugin_evaclip import SPACES as EVA_CLIP
from omnibind_plugin_uni3d import SPACES
from omnibind_plugin_uni3d.points import Uni3DPoints
from torch import Tensor, nn

from omnibind.media.points import load
from omnibind.plugins import registry
from omnibind.specs import SpaceSpec, resolve
from omnibind.testing import SpaceContract
from omnibind.weights import build_encoder, load_state, read_state

FACTS = Path(__file__).parents[4] / "shared" / "golden" / "space_facts.json"
PUBLISHED = {
    r"first": "cls_token",
    r"first_place": "cls_pos",
    r"pointnet\.(first|second)\.(.+)": r"encoder.\1_conv.\2",
    r"widen\.(.+)": r"encoder2trans.\1",
    r"place\.(.+)": r"pos_embed.\1",
    r"(blocks\..+)": r"visual.\1",
    r"norm\.(.+)": r"visual.fc_norm.\1",
    r"head\.(.+)": r"trans2embed.\1",
}
PICTURES = ("visual.cls_token", "visual.pos_embed", "visual.patch_embed.proj.bias")
FILES = {"lvis": "lvis", "mnet": "modelnet40", "scan": "scanobjectnn"}
BYTES = {"ti": 12_835_148, "s": 45_713_996, "b": 178_008_217, "l": 614_861_649}


@pytest.fixture(params=["uni3d-lvis", "uni3d-b", "uni3d-ti"])
def space(request: pytest.FixtureRequest) -> SpaceSpec:
    """The points alone: images and texts are tested where they come from."""
    card = SPACES[request.param]
    return replace(card, encoders={"points": card.encoders["points"]})


class TestUni3D(SpaceContract):
    def published(self, encoder: nn.Module) -> Mapping[str, Tensor]:
        return published(encoder)


def published(encoder: nn.Module) -> dict[str, Tensor]:
    own = dict(encoder.state_dict())
    named = {"logit_scale": own.pop("logit_scale")}
    named |= {f"point_encoder.{_published(key)}": tensor for key, tensor in own.items()}
    named |= {f"point_encoder.{key}": torch.zeros(2) for key in (*PICTURES, "visual.head.bias")}
    return {f"module.{key}": tensor for key, tensor in named.items()}


def _published(key: str) -> str:
    found = ((re.fullmatch(pattern, key), theirs) for pattern, theirs in PUBLISHED.items())
    return next(match.expand(theirs) for match, theirs in found if match)


def full(scale: str) -> Uni3DPoints:
    with torch.device("meta"):
        return resolve(f"omnibind_plugin_uni3d.points:{scale}")("full", {})


def test_images_and_texts_are_the_very_cards_of_eva_clip() -> None:
    teacher = EVA_CLIP["eva02-e14-plus"].encoders
    for name in SPACES:
        card = registry().space(name)
        assert {m: card.encoders[m] for m in ("image", "text")} == dict(teacher)


def test_the_largest_size_has_the_published_parameters() -> None:
    started = process_time()
    found = sum(parameter.numel() for parameter in full("g").parameters())
    assert process_time() - started < 5
    assert {SPACES[f"uni3d-{name}"].encoders["points"].params for name in FILES.values()} == {found}
    if not FACTS.exists():
        pytest.skip(f"the facts about the originals are not at {FACTS}")
    spaces = {fact["name"]: fact for fact in json.loads(FACTS.read_text())["spaces"]}
    assert {spaces[f"uni3d-g-{short}"]["params"]["used"] for short in FILES} == {found}


@pytest.mark.parametrize("scale", BYTES)
def test_the_smaller_sizes_fit_the_size_of_their_files(scale: str) -> None:
    """Two bytes a parameter, and below 200 kB of names: so many are left for the picture model."""
    width = full(scale).head.in_features
    side, classes = (16, 0) if scale in ("ti", "s") else (32, 1000)
    pictures = width * (3 * 14 * 14 + 1) + width * (side**2 + 2) + classes * (width + 1)
    params = SPACES[f"uni3d-{scale}"].encoders["points"].params
    assert 0 < BYTES[scale] - 2 * (params + pictures) < 200_000


def test_a_file_as_published_is_read_and_loaded(tmp_path: Path) -> None:
    encoder = resolve("omnibind_plugin_uni3d.points:g")("tiny", {})
    module = {key: tensor.half() for key, tensor in published(encoder).items()}
    content = {
        "module": {key.removeprefix("module."): tensor for key, tensor in module.items()},
        "param_shapes": [{"x": torch.Size([2])}],
        "dp_world_size": 24,
        "ds_version": "0.10.3",
        "frozen": {1, 2},
    }
    torch.save(content, tmp_path / "model.pt", pickle_protocol=2)
    report = encoder.load_official(read_state(tmp_path / "model.pt"))
    assert len(report.dropped) == 4
    assert encoder.head.weight.dtype == torch.float32


def test_a_dropped_key_is_named_with_its_reason() -> None:
    encoder = resolve("omnibind_plugin_uni3d.points:ti")("tiny", {})
    dropped = encoder.load_official(published(encoder)).dropped
    assert dropped["module.point_encoder.visual.head.bias"].startswith("classes")
    assert load_state(encoder, encoder.state_dict()).dropped == {}


@pytest.mark.slow
def test_one_cloud_at_full_size(record_property: Callable[[str, object], None]) -> None:
    card = SPACES["uni3d-lvis"].encoders["points"]
    encoder = build_encoder(card, weights="random")
    xyz, rgb = torch.rand(2, 10_000, 3, generator=torch.Generator().manual_seed(0))
    sample = encoder.preprocess(load((xyz, rgb)))
    started = perf_counter()
    with torch.inference_mode():
        row = encoder({name: tensor[None] for name, tensor in sample.items()})
    record_property(card.key, f"{perf_counter() - started:.2f} s")
    assert row.shape == (1, 1024)
    assert row.norm().item() == pytest.approx(1)
