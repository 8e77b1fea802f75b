"""Tuples and rows: what is written is read back, what does not fit is refused."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from omnibind.errors import TrainingError
from omnibind.training.tuples import RowsInMemory, RowSource, read_tuples, write_tuples


def test_a_tuple_file_gives_back_the_tuples(tuples, tmp_path):
    write_tuples(tuples, tmp_path / "tuples.parquet")
    back = read_tuples(tmp_path / "tuples.parquet")
    assert back.modalities == tuples.modalities
    assert torch.equal(back.query, tuples.query)
    for one, other in ((back.items, tuples.items), (back.margin, tuples.margin)):
        assert all(torch.equal(one[m], other[m]) for m in tuples.modalities)


def test_the_file_names_the_query_and_three_columns_a_modality(tuples, tmp_path):
    write_tuples(tuples, tmp_path / "tuples.parquet")
    table = pq.read_table(tmp_path / "tuples.parquet")
    assert table.schema.field("query").type == pa.string()
    assert table.schema.field("text").type == pa.int64()
    assert {"audio", "audio_similarity", "audio_margin"} <= set(table.column_names)
    assert table["query"][0].as_py() == "text"


def test_a_damaged_tuple_file_is_refused_with_the_next_step(tuples, tmp_path):
    path = tmp_path / "tuples.parquet"
    write_tuples(tuples, path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(TrainingError, match="run the stage `pair` again"):
        read_tuples(path)


def test_rows_in_memory_are_a_source_of_unit_rows():
    rows = RowsInMemory({"text": {"a": torch.full((3, 4), 2.0)}})
    assert isinstance(rows, RowSource)
    assert (rows.modalities(), rows.spaces("text"), rows.count("text")) == (("text",), ("a",), 3)
    assert torch.equal(rows.take("a", "text", torch.tensor([2, 2])), torch.full((2, 4), 0.5))


def test_spaces_that_differ_in_their_number_of_items_are_refused():
    with pytest.raises(TrainingError, match="b: 2 rows"):
        RowsInMemory({"text": {"a": torch.ones(3, 4), "b": torch.ones(2, 4)}})
