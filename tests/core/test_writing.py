"""Files are whole or not there, and a full disk is said to be one, whoever writes."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file

from omnibind.checkpoint import BoundCheckpoint, write_checkpoint, write_routers
from omnibind.errors import NoRoomError
from omnibind.projectors import Linear, write_projector
from omnibind.routers import Router
from omnibind.seen import Seen, write_seen
from omnibind.specs import Recipe, Slot
from omnibind.training.done import mark_done
from omnibind.training.errorlog import ErrorLog
from omnibind.training.tuples import Tuples, write_tuples
from omnibind.writing import is_full, whole, write_text

RECIPE = Recipe(name="toy", backbone="back", joint_dim=64, slots={"text": (Slot.of("a"),)})


def _tuples(count: int) -> Tuples:
    numbers = torch.randperm(count)
    return Tuples(
        modalities=("text", "image"),
        query=torch.zeros(count, dtype=torch.int64),
        items={"text": numbers, "image": numbers},
        similarity={"text": torch.rand(count), "image": torch.rand(count)},
        margin={"text": torch.rand(count), "image": torch.rand(count)},
    )


def _seen(file: Path) -> None:
    write_seen(Seen({"text": np.arange(5000, dtype=np.uint64)}), file)


def _checkpoint(file: Path) -> None:
    facts = {"said": "much " * 2000}
    write_checkpoint(BoundCheckpoint(recipe=RECIPE, projectors={}, facts=facts), file.parent, {})


def _errors(file: Path) -> None:
    with ErrorLog(file) as log:
        for _ in range(100):
            log.add("text", "a" * 100, "read", "bad")


WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda file: write_text(file, "x" * 10_000),
    "seen": _seen,
    "projector": lambda file: write_projector(Linear("a", 64, 64), file, backbone="back"),
    "routers": lambda file: write_routers({"text": Router(64, ["a", "b"])}, file),
    "tuples": lambda file: write_tuples(_tuples(2000), file),
    "done": lambda file: mark_done(file.parent, "inputs", {"said": "x" * 10_000}, name=file.name),
    "checkpoint": _checkpoint,
    "errors": _errors,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_named_by_every_writer_of_a_bind(small_files, tmp_path, writer):
    with pytest.raises(NoRoomError, match="make room on the disk"):
        WRITERS[writer](tmp_path / "file")
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]


def test_a_file_that_finds_no_room_is_as_it_was_before(tmp_path, small_files):
    write_text(tmp_path / "file", "old")
    with (
        pytest.raises(NoRoomError, match="SafetensorError"),
        whole(tmp_path / "file") as part,
    ):
        save_file({"x": np.zeros(5000)}, part)
    assert (tmp_path / "file").read_text() == "old"


def test_what_is_no_full_disk_stays_what_it_is(tmp_path):
    with pytest.raises(ZeroDivisionError), whole(tmp_path / "file"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (SafetensorError("I/O error: No space left on device (os error 28)"), True),
        (SafetensorError("I/O error: Something (os error 28)"), True),
        (SafetensorError("Error while deserializing header"), False),
        (OSError(errno.EACCES, "Permission denied"), False),
    ],
)
def test_a_full_disk_is_known_by_number_or_by_words(error, full):
    assert is_full(error) == full
