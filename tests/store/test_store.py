"""The store: what is written is read back, in order, once, and by the right encoder only."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from omnibind.errors import StoreError
from omnibind.store import (
    Column,
    Entry,
    Store,
    StoreRows,
    Writer,
    describe,
    digest_of,
    state_of,
    verify,
)
from omnibind.testing import ToySpace

DIM = 8


def column(key: str = "toy-2.4", revision: str = "1", identity: str = "weights") -> Column:
    return Column(key=key, revision=revision, dim=DIM, identity=identity)


def entries(start: int, stop: int) -> list[Entry]:
    return [
        Entry(id=hashlib.blake2b(b"%d" % n, digest_size=16).hexdigest(), source=f"item {n}")
        for n in range(start, stop)
    ]


def rows(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten texts of one encoder, written in two batches."""
    with Writer(tmp_path) as writer:
        writer.write("text", entries(0, 6), {column(): rows(10)[:6]})
        writer.write("text", entries(6, 10), {column(): rows(10)[6:]})
    return tmp_path


def test_rows_come_back_as_unit_rows_in_the_order_asked_for(folder):
    asked = torch.tensor([7, 0, 7, 3])
    found = Store(folder).take("text", "toy-2.4", asked)
    wanted = torch.nn.functional.normalize(rows(10), dim=-1)[asked]
    assert found.dtype == torch.float32
    assert torch.allclose(found, wanted, atol=1e-3)
    assert torch.allclose(found.norm(dim=-1), torch.ones(4), atol=1e-6)


def test_an_item_keeps_its_source_and_metadata(tmp_path):
    given = Entry(id="00" * 16, source="a/cat.png", metadata='{"label": "cat"}')
    with Writer(tmp_path) as writer:
        writer.write("image", [given], {column(): rows(1)})
    assert Store(tmp_path).entry("image", 0) == given


def test_positions_stay_when_fragments_are_merged(folder):
    before = Store(folder).take("text", "toy-2.4", torch.arange(10))
    with Writer(folder) as writer:
        for n in range(10, 20):
            writer.write("text", entries(n, n + 1), {column(): rows(1, n)})
        writer.merge("text")
    after = Store(folder)
    assert len(after.dataset("text").get_fragments()) == 1
    assert torch.equal(after.take("text", "toy-2.4", torch.arange(10)), before)
    assert [after.entry("text", n).source for n in (0, 12)] == ["item 0", "item 12"]


def test_a_digest_is_of_the_rows_and_not_of_the_files_they_lie_in(folder):
    def digest(*positions: int) -> str:
        return digest_of(Store(folder), "text", ["toy-2.4"], np.array(positions))

    before, state = digest(0, 5, 7), state_of(Store(folder), "text")
    with Writer(folder) as writer:
        writer.merge("text")
    assert state_of(Store(folder), "text") != state
    assert digest(0, 5, 7) == before
    assert digest(0, 5, 8) != before


def test_nothing_is_written_twice(folder):
    with Writer(folder) as writer, pytest.raises(StoreError, match=r"'item 9'.*\n.*already"):
        writer.write("text", entries(9, 11), {column(): rows(2)})
    assert Store(folder).count("text") == 10


