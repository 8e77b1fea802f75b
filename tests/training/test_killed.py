"""A process that is killed in the middle of a stage: the next one ends with the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("bind_toy.py")


def _bind(*arguments):
    spec = util.spec_from_file_location("bind_toy", SCRIPT)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.bind(*arguments)


def _content(folder):
    files = [p for p in sorted(folder.rglob("*")) if p.suffix in (".safetensors", ".jsonl")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize(("stage", "step"), [("project", 6), ("route", 11)])
def test_a_killed_run_goes_on_to_the_same_bytes(stage, step, tmp_path):
    killed = subprocess.run([sys.executable, SCRIPT, tmp_path / "a", stage, str(step)])
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "a" / stage / "state.safetensors").is_file()
    assert not (tmp_path / "a" / stage / "done.json").exists()
    _bind(tmp_path / "a")
    _bind(tmp_path / "b")
    assert _content(tmp_path / "a") == _content(tmp_path / "b")
    assert len(_content(tmp_path / "a")) == 4
