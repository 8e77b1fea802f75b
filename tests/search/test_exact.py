"""The nearest rows are the nearest rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import omnibind
from omnibind.engine import Engine
from omnibind.errors import ItemError, SetupError, ShapeError
from omnibind.search import embed_table, nearest, read_table, search
from omnibind.search.binding import Binding
from omnibind.search.formats import schema_of
from omnibind.search.job import Job, Part
from omnibind.search.sources import text_source
from omnibind.search.table import Facts

BINDING = Binding(recipe="r", joint_dim=4, spaces=("s",), size="tiny", weights="random", digest="")


def written(path, rows, modalities=None):
    with Job(path, Facts(binding=BINDING)) as job:
        job.add(
            Part(
                sources=[text_source(f"text {n}") for n in range(len(rows))],
                modalities=modalities or ["text"] * len(rows),
                rows=rows,
                weights=[{"s": 1.0}] * len(rows),
            )
        )
        job.finish()
    return read_table(path)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 60), top=st.integers(1, 70))
def test_it_equals_sorting_everything(tmp_path_factory, seed, count, top):
    random = np.random.default_rng(seed)
    rows = unit(random.normal(size=(count, 4)))
    rows[count // 2 :] = rows[: count - count // 2]  # ties
    table = written(tmp_path_factory.mktemp("t") / "rows.npz", rows)
    query = unit(random.normal(size=(1, 4)))
    scores = (rows.astype(float) * query[0]).sum(axis=1)
    expected = sorted(range(count), key=lambda at: (-scores[at], at))[:top]
    assert [hit.id for hit in nearest(table, query, top)[0]] == expected


def test_equal_rows_come_in_the_order_of_their_ids(tmp_path):
    rows = np.repeat(unit(np.ones((1, 4))), 9_000, axis=0)  # several batches
    table = written(tmp_path / "rows.parquet", rows)
    assert [hit.id for hit in nearest(table, rows[:1], 5)[0]] == [0, 1, 2, 3, 4]


def test_only_rows_of_the_asked_modalities_are_looked_at(tmp_path):
    rows = unit(np.eye(4))
    table = written(tmp_path / "rows.parquet", rows, ["text", "image", "text", "audio"])
    hits = nearest(table, rows[:1], 4, only=["image", "audio"])[0]
    assert {hit.modality for hit in hits} == {"image", "audio"}
    assert nearest(table, rows[:1], 4, only=["points"]) == [[]]


def test_a_hit_says_which_spaces_made_its_row(tmp_path):
    table = written(tmp_path / "rows.parquet", unit(np.ones((1, 4))))
    assert nearest(table, np.ones((1, 4)))[0][0].weights == {"s": 1.0}


def test_queries_of_another_width_are_refused(tmp_path):
    table = written(tmp_path / "rows.parquet", unit(np.ones((1, 4))))
    with pytest.raises(ShapeError):
        nearest(table, np.ones((1, 5)))


def test_an_empty_table_has_no_hits(tmp_path):
    table = written(tmp_path / "rows.parquet", np.empty((0, 4), np.float32))
    assert nearest(table, np.ones((1, 4), np.float32)) == [[]]
    assert table.rows.shape == (0, 4)


def test_an_item_finds_itself(model, table):
    assert search(model, table, "the sea", 1)[0].source == "the sea"


def test_a_query_that_cannot_be_read_is_an_error_of_that_item(model, table):
    with pytest.raises(ItemError):
        search(model, table, "   ")


def test_rows_of_other_weights_are_not_searched(model, table):
    other = omnibind.load("toys", engine=Engine(size="tiny", seed=7), known=model.known)
    with pytest.raises(SetupError, match="have changed since the table was made"):
        search(other, table, "the sea")


def test_a_folder_of_parts_is_a_table(model, table, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for at, word in enumerate(("the moon", "a cat")):
        embed_table(model, [text_source(word)], folder / f"{at}.parquet")
    (folder / "rows.parquet").write_bytes(table.path.read_bytes())
    together = read_table(folder)
    assert sorted(together.column("source")) == sorted(["the moon", *table.column("source")])
    assert search(model, together, "the moon", 1)[0].source == "the moon"


def test_parts_of_different_bindings_are_no_table(table, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    written(folder / "a.parquet", unit(np.ones((1, 4))))
    (folder / "b.parquet").write_bytes(table.path.read_bytes())
    with pytest.raises(SetupError, match="different bindings"):
        read_table(folder)


def test_the_columns_are_those_of_the_documentation():
    schema = schema_of(4, "{}")
    assert schema.names == ["id", "source", "modality", "state", "row", "weights"]
    assert str(schema.field("row").type) == "fixed_size_list<item: float>[4]"
