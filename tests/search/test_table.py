"""Tables are written whole, read back equal, and refused when they are something else."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

import omnibind
from omnibind.engine import Engine
from omnibind.engine.memory.budget import bytes_of
from omnibind.errors import ItemError, SetupError
from omnibind.search import bulk, compare, embed_table, gather, read_table
from omnibind.search.formats import atomically
from omnibind.search.sources import file_source, text_source
from omnibind.specs import Recipe, Slot
from omnibind.testing import toy_registry
from omnibind.testing.toyspace import ToySpace

WORDS = ("a cat", "a dog", "a red car", "the sea", "an old piano")


def test_rows_are_those_of_the_model_in_the_order_of_the_items(model, table):
    assert table.column("source") == list(WORDS)
    assert np.allclose(table.rows, model.embed(WORDS).rows, atol=1e-6)


def test_a_table_says_how_it_was_made(table):
    facts = table.facts
    assert (facts.binding.recipe, facts.binding.joint_dim, facts.degraded) == ("toys", 8, ())
    assert b"omnibind" in pq.read_schema(table.path).metadata


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_the_other_formats_hold_the_same(model, table, tmp_path, ending):
    out = tmp_path / f"rows{ending}"
    embed_table(model, [text_source(word) for word in WORDS], out)
    other = read_table(out)
    for name in ("id", "source", "modality", "state", "weights"):
        assert other.column(name) == table.column(name)
    assert np.allclose(other.rows, table.rows, atol=1e-6)
    assert other.facts == table.facts


def test_npz_needs_no_pickle(model, tmp_path):
    embed_table(model, [text_source("ü")], tmp_path / "rows.npz")
    with np.load(tmp_path / "rows.npz", allow_pickle=False) as file:
        assert file["sources"].tolist() == ["ü"]
        assert file["rows"].dtype == np.float32


@pytest.mark.parametrize("ending", [".parquet", ".npz", ".safetensors"])
def test_a_damaged_file_is_refused(tmp_path, ending):
    path = tmp_path / f"rows{ending}"
    for content in (b"", b"PK\x03\x04 and so on", b"x" * 100):
        path.write_bytes(content)
        with pytest.raises(SetupError, match="no table that `omnibind embed` has written"):
            read_table(path)


def test_somebody_elses_parquet_is_refused(tmp_path):
    import pyarrow as pa

    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(SetupError, match="no table that"):
        read_table(tmp_path / "x.parquet")


def test_a_stopped_table_is_found_by_its_parts(model, tmp_path):
    out = tmp_path / "rows.parquet"
    with pytest.raises(ItemError):
        embed_table(
            model,
            [text_source("a cat"), file_source(tmp_path / "no.png")],
            out,
            part_items=1,
            strict=True,
        )
    with pytest.raises(SetupError, match="stopped before the end"):
        read_table(out)
    assert read_table(tmp_path / "rows.parquet.parts").column("source") == ["a cat"]


def test_a_second_call_encodes_only_what_is_new(model, table):
    seen = []
    more = gather(texts=[*WORDS, "the moon"], modalities=model.known.modalities)
    summary = embed_table(model, more.sources, table.path, on_done=seen.append)
    assert (summary.there, summary.added, summary.rows) == (5, 1, 6)
    assert seen == [5, 1]


def test_many_items_make_many_parts_and_one_table(model, tmp_path):
    sources = [text_source(f"text {n}") for n in range(25)]
    summary = embed_table(model, sources, tmp_path / "rows.parquet", part_items=2)
    assert summary.rows == 25
    assert [file.name for file in tmp_path.iterdir()] == ["rows.parquet"]


def test_weights_that_take_turns_move_once_a_part_of_many_items(tmp_path, monkeypatch):
    monkeypatch.setattr(bulk, "PART_ITEMS", 2)
    spaces = [ToySpace(name, dim=8, modalities=["text"]) for name in ("a", "b")]
    recipe = Recipe(
        name="two", backbone="a", joint_dim=8, slots={"text": (Slot.of("a"), Slot.of("b"))}
    )
    sizes = [bytes_of(space.encoders["text"], "tiny") for space in spaces]
    loads = {}
    for memory in (sum(sizes), max(sizes)):
        engine = Engine(device="cpu", size="tiny", workers=1, memory=memory)
        model = omnibind.load("two", engine=engine, known=toy_registry(*spaces, recipe))
        assert model.fits is (memory == sum(sizes))
        embed_table(model, [text_source(word) for word in WORDS], tmp_path / f"{memory}.npz")
        loads[memory] = engine.stats().lanes[0].loads
        engine.close()
    assert set(loads[sum(sizes)].values()) == set(loads[max(sizes)].values()) == {1}
    one, other = (read_table(tmp_path / f"{memory}.npz") for memory in loads)
    assert np.allclose(one.rows, other.rows, atol=1e-6)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def breaks(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomically(path, breaks)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_compared_items_keep_their_names(model):
    found = compare(model, ["a cat", "./no.png"], ["a dog"])
    assert (found.left, found.right) == (("a cat",), ("a dog",))
    assert found.failures[0].item == "./no.png"
    assert -1 <= found.cosines[0][0] <= 1
