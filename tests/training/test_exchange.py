"""A folder takes the place of another, and there is always a whole one."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from omnibind.training.exchange import exchange, finish_exchange


def folder(path: Path, said: str) -> Path:
    path.mkdir()
    (path / "recipe.json").write_text(said)
    return path


def test_the_new_folder_is_there_and_nothing_beside_it(tmp_path: Path) -> None:
    place = folder(tmp_path / "bound", "old")
    exchange(folder(tmp_path / "part", "new"), place)
    assert (place / "recipe.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["bound"]


def test_where_nothing_was_it_is_put(tmp_path: Path) -> None:
    exchange(folder(tmp_path / "part", "new"), tmp_path / "bound")
    assert [path.name for path in tmp_path.iterdir()] == ["bound"]


def test_an_exchange_that_was_cut_short_is_taken_back(tmp_path: Path) -> None:
    folder(tmp_path / "bound.before", "old")
    finish_exchange(tmp_path / "bound")
    assert (tmp_path / "bound" / "recipe.json").read_text() == "old"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux swaps two folders at once")
def test_whoever_looks_meanwhile_always_finds_one(tmp_path: Path) -> None:
    place, missed, over = folder(tmp_path / "bound", "0"), [], threading.Event()
    recipe = str(place / "recipe.json")

    def look() -> None:
        while not over.is_set():
            if not os.path.exists(recipe):
                missed.append(1)

    looking = [threading.Thread(target=look) for _ in range(4)]
    for one in looking:
        one.start()
    for number in range(300):
        exchange(folder(tmp_path / "part", str(number)), place)
    over.set()
    for one in looking:
        one.join()
    assert missed == []
