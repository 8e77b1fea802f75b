"""Labelled items: read from tables and data sets, encoded once, bad ones named."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import omnibind
from omnibind.engine import Engine
from omnibind.errors import MediaError, SetupError
from omnibind.evaluation import LabelledItem, encoded, explain, labelled_items, zero_shot
from omnibind.specs import Dataset
from omnibind.testing import ToySpace, toy_recipe, toy_registry

COLOURS = {"red": (220, 20, 20), "blue": (20, 20, 220)}
ITEMS = [LabelledItem(item=f"something {name}", labels=(name,)) for name in COLOURS]


@pytest.fixture(scope="module")
def model():
    space = ToySpace("toy", modalities=["text", "image"])
    known = toy_registry(space, toy_recipe("toys", [space]))
    return omnibind.load("toys", engine=Engine(size="tiny", workers=1), known=known)


@pytest.fixture
def folder(tmp_path):
    for name, colour in COLOURS.items():
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
    lines = ["path,text,label", "red.png,,red|colour", "blue.png,,blue", ',"red, or so",red']
    (tmp_path / "items.csv").write_text("\n".join(lines))
    return tmp_path


def test_a_table_gives_items_with_one_or_several_labels(folder, model):
    items = labelled_items(folder / "items.csv", model.known)
    assert [one.labels for one in items] == [("red", "colour"), ("blue",), ("red",)]
    assert items[0].item == folder / "red.png"
    assert (items[2].item, items[2].modality) == ("red, or so", "text")


def test_parquet_says_the_same_as_csv(folder, model):
    table = pa.table({"text": ["a", "b"], "label": ["x", "y|z"]})
    pq.write_table(table, folder / "items.parquet")
    items = labelled_items(folder / "items.parquet", model.known)
    assert [(one.item, one.labels) for one in items] == [("a", ("x",)), ("b", ("y", "z"))]


def load():
    return ITEMS


def test_a_data_set_of_a_plugin_is_loaded_by_name():
    card = Dataset(name="colours", load=f"{__name__}:load", licence="CC0-1.0", source="here")
    assert labelled_items("colours", toy_registry(card)) == ITEMS


@pytest.mark.parametrize("content", ["path,kind\na.png,x\n", "", "path,label\n"])
def test_a_table_without_the_columns_or_lines_is_refused(content, tmp_path, model):
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(SetupError, match="columns path or text, and label"):
        labelled_items(tmp_path / "bad.csv", model.known)


def test_a_name_that_is_neither_file_nor_data_set_is_refused(model):
    with pytest.raises(SetupError, match="no plugin has a data set"):
        labelled_items("nothing", model.known)


def test_good_items_are_encoded_and_bad_ones_named(folder, model):
    (folder / "blue.png").write_bytes(b"no picture")
    rows, failures = encoded(model, labelled_items(folder / "items.csv", model.known))
    assert {m: len(spaces["toy"]) for m, spaces in rows.rows.items()} == {"image": 1, "text": 1}
    assert rows.labels["image"] == [("red", "colour")]
    assert [failure.item for failure in failures] == [str(folder / "blue.png")]


def test_nothing_but_bad_items_is_an_error(tmp_path, model):
    items = [LabelledItem(item=tmp_path / "gone.png", labels=("x",))]
    with pytest.raises(MediaError, match="check the paths"):
        encoded(model, items)


def test_an_item_of_the_class_text_itself_is_classified(folder, model):
    rows, _ = encoded(model, labelled_items(folder / "items.csv", model.known))
    found = zero_shot(model, rows, ["a {} thing", "{}"], resamples=10)["image"]
    assert (found.bound.items, found.bound.classes) == (2, 3)
    assert found.alone["toy"] == found.bound


def test_the_weights_of_an_item_are_explained(model):
    (one,) = explain(model, ["a cat"]).good
    assert (one.item, one.modality, one.weights) == ("a cat", "text", {"toy": 1.0})


def test_embed_binds_the_rows_that_encode_gives(model):
    made = model.encode(["a cat", "a dog"])
    bound = model.binder("text", made.rows["text"]).rows
    whole = model.embed(["a cat", "a dog"]).rows
    assert torch.allclose(bound, whole, atol=1e-5)  # other batches, other rounding
    assert not torch.allclose(bound[0], bound[1], atol=1e-2)
