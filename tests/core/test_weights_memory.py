"""Loading takes one copy of the network in memory, measured as the peak of a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

CASES = [
    ("float32.safetensors", "float32"),
    ("float32.pt", "float32"),
    ("float16.safetensors", "float32"),
    ("float16.pt", "float32"),
    ("bfloat16.pt", "float32"),
    ("float16.safetensors", "float16"),
    ("float16.pt", "bfloat16"),
]
PARAMETERS = 40 * 1000 * 1875  # 300 MB of float32

NET = """
from torch import nn
from omnibind.weights import load_state

class Net(nn.ModuleList):
    def __init__(self, size, assets):
        super().__init__(nn.Linear(1000, 1875, bias=False) for _ in range(40))

    def load_official(self, state):
        return load_state(self, state, rename=lambda key: key.removeprefix("model."))
"""
MEASURE = """
import json, sys
from pathlib import Path
import torch
from omnibind.specs import EncoderSpec
from omnibind.weights import build_encoder

def kilobytes(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))

def peak(file, dtype):
    card = EncoderSpec(key="net", modality="text", dim=1, params=1, flops_per_item=1,
                       build="net:Net", weights=(f"file:{file}",))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = kilobytes("VmRSS")
    net = build_encoder(card, dtype=dtype)
    total = sum(float(p.flatten()[::1000].float().sum()) for p in net.parameters())  # every page
    kept = sum(parameter.nbytes for parameter in net.parameters())
    return (kilobytes("VmHWM") - before) * 1024 / kept, kept, total

peak(sys.argv[1], None)  # imports what is imported late
json.dump([peak(file, getattr(torch, dtype)) for file, dtype in json.loads(sys.argv[2])],
          sys.stdout)
"""


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[float]]:
    """Peak over what is kept, bytes that are kept, and their sum; for each file and dtype."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of a process is read from Linux' /proc")
    folder = tmp_path_factory.mktemp("weights")
    (folder / "net.py").write_text(NET)
    whole = {f"{i}.weight": torch.rand(1875, 1000) for i in range(40)}
    for file in {file for file, _ in CASES}:
        dtype = getattr(torch, file.partition(".")[0])
        state = {key: tensor.to(dtype) for key, tensor in whole.items()}
        if file.endswith(".pt"):
            torch.save({"model": state}, folder / file)
        else:
            save_file(state, folder / file)
    script = [sys.executable, "-c", MEASURE, "float32.pt", json.dumps(CASES)]
    done = subprocess.run(
        script,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for path in folder.iterdir():
        path.unlink()
    return dict(zip(CASES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(("file", "dtype"), CASES)
def test_the_peak_is_at_most_a_tenth_above_what_is_kept(
    peaks: dict[tuple[str, str], list[float]], file: str, dtype: str
) -> None:
    peak, kept, total = peaks[file, dtype]
    print(f"{file} kept as {dtype}: {peak:.3f}")  # shown by `pytest -rP`
    assert kept == PARAMETERS * getattr(torch, dtype).itemsize
    assert 0.9 < peak < 1.1
    assert total == pytest.approx(PARAMETERS / 2000, rel=0.02)
