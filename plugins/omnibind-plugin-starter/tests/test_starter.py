"""The starter spaces keep the contract, and know a cat when they see, hear or read of one."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import omnibind_plugin_starter
import pytest
import torch
from omnibind_plugin_starter.cards import MINILM, SPACES, STARTER, WORDLLAMA
from omnibind_plugin_starter.packed import packed, unpacked
from safetensors.torch import load_file

import omnibind
from omnibind.specs import SpaceSpec
from omnibind.testing import SpaceContract
from omnibind.weights import build_encoder

MEDIA = Path(__file__).parents[3] / "examples" / "media"
SHIPPED = Path(omnibind_plugin_starter.__file__).parent
CODE = (".py", ".pyc", "")


@pytest.fixture(params=SPACES, ids=lambda space: space.name)
def space(request: pytest.FixtureRequest) -> SpaceSpec:
    return request.param


class TestStarter(SpaceContract):
    pass


@pytest.fixture(scope="module")
def model() -> omnibind.Embedder:
    return omnibind.load("starter")


@pytest.fixture(scope="module")
def minilm() -> Any:
    return build_encoder(MINILM)


def cosine(encoder: Any, one: str, other: str) -> float:
    batch = encoder.collate([encoder.preprocess(text) for text in (one, other)])
    rows = encoder(batch)
    return float(rows[0] @ rows[1])


def test_minilm_gives_its_known_cosines(minilm: Any) -> None:
    plain = deepcopy(minilm)
    plain.centre.zero_()
    assert cosine(plain, "a cat", "a kitten") == pytest.approx(0.78, abs=0.03)
    assert cosine(plain, "a cat", "a quarterly tax report") < 0.2


def test_centring_takes_unrelated_texts_apart(minilm: Any) -> None:
    assert cosine(minilm, "a cat", "a kitten") > 0.7
    assert abs(cosine(minilm, "a cat", "a quarterly tax report")) < 0.1


def test_wordllama_is_turned_nowhere_and_stretched_where_captions_vary_little() -> None:
    encoder: Any = build_encoder(WORDLLAMA)
    stretch = torch.linalg.eigvalsh(encoder.whitening)
    assert torch.equal(encoder.whitening, encoder.whitening.T)
    assert 0 < stretch.min() < 0.7 * stretch.max()
    rows = encoder(encoder.collate([encoder.preprocess(text) for text in ("a cat", "a kitten")]))
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(2))


@pytest.mark.skipif(not MEDIA.is_dir(), reason="the example media are not beside the plugin")
@pytest.mark.parametrize("name", ["cat.jpg", "dog.jpg", "guitar.glb", "car.ply", "piano.obj"])
def test_a_picture_or_shape_finds_its_word(model: omnibind.Embedder, name: str) -> None:
    words = ["cat", "dog", "guitar", "car", "piano", "telephone", "shoes", "door"]
    nearest = words[int(model.compare([MEDIA / name], words).argmax())]
    assert nearest == Path(name).stem


@pytest.mark.skipif(not MEDIA.is_dir(), reason="the example media are not beside the plugin")
def test_a_sound_becomes_a_row_of_both_spaces(model: omnibind.Embedder) -> None:
    found = model.embed([MEDIA / "cat.ogg"])
    assert set(found.weights[0]) == {"aisfx-minilm", "birdnet-minilm"}
    assert found.degraded == ()


def test_routers_weigh_texts_one_by_one(model: omnibind.Embedder) -> None:
    cat, sign = model.embed(["a cat", "the letter Q"]).weights
    assert set(model.binder.routers) == {"audio", "image", "points", "text"}
    assert cat != sign


def test_commercial_use_leaves_birdnet_out() -> None:
    model = omnibind.load("starter", commercial_only=True)
    assert sorted(set(STARTER.spaces) - set(model.spaces)) == ["birdnet-minilm"]


@pytest.mark.skipif(not MEDIA.is_dir(), reason="the example media are not beside the plugin")
@pytest.mark.parametrize("space", STARTER.spaces)
def test_the_recipe_works_without_any_one_space(space: str) -> None:
    model = omnibind.load("starter", without=[space])
    rows = model.embed(["a cat", MEDIA / "cat.jpg", MEDIA / "cat.ogg", MEDIA / "car.ply"]).rows
    assert torch.allclose(rows.norm(dim=-1), torch.ones(4))


def test_every_shipped_number_is_finite() -> None:
    for file in SHIPPED.rglob("*.safetensors"):
        for key, value in load_file(file).items():
            assert torch.isfinite(value).all(), (file.name, key)


def test_what_is_shipped_fits_into_12_mb() -> None:
    sizes = [file.stat().st_size for file in SHIPPED.rglob("*") if file.suffix not in CODE]
    assert sum(sizes) <= 12e6


def test_the_model_card_names_data_licences_and_figures() -> None:
    card = (SHIPPED / "bound" / "README.md").read_text(encoding="utf-8")
    for said in ("## Data", "CC BY-NC-SA 4.0", "Open Clip Art", "## Figures", "R@10"):
        assert said in card


def test_the_shipped_recipe_states_every_space_and_the_backbone() -> None:
    content = json.loads((SHIPPED / "bound" / "recipe.json").read_text(encoding="utf-8"))
    assert content["spaces"].keys() == {space.name for space in SPACES}


def test_every_shipped_file_of_numbers_has_its_checksum() -> None:
    folder = SHIPPED / "bound"
    content = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors")}
    assert content["sha256"].keys() == files


def test_packed_matrices_are_off_by_half_a_step_at_most() -> None:
    matrix, vector = torch.randn(5, 7), torch.randn(7)
    state = packed({"m": matrix, "v": vector})
    found = unpacked(state)
    assert found.keys() == {"m", "v"}
    assert torch.equal(found["v"], vector)
    assert ((found["m"] - matrix).abs() <= 0.501 * state["m/scale"][:, None]).all()


def test_spaces_with_one_text_network_share_its_key() -> None:
    shared = [space.name for space in SPACES if space.encoders["text"] is MINILM]
    assert shared == ["lite2-minilm", "aisfx-minilm", "birdnet-minilm", "views-minilm"]


def test_rows_are_finite_for_silence(model: omnibind.Embedder) -> None:
    rows = model.embed([(torch.zeros(16_000), 16_000)]).rows
    assert torch.isfinite(rows).all()