def test_the_same_item_twice_in_a_batch_is_refused(tmp_path):
    with Writer(tmp_path) as writer, pytest.raises(StoreError, match="is there already"):
        writer.write("text", entries(0, 1) * 2, {column(): rows(2)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_a_row_without_direction_is_refused_with_its_item(folder, value):
    made = rows(3)
    made[1] = value
    with Writer(folder) as writer, pytest.raises(StoreError, match="'item 11'"):
        writer.write("text", entries(10, 13), {column(): made})
    assert Store(folder).count("text") == 10


@pytest.mark.parametrize(
    "changed", [column(revision="2", identity="others"), column(identity="file changed")]
)
def test_rows_of_another_revision_are_refused_by_name(folder, changed):
    with Writer(folder) as writer, pytest.raises(StoreError) as refused:
        writer.write("text", entries(10, 11), {changed: rows(1)})
    assert "'toy-2.4' made by revision 1" in str(refused.value)
    assert f"omnibind store drop {folder} toy-2.4" in refused.value.next_step


def test_a_column_added_later_is_filled_item_by_item(folder):
    other = column("other")
    wanted = torch.nn.functional.normalize(rows(10, 1), dim=-1)
    ids = [entry.id for entry in entries(0, 10)]
    for start in (5, 0):  # in any order, by several writers
        with Writer(folder) as writer:
            part = slice(start, start + 5)
            writer.fill("text", other, ids[part], wanted[part])
            assert len(writer.filled("text", other)) == 10 - start
    with Writer(folder) as writer:
        writer.settle("text", other)
    found = Store(folder).take("text", "other", torch.arange(10))
    assert torch.allclose(found, wanted, atol=1e-3)
    assert [path.name for path in folder.glob("*.lance")] == ["text.lance"]


def test_a_column_whose_writer_was_killed_before_naming_it_is_named(folder):
    other = column("other")
    with Writer(folder) as writer:
        writer.fill("text", other, [entry.id for entry in entries(0, 10)], rows(10, 1))
        writer.settle("text", other)
        Store(folder).dataset("text").alter_columns({"path": "other@1", "name": "other@1@new"})
    with Writer(folder) as writer:
        writer.settle("text", other)
    assert Store(folder).take("text", "other", torch.arange(10)).shape == (10, DIM)


def test_a_column_that_is_not_named_yet_is_no_column(folder):
    with Writer(folder) as writer:
        for name in ("left", "kept"):  # one killed before its old column went, one after
            writer.fill("text", column(name), [entry.id for entry in entries(0, 10)], rows(10, 1))
            writer.settle("text", column(name))
    dataset = Store(folder).dataset("text")
    dataset.alter_columns({"path": "left@1", "name": "left@1@new"})
    dataset.add_columns({"kept@1@new": "`kept@1`"})
    assert sorted(Store(folder).columns("text")) == ["kept", "toy-2.4"]
    assert verify(folder) == ()
    changed = column("left", identity="file changed")
    with Writer(folder) as writer:
        writer.finish("text", changed)
        assert "left@1@new" not in writer.store.dataset("text").schema.names
        assert "left" not in writer.store.columns("text")


def test_filling_some_rows_leaves_the_others_bit_for_bit(tmp_path):
    given, ids = rows(1000), [entry.id for entry in entries(0, 1000)]
    with Writer(tmp_path) as writer:
        writer.write("text", entries(0, 999), {column(): given[:999]})
        writer.write("text", entries(999, 1000), {column("other"): given[999:]})
        before = digest_of(Store(tmp_path), "text", ["toy-2.4"], np.arange(999))
        writer.fill("text", column(), ids[999:], given[999:])
        writer.settle("text", column())
    assert Store(tmp_path).whole("text", ["toy-2.4"]).all()
    assert digest_of(Store(tmp_path), "text", ["toy-2.4"], np.arange(999)) == before


def test_items_without_a_row_are_known_and_filled_later(folder):
    other = column("other")
    with Writer(folder) as writer:
        writer.write("text", entries(10, 12), {other: rows(2)})
    store = Store(folder)
    assert store.whole("text", ["other"]).tolist() == [False] * 10 + [True] * 2
    with pytest.raises(StoreError, match="could not encode 'item 3'"):
        store.take("text", "other", torch.tensor([11, 3]))
    with Writer(folder) as writer:
        writer.fill("text", other, [entry.id for entry in entries(0, 10)], rows(10, 2))
        writer.settle("text", other)
    assert Store(folder).whole("text", ["other"]).all()
    kept = Store(folder).take("text", "other", torch.tensor([10, 11]))
    assert torch.allclose(kept, torch.nn.functional.normalize(rows(2), dim=-1), atol=1e-3)


def test_dropped_rows_may_be_made_anew(folder):
    with Writer(folder) as writer:
        writer.drop("text", "toy-2.4")
        again = column(revision="2", identity="others")
        writer.fill("text", again, [entry.id for entry in entries(0, 10)], rows(10, 3))
        writer.settle("text", again)
    assert Store(folder).column("text", "toy-2.4").revision == "2"
    assert Store(folder).whole("text", ["toy-2.4"]).all()


def test_a_second_writer_is_told_who_writes(folder):
    with Writer(folder), pytest.raises(StoreError, match=f"process {os.getpid()}"):
        Writer(folder).__enter__()
    with Writer(folder):  # free again
        pass


def test_spaces_take_their_rows_from_their_encoders_column(folder):
    space = ToySpace("toy", dim=DIM, keys={"text": "toy-2.4"})
    found = StoreRows(Store(folder), [space, ToySpace("absent")])
    assert (found.modalities(), found.spaces("text")) == (("text",), ("toy",))
    assert found.take("toy", "text", torch.tensor([2])).shape == (1, DIM)
    with pytest.raises(StoreError, match="rows of the space 'absent'"):
        found.take("absent", "text", torch.tensor([2]))


def test_positions_beyond_the_end_are_refused(folder):
    with pytest.raises(StoreError, match="items 0 to 9"):
        Store(folder).take("text", "toy-2.4", torch.tensor([10]))


def test_a_whole_store_has_no_problems(folder):
    assert verify(folder) == ()
    (found,) = describe(folder).modalities.values()
    assert (found.items, found.columns[0].rows, found.columns[0].dim) == (10, 10, DIM)


def test_damage_is_found(folder):
    (file,) = list((folder / "text.lance" / "data").iterdir())[:1]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert any("cannot be read" in problem.what for problem in verify(folder))


@pytest.mark.parametrize("what", ["data", "_versions"])
def test_a_damaged_file_is_named_with_what_to_do(folder, what):
    for file in (folder / "text.lance" / what).iterdir():
        file.write_bytes(b"nothing" * 40)
    wanted = f"delete {folder / 'text.lance'}"
    for read in (
        lambda store: store.whole("text", ["toy-2.4"]),
        lambda store: store.index("text"),
        lambda store: store.entry("text", 0),
        lambda store: store.take("text", "toy-2.4", torch.arange(3)),
        lambda store: digest_of(store, "text", ["toy-2.4"], np.arange(3)),
    ):
        with pytest.raises(StoreError) as refused:
            read(Store(folder))
        assert str(folder) in refused.value.asked
        assert wanted in refused.value.next_step


def test_a_store_that_a_file_stands_in_the_way_of_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="is a file"):
            Writer(folder).__enter__()


def test_no_store_is_said(tmp_path):
    with pytest.raises(StoreError, match=r"no <modality>\.lance"):
        describe(tmp_path)


def test_without_lance_the_error_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(StoreError, match=r"pip install 'omnibind\[train\]'"):
        Writer(tmp_path).__enter__()
