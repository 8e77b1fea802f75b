"""A store that is killed or runs out of disk while it is written: nothing twice, nothing lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from omnibind.errors import StoreError
from omnibind.store import Column, Store, Writer, describe, verify

WRITES = """
import hashlib, resource, sys, torch
from pathlib import Path
from omnibind.store import Column, Entry, Writer

folder, count, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
column = Column(key="toy", revision="1", dim=32, identity="weights")
entries = [
    Entry(id=hashlib.blake2b(b"%d" % n, digest_size=16).hexdigest(), source=str(n))
    for n in range(count)
]
with Writer(folder) as writer:
    there = writer.find("text", [entry.id for entry in entries])
    due = [entry for entry, at in zip(entries, there) if at == -1]
    print("due", len(due), flush=True)
    for start in range(0, len(due), 3):
        batch = due[start : start + 3]
        rows = torch.stack([torch.arange(1, 33) * (1 + int(e.source)) % 97 + 1.0 for e in batch])
        writer.write("text", batch, {column: rows})
        print("wrote", start, flush=True)
"""


def writing(folder: Path, count: int, limit: int = 0) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITES, str(folder), str(count), str(limit)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed_after(folder: Path, batches: int) -> None:
    running = writing(folder, 3000)
    assert running.stdout
    for _ in range(batches + 1):
        running.stdout.readline()
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert running.returncode == -signal.SIGKILL


def test_after_kill_9_the_next_writer_goes_on_where_the_last_commit_was(tmp_path):
    for batches in (5, 70):  # the second time beyond a merge of fragments
        killed_after(tmp_path, batches)
        assert verify(tmp_path) == ()
    kept = Store(tmp_path).count("text")
    assert 3 * 75 <= kept < 3000
    out, _ = writing(tmp_path, kept + 10).communicate()
    assert out.startswith("due 10\n")
    store = Store(tmp_path)
    sources = [row["source"] for batch in store.batches("text", ["source"])
               for row in batch.to_pylist()]  # fmt: skip
    assert sources == [str(n) for n in range(kept + 10)]
    assert verify(tmp_path) == ()


def test_a_disk_that_is_full_loses_nothing_that_was_written(tmp_path):
    # A limit on the size of a file stands for the disk: root cannot fill one in a test.
    out, err = writing(tmp_path, 6).communicate()
    assert out.endswith("wrote 3\n")
    out, err = writing(tmp_path, 20, limit=300).communicate()
    assert "StoreError" in err
    assert "the disk is full" in err
    assert Store(tmp_path).count("text") == 6
    with Writer(tmp_path):
        assert verify(tmp_path) == ()
    assert Store(tmp_path).take("text", "toy", torch.arange(6)).isfinite().all()


def test_a_first_commit_that_was_killed_leaves_nothing_in_the_way(tmp_path):
    running = writing(tmp_path, 30)
    while not (tmp_path / "text.lance").exists():
        assert running.poll() is None
        time.sleep(0.0005)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    kept = Store(tmp_path).count("text") if Store(tmp_path).modalities else 0
    out, err = writing(tmp_path, 30).communicate()
    assert out.startswith(f"due {30 - kept}\n"), err
    assert Store(tmp_path).count("text") == 30
    assert verify(tmp_path) == ()


def test_a_disk_that_is_full_at_the_first_commit_leaves_nothing_in_the_way(tmp_path):
    _, err = writing(tmp_path, 6, limit=300).communicate()
    assert "the disk is full" in err
    assert (tmp_path / "text.lance").is_dir()
    assert Store(tmp_path).modalities == ()
    with pytest.raises(StoreError, match="with rows in it"):
        describe(tmp_path)
    assert writing(tmp_path, 6).communicate()[0].endswith("wrote 3\n")
    assert Store(tmp_path).count("text") == 6


def test_a_first_row_of_a_new_column_that_was_killed_is_written_again(tmp_path):
    writing(tmp_path, 6).communicate()
    ids = [row["id"] for batch in Store(tmp_path).batches("text", ["id"])
           for row in batch.to_pylist()]  # fmt: skip
    column = Column(key="late", revision="1", dim=4, identity="weights")
    with Writer(tmp_path) as writer:
        (writer._filling("text", column) / "data").mkdir(parents=True)
        assert len(writer.filled("text", column)) == 0
        writer.settle("text", column)
        assert "late" not in writer.store.columns("text")
        writer.fill("text", column, ids, torch.ones(6, 4))
        writer.settle("text", column)
    assert Store(tmp_path).whole("text", ["toy", "late"]).all()
