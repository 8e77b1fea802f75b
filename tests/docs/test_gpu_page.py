"""The script that fills the GPU rows runs on any machine, and the page names what it measures."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "measure_gpu.sh"
NAMES = re.findall(r"^(?:measure|engine) ([\w-]+) ", SCRIPT.read_text(), re.MULTILINE)


def test_every_measurement_is_on_the_page() -> None:
    page = (ROOT / "docs" / "gpu.md").read_text()
    assert len(NAMES) == 11
    assert [name for name in NAMES if f"`{name}`" not in page] == []


@pytest.mark.slow
def test_the_script_runs_at_tiny_size_without_a_gpu(tmp_path: Path) -> None:
    small = {**os.environ, "SIZE": "tiny", "DEVICE": "cpu", "MANY": "8"}
    done = subprocess.run([SCRIPT, tmp_path], env=small, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "failed, and" not in done.stdout
    assert {path.stem for path in tmp_path.glob("*.json")} == set(NAMES)
    figures = json.loads((tmp_path / "large-naive-float32.json").read_text())["figures"]
    assert all(one["difference"] < 1e-5 for one in figures)
