"""Five hundred damaged files of each modality: a MediaError or media, quickly, in little memory.

Memory is what the peak resident set of this process (VmHWM) grows by: it is set back before each
run where the kernel lets us. A process that has only imported this holds 0.6 GB, so with a growth
below 1 GB it stays below 2 GB; other tests may have left more behind in this one.
"""

from __future__ import annotations

import os
import resource
import time
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from omnibind.errors import MediaError
from omnibind.media.source import MediaWarning

COUNT = int(os.environ.get("OMNIBIND_DAMAGED_FILES", "500"))
EXAMPLES = Path(__file__).parents[2] / "examples" / "media"
SUFFIXES = {
    "text": {".txt", ".md"},
    "image": {".png", ".jpg", ".jpeg", ".webp", ".gif"},
    "audio": {".wav", ".flac", ".ogg", ".mp3", ".m4a"},
    "points": {".obj", ".ply", ".glb", ".stl", ".npz"},
}


@pytest.fixture(scope="session")
def text_files():
    return {
        "a.txt": "Ein Kätzchen schläft — 一只猫在睡觉。\n".encode() * 20,
        "b.md": b"# A cat\n" * 9,
    }


@pytest.mark.parametrize("modality", ["text", "image", "audio", "points"])
def test_a_damaged_file_gives_media_or_a_media_error_and_nothing_else(
    modality, request, damaged, tmp_path, capfd, caplog
):
    module = import_module(f"omnibind.media.{modality}")
    files = request.getfixturevalue(f"{modality}_files") | small_examples(modality)
    random = np.random.default_rng(list(SUFFIXES).index(modality))
    restart_peak()
    held = peak_bytes()
    refused: list[MediaError] = []
    slowest = 0.0
    for number in range(COUNT):
        name, data = damaged(random, files)
        source = on_disk(tmp_path / f"{number}-{name}", data) if number % 2 else data
        began = time.perf_counter()
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                module.digest(module.load(source))
        except MediaError as error:
            refused.append(error)
        slowest = max(slowest, time.perf_counter() - began)
        assert {warning.category for warning in said} <= {MediaWarning}, said[0]
    assert len(refused) > COUNT // 20
    assert all(error.asked and error.found and error.next_step for error in refused)
    assert slowest < 10
    assert peak_bytes() - held < 1024**3
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def small_examples(modality):
    found = sorted(path for path in EXAMPLES.rglob("*") if path.suffix in SUFFIXES[modality])
    return {path.name: path.read_bytes() for path in found if path.stat().st_size < 200_000}


def on_disk(path, data):
    path.write_bytes(data)
    return path


def restart_peak():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_bytes():
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
