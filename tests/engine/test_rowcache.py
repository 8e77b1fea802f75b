"""The row cache: what goes in comes out, it stays within its bound, and damage costs only time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from omnibind.engine import Engine, RowCache, rowcache
from omnibind.testing.length import Length, length_card, texts
from omnibind.weights import LoadReport, load_state


class Worded(Length):
    """Counts by a file that its card names."""

    def __init__(self, size: str, assets: Mapping[str, Path]) -> None:
        super().__init__(size, assets)
        self.worth = float(assets["worth"].read_text()) if assets else 0.0

    def preprocess(self, media: str) -> dict[str, Tensor]:
        return {"length": torch.tensor(len(media) * self.worth)}

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        return load_state(self, state)


def _key(number: int) -> bytes:
    return RowCache.key("encoder", str(number).encode())


def test_a_row_comes_back_bit_for_bit_even_in_another_process_run(tmp_path: Path) -> None:
    row = torch.randn(7)
    cache = RowCache(tmp_path / "rows.sqlite")
    cache.put({_key(1): row})
    cache.close()
    again = RowCache(tmp_path / "rows.sqlite")
    assert torch.equal(again.get(_key(1)), row)
    assert again.get(_key(2)) is None
    again.close()


def test_encoders_and_items_have_keys_of_their_own() -> None:
    keys = {RowCache.key(e, d) for e in ("a", "b") for d in (b"1", b"2")}
    assert len(keys) == 4


def test_the_oldest_rows_go_first(tmp_path: Path) -> None:
    cache = RowCache(tmp_path / "rows.sqlite", limit=3)
    for number in range(5):
        cache.put({_key(number): torch.ones(1)})
    assert len(cache) == 3
    assert [cache.get(_key(n)) is not None for n in range(5)] == [False, False, True, True, True]
    cache.close()


def test_a_full_table_stays_full_and_is_seldom_counted() -> None:
    cache, statements = RowCache(limit=100), list[str]()
    cache._db.set_trace_callback(statements.append)
    for number in range(300):
        cache.put({number.to_bytes(2): torch.ones(2)})
        assert cache.get(number.to_bytes(2)) is not None
    counted = sum("count(" in one for one in statements)
    assert 90 < len(cache) <= 100
    assert counted <= 300 / 5  # one of twenty rows makes room for five more


def test_threads_share_it(tmp_path: Path) -> None:
    cache = RowCache(tmp_path / "rows.sqlite")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: cache.put({_key(n): torch.full((4,), float(n))}), range(64)))
        found = list(pool.map(lambda n: cache.get(_key(n)), range(64)))
    assert [float(row[0]) for row in found] == list(range(64))
    cache.close()


def test_a_damaged_file_is_put_aside_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.warns(UserWarning, match="moved to"):
        cache = RowCache(path)
    cache.put({_key(1): torch.ones(1)})
    assert cache.get(_key(1)) is not None
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1
    cache.close()


def test_damage_that_shows_later_costs_rows_and_not_the_table(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    cache = RowCache(path)
    cache.put({_key(n): torch.ones(256) for n in range(100)})
    cache.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"x" * (len(whole) - 8192))
    caches = [RowCache(path), RowCache(path)]  # as of two processes
    for cache in caches:
        with pytest.warns(UserWarning, match="rows.sqlite: database disk image"):
            assert all(cache.get(_key(n)) is None for n in range(100))
    caches[0].put({_key(1): torch.ones(1)})
    assert caches[1].get(_key(1)) is not None
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1
    for cache in caches:
        cache.close()


def test_a_table_that_cannot_be_used_now_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.sqlite"
    cache = RowCache(path)
    cache.put({_key(1): torch.ones(1)})
    cache.close()
    monkeypatch.setattr(rowcache, "WAIT", 0.0)
    other = sqlite3.connect(path)
    other.execute("PRAGMA journal_mode=DELETE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.warns(UserWarning, match="is locked; no rows are kept"):
        cache = RowCache(path)
    cache.put({_key(2): torch.ones(1)})
    assert cache.get(_key(1)) is cache.get(_key(2)) is None
    cache.close()
    other.close()
    cache = RowCache(path)
    assert cache.get(_key(1)) is not None
    cache.close()


def test_a_full_disk_leaves_the_table_where_it_is(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "rows.sqlite"
    RowCache(path).close()
    request.getfixturevalue("small_files")
    with pytest.warns(UserWarning, match="no rows are kept"):
        RowCache(path).close()
    assert [one.name for one in tmp_path.glob("rows.damaged-*")] == []


def test_without_a_folder_for_it_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="no rows are kept"):
        cache = RowCache(tmp_path / "file" / "rows.sqlite")
    cache.put({_key(1): torch.ones(1)})
    assert cache.get(_key(1)) is None
    cache.close()


def test_a_row_that_cannot_be_kept_or_read_is_only_computed_again(tmp_path: Path) -> None:
    cache = RowCache(tmp_path / "rows.sqlite")
    cache.put({_key(1): torch.ones(1)})
    cache._db.execute("DROP TABLE rows")
    with pytest.warns(UserWarning, match="rows not kept"):
        cache.put({_key(2): torch.ones(1)})
    with pytest.warns(UserWarning, match="computing the row"):
        assert cache.get(_key(1)) is None
    cache.close()


def test_rows_of_a_file_that_has_changed_are_not_those_of_before(tmp_path: Path) -> None:
    worth, weights = tmp_path / "worth.txt", tmp_path / "weights.safetensors"
    save_file({"scale": torch.ones(2)}, weights)
    spec = replace(
        length_card(build=f"{__name__}:Worded"),
        weights=(f"file:{weights}",),
        assets={"worth": f"file:{worth}"},
    )
    cache, found = RowCache(), list[float]()
    for words in ("1", "2.0", "2.0"):
        worth.write_text(words)
        os.utime(worth, ns=(0, 0))
        engine = Engine(device="cpu", workers=1, cache=cache)
        found.append(float(engine.encode(texts(1), {"text": [spec]}).rows["length"][0, 0]))
        cached = engine.stats().encoders["length"].cached
        engine.close()
    assert (found, cached) == ([1.0, 2.0, 2.0], 1)
