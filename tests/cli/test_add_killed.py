"""`bind add` that is killed while it trains: the old checkpoint stays, and it can be run again."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from omnibind.checkpoint import read_checkpoint
from omnibind.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:no pool for the queries of head")
FAST = ("--min-pairs", "5", "--steps", "3", "--router-steps", "2", "--batch", "12")
ADD = ("bind", "add", "toy-late", "--size", "tiny")


@pytest.fixture
def bound(omnibind, make_pools, tmp_path) -> Path:
    """A binding that says it was a long one, so that adding takes a hundred steps."""
    out = tmp_path / "out"
    ran = omnibind("bind", "toys", *make_pools(40, 60), "--out", out, "--size", "tiny", *FAST)
    assert ran.code == 0, ran.err
    recipe = out / "checkpoint" / "recipe.json"
    said = json.loads(recipe.read_text())
    said["facts"]["training"]["project"]["settings"]["descent"]["steps"] = 1200
    recipe.write_text(json.dumps(said))
    return out


def content(checkpoint: Path) -> dict[str, bytes]:
    """Files of a checkpoint that is whole; how long things took is left out."""
    read_checkpoint(checkpoint)
    files = {str(p.relative_to(checkpoint)): p for p in checkpoint.rglob("*") if p.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "timings.json"}


def killed(out: Path, sign: Path, before: dict[str, bytes]) -> int:
    """Kills `bind add` when a file or folder appears; the old checkpoint is looked at meanwhile."""
    running = subprocess.Popen(
        [sys.executable, "-m", "omnibind.cli", *ADD, "--to", str(out)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not sign.exists():
        assert running.poll() is None
        assert time.monotonic() < deadline
        if sign.parent.exists():  # before that it reads, and nothing is written beside it
            assert content(out / "checkpoint") == before
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    return running.wait()


def test_after_kill_9_the_same_command_ends_with_the_same_checkpoint(omnibind, bound, tmp_path):
    whole = tmp_path / "whole" / "out"
    shutil.copytree(bound, whole)
    before, work = content(bound / "checkpoint"), bound / "checkpoint.adding"
    for sign in ("heads/curves.jsonl", "heads/state.safetensors"):
        assert killed(bound, work / sign, before) == -signal.SIGKILL
        assert content(bound / "checkpoint") == before
        assert not list(work.rglob("recipe.json"))
    for out in (bound, whole):
        ran = omnibind(*ADD, "--to", out)
        assert ran.code == 0, ran.err
    after = content(bound / "checkpoint")
    assert after == content(whole / "checkpoint")
    projectors = {name for name in before if name.startswith("projectors/")}
    assert {name: after[name] for name in projectors} == {n: before[n] for n in projectors}
    assert not work.exists()
    assert Store(bound / "store").whole("text", ["late-text"]).all()
