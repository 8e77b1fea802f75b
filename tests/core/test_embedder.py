"""The front door: any mixture of items in, comparable rows out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import omnibind
from omnibind.checkpoint import BoundCheckpoint, write_checkpoint
from omnibind.embedder import Embedder
from omnibind.engine import Engine
from omnibind.errors import ItemError, MediaError, RecipeError, UnknownNameError
from omnibind.plugins import Registry
from omnibind.plugins.published import BASE
from omnibind.projectors import HeadEnsemble
from omnibind.routers import Router
from omnibind.specs import Recipe, Slot, SpaceSpec
from omnibind.testing import ToySpace, toy_registry, with_files

PICTURE = np.arange(48 * 32 * 3, dtype=np.uint8).reshape(48, 32, 3)
SOUND = (np.sin(np.arange(8000) / 20) * 20_000).astype(np.int16)
CLOUD = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
MIXTURE = ["a cat", Image.fromarray(PICTURE), (SOUND, 8000), (CLOUD, None)]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine(device="cpu", size="tiny", workers=2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("toys")
    back = ToySpace("back", dim=8)
    side = ToySpace("side", dim=6, modalities=("text", "audio"))
    third = ToySpace("third", dim=6, modalities=("text", "image"), commercial_use=False)
    spaces = [back, *(with_files(s, folder, backbone="back", joint=8) for s in (side, third))]
    return toy_registry(*spaces, _recipe(spaces))


def _recipe(spaces: list[SpaceSpec]) -> Recipe:
    slots = {
        m: tuple(Slot.of(space.name) for space in spaces if m in space.encoders)
        for m in ("text", "image", "audio", "points")
    }
    return Recipe(name="toy", backbone="back", joint_dim=8, slots=slots, hidden=32)


@pytest.fixture(scope="module")
def model(engine: Engine, known: Registry) -> Embedder:
    return omnibind.load("toy", engine=engine, known=known)


def test_items_of_every_modality_become_unit_rows_in_their_order(model: Embedder) -> None:
    found = model.embed(MIXTURE)
    assert found.rows.shape == (4, 8)
    assert found.rows.dtype == torch.float32
    assert torch.allclose(found.rows.norm(dim=-1), torch.ones(4))
    assert not found.rows.requires_grad
    assert found.indices == (0, 1, 2, 3)
    assert found.modalities == ("text", "image", "audio", "points")
    assert (found.errors, found.degraded) == ((), ())


def test_each_row_carries_the_weights_of_its_slots(model: Embedder) -> None:
    weights = model.embed(MIXTURE).weights
    assert [sorted(one) for one in weights] == [
        ["back", "side", "third"],
        ["back", "third"],
        ["back", "side"],
        ["back"],
    ]
    assert all(abs(sum(one.values()) - 1) < 1e-6 for one in weights)


def test_a_recipes_priors_weigh_its_slots(engine: Engine, known: Registry) -> None:
    recipe = replace(known.recipe("toy"), priors={"audio": {"back": 3.0}})
    prior = omnibind.load("toy", engine=engine, known=toy_registry(*known.spaces.values(), recipe))
    assert prior.embed([(SOUND, 8000)]).weights == ({"back": 0.75, "side": 0.25},)


def test_files_bytes_and_memory_give_equal_rows(model: Embedder, tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    soundfile.write(tmp_path / "a.wav", SOUND, 8000, subtype="PCM_16")
    np.savez(tmp_path / "a.npz", xyz=CLOUD)
    (tmp_path / "a.txt").write_text("a cat")
    files = model.embed([tmp_path / f"a.{e}" for e in ("txt", "png", "wav", "npz")])
    assert torch.equal(files.rows, model.embed(MIXTURE).rows)
    names = model.embed([str(tmp_path / f"a.{e}") for e in ("txt", "png", "wav", "npz")])
    assert torch.equal(names.rows, files.rows)
    for at, name in enumerate(("png", "wav", "npz"), start=1):
        content = (tmp_path / f"a.{name}").read_bytes()
        assert torch.equal(model.embed([content], files.modalities[at]).rows[0], files.rows[at])


def test_pictures_as_pil_arrays_and_tensors_give_equal_rows(model: Embedder) -> None:
    forms = [Image.fromarray(PICTURE), PICTURE, torch.from_numpy(PICTURE).permute(2, 0, 1)]
    picture, array, tensor = (model.embed([form]).rows for form in forms)
    assert torch.equal(picture, array)
    assert torch.equal(picture, tensor)


def test_shapes_of_open3d_give_the_rows_of_their_points(
    model: Embedder, open3d: ModuleType
) -> None:
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(CLOUD.astype(np.float64)))
    assert torch.equal(model.embed([cloud]).rows, model.embed([(CLOUD, None)]).rows)


def test_bad_items_are_listed_and_harm_no_other(model: Embedder, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    bad = [tmp_path / "empty.png", "missing.wav", "", 3, (np.zeros(0), 8000)]
    found = model.embed([bad[0], "a cat", *bad[1:], (CLOUD, None)])
    assert found.indices == (1, 6)
    assert torch.equal(found.rows, model.embed(["a cat", (CLOUD, None)]).rows)
    assert [e.index for e in found.errors] == [0, 2, 3, 4, 5]
    assert {e.stage for e in found.errors} == {"recognise", "decode"}
    assert all("next:" in e.reason for e in found.errors)


def test_strict_raises_with_every_bad_item(model: Embedder) -> None:
    with pytest.raises(ItemError, match=r"(?s)item 1, .*item 2, "):
        model.embed(["a cat", "missing.wav", ""], strict=True)


def test_only_bad_items_give_no_rows(model: Embedder) -> None:
    found = model.embed(["missing.wav"])
    assert found.rows.shape == (0, 8)
    assert len(found.errors) == 1


def test_one_item_alone_is_refused(model: Embedder) -> None:
    for item in ("a cat", b"a cat"):
        with pytest.raises(MediaError, match=r"embed\(\[item\]\)"):
            model.embed(item)


def test_an_unknown_modality_is_refused(model: Embedder) -> None:
    with pytest.raises(UnknownNameError, match="smell"):
        model.embed(["a cat"], "smell")


def test_compare_gives_the_cosine_of_every_pair(model: Embedder) -> None:
    a, b = model.embed(["a cat", "a dog"]), model.embed([(CLOUD, None)])
    assert torch.equal(model.compare(["a cat", "a dog"], [(CLOUD, None)]), a.rows @ b.rows.T)
    assert torch.allclose(model.compare(a, b.rows), a.rows @ b.rows.T, atol=1e-6)
    assert model.compare(a, a).diagonal().allclose(torch.ones(2))


def test_compare_refuses_bad_items(model: Embedder) -> None:
    with pytest.raises(ItemError):
        model.compare(["a cat"], ["missing.wav"])


def test_left_out_spaces_are_named_as_degraded(engine: Engine, known: Registry) -> None:
    smaller = omnibind.load("toy", engine=engine, known=known, without=["side"])
    found = smaller.embed(["a cat"])
    assert found.degraded == ("side",)
    assert sorted(found.weights[0]) == ["back", "third"]


def test_commercial_only_leaves_out_what_the_licence_forbids(
    engine: Engine, known: Registry
) -> None:
    model = omnibind.load("toy", engine=engine, known=known, commercial_only=True)
    assert sorted(model.spaces) == ["back", "side"]


def test_a_name_that_the_recipe_lacks_cannot_be_left_out(engine: Engine, known: Registry) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'side'"):
        omnibind.load("toy", engine=engine, known=known, without=["sides"])


def test_a_recipe_that_is_not_installed_is_refused(known: Registry) -> None:
    with pytest.raises(UnknownNameError, match=r"'toyy'.*Did you mean 'toy'"):
        omnibind.load("toyy", known=known)


def test_nothing_left_to_load_is_an_error(engine: Engine, known: Registry) -> None:
    with pytest.raises(RecipeError, match="omnibind spaces"):
        omnibind.load("toy", engine=engine, known=known, without=["back", "side", "third"])


def test_spaces_that_are_not_installed_are_named_and_left_out(
    engine: Engine, known: Registry
) -> None:
    recipe = known.recipe("toy")
    more = {"text": (*recipe.slots["text"], Slot.of("absent"))}
    fewer = toy_registry(*known.spaces.values(), replace(recipe, slots={**recipe.slots, **more}))
    with pytest.warns(UserWarning, match="absent"):
        model = omnibind.load("toy", engine=engine, known=fewer)
    assert model.embed(["a cat"]).degraded == ("absent",)


@pytest.mark.parametrize("modality", [None, "points"])
def test_an_item_of_a_modality_that_no_space_reads_is_a_bad_item(
    engine: Engine, known: Registry, modality: str | None
) -> None:
    model = omnibind.load("toy", engine=engine, known=known, without=["back"])
    assert model.modalities == ("text", "image", "audio")
    good = [] if modality else ["a cat"]
    found = model.embed([*good, (CLOUD, None)], modality)
    assert (len(found.rows), [one.index for one in found.errors]) == (len(good), [len(good)])
    assert "spaces for text, image, audio" in found.errors[0].reason
    with pytest.raises(ItemError, match="'points'"):
        model.embed([(CLOUD, None)], modality, strict=True)


def test_a_bound_checkpoint_is_loaded_by_its_folder(
    engine: Engine, known: Registry, tmp_path: Path
) -> None:
    recipe = replace(known.recipe("toy"), router_inputs={"text": ("side", "third")})
    torch.manual_seed(0)
    heads = {n: HeadEnsemble([n], 6, 8, hidden=16).eval() for n in ("side", "third")}
    router = Router(12, [slot.name for slot in recipe.slots["text"]]).eval()
    write_checkpoint(
        BoundCheckpoint(recipe=recipe, projectors=heads, routers={"text": router}),
        tmp_path / "bound",
        known.spaces,
    )
    model = omnibind.load(tmp_path / "bound", engine=engine, known=known)
    found = model.embed(["a cat", "a dog on a hill"])
    assert found.degraded == ()
    assert found.weights[0] != found.weights[1]
    assert torch.equal(
        omnibind.load(str(tmp_path / "bound"), engine=engine, known=known)
        .embed(["a cat", "a dog on a hill"])
        .rows,
        found.rows,
    )


@pytest.fixture
def shipped(known: Registry, tmp_path: Path) -> Registry:
    """The toys, and a recipe whose plugin ships a bound checkpoint."""
    recipe = replace(known.recipe("toy"), router_inputs={"text": ("back", "side")})
    torch.manual_seed(0)
    heads = {n: HeadEnsemble([n], 6, 8, hidden=16).eval() for n in ("side", "third")}
    router = Router(14, [slot.name for slot in recipe.slots["text"]]).eval()
    bound = BoundCheckpoint(recipe=recipe, projectors=heads, routers={"text": router})
    write_checkpoint(bound, tmp_path / "bound", known.spaces)
    carded = replace(recipe, checkpoint=f"file:{tmp_path / 'bound' / 'recipe.json'}")
    return toy_registry(*known.spaces.values(), carded)


def test_a_recipe_loads_the_checkpoint_that_its_plugin_ships(
    engine: Engine, shipped: Registry
) -> None:
    found = omnibind.load("toy", engine=engine, known=shipped).embed(["a cat", "a dog on a hill"])
    assert found.degraded == ()
    assert found.weights[0] != found.weights[1]


def test_any_part_of_a_shipped_checkpoint_works(engine: Engine, shipped: Registry) -> None:
    fewer = omnibind.load("toy", engine=engine, known=shipped, without=["side"])
    assert fewer.embed(["a cat"]).degraded == ("side", "router:text")
    free = omnibind.load("toy", engine=engine, known=shipped, commercial_only=True)
    assert free.embed(["a cat"]).degraded == ("third",)


def test_random_weights_bind_every_space_of_a_published_recipe(engine: Engine) -> None:
    spaces = [ToySpace(name, dim=6, modalities=("text", "image")) for name in BASE.spaces]
    known = toy_registry(*spaces, BASE)
    model = omnibind.load("base", engine=engine, known=known, weights="random", size="tiny")
    found = model.embed(["a cat"])
    assert (found.rows.shape, found.degraded) == ((1, 1536), ())
    again = omnibind.load("base", engine=engine, known=known, weights="random", size="tiny")
    assert torch.equal(again.embed(["a cat"]).rows, found.rows)


def test_a_router_whose_inputs_are_not_installed_is_left_out(engine: Engine) -> None:
    spaces = [ToySpace(n, dim=6, modalities=("text",)) for n in BASE.spaces if "wavcaps" not in n]
    known = toy_registry(*spaces, BASE)
    with pytest.warns(UserWarning, match="wavcaps-pt"):
        model = omnibind.load("base", engine=engine, known=known, weights="random", size="tiny")
    assert "router:text" in model.embed(["a cat"]).degraded
