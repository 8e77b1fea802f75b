"""`embed` stopped from outside: nothing twice, nothing lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from omnibind.search import read_table

COUNT = 150


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A long list of texts."""
    path = tmp_path / "words.txt"
    path.write_text("".join(f"a picture of {n} cats\n" for n in range(COUNT)))
    return path


def command(words: Path, out: Path) -> list[str]:
    return [
        "embed", "--texts", str(words), "--out", str(out), "--part-items", "3",
        "--recipe", "toys", "--size", "tiny",
    ]  # fmt: skip


def start_and_stop(words: Path, out: Path, how: signal.Signals) -> tuple[int, bytes]:
    """Stops the command as soon as some parts are there; gives its exit code and its stderr."""
    running = subprocess.Popen(
        [sys.executable, "-m", "omnibind.cli", *command(words, out)], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 300
    parts = Path(f"{out}.parts")
    while not (parts / "part-00004.parquet").exists():
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.002)
    running.send_signal(how)
    _, err = running.communicate()
    return running.returncode, err


def test_after_kill_9_the_same_command_ends_with_the_same_table(omnibind, words, tmp_path):
    whole, killed = tmp_path / "whole.parquet", tmp_path / "killed.parquet"
    assert start_and_stop(words, killed, signal.SIGKILL)[0] == -signal.SIGKILL
    assert not killed.exists()
    kept = len(read_table(f"{killed}.parts"))
    assert 0 < kept < COUNT
    ran = omnibind(*command(words, killed))
    assert f"{COUNT} rows, {COUNT - kept} of them new" in ran.out
    assert omnibind(*command(words, whole)).code == 0
    one, other = read_table(whole), read_table(killed)
    for name in ("id", "source", "state", "modality"):
        assert one.column(name) == other.column(name)
    assert np.allclose(one.rows, other.rows, atol=1e-6)
    assert not Path(f"{killed}.parts").exists()


def test_ctrl_c_keeps_the_parts_and_ends_with_130(site, words, tmp_path):
    out = tmp_path / "rows.parquet"
    code, err = start_and_stop(words, out, signal.SIGINT)
    assert code == 130
    assert b"Traceback" not in err
    assert b"run it again to go on" in err
    assert len(read_table(f"{out}.parts")) > 0


def test_two_processes_do_not_write_one_table(omnibind, words, tmp_path):
    out = tmp_path / "rows.parquet"
    first = subprocess.Popen(
        [sys.executable, "-m", "omnibind.cli", *command(words, out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(Path(f"{out}.parts").glob("part-*.parquet")):
        assert first.poll() is None
        time.sleep(0.002)
    first.send_signal(signal.SIGSTOP)  # it holds the table for as long as we look
    try:
        ran = omnibind(*command(words, out))
    finally:
        first.kill()
        first.wait()
    assert ran.code == 2
    assert "another process that is writing it now" in ran.err
