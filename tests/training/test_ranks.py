"""Two real processes, one global batch: the losses and gradients of one process."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from omnibind.errors import TrainingError
from omnibind.training.ranks import ALONE, Ranks

SCRIPT = Path(__file__).with_name("two_ranks.py")


def _alone(out):
    spec = util.spec_from_file_location("two_ranks", SCRIPT)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(str(out), 1)
    return load_file(out)


def _both(out):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, SCRIPT, out, "2"], env=clean, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return load_file(out)


def test_two_processes_have_the_loss_gradients_and_statistics_of_one(tmp_path):
    alone, both = _alone(tmp_path / "1.safetensors"), _both(tmp_path / "2.safetensors")
    assert alone.keys() == both.keys()
    assert {"heads/loss", "routers/loss"} <= alone.keys()
    for key, value in alone.items():
        assert torch.allclose(both[key].double(), value.double(), atol=1e-5, rtol=1e-5), key
    assert max(float(v.abs().max()) for k, v in alone.items() if "gradient" in k) > 0.01


def test_a_batch_that_the_devices_cannot_share_is_refused():
    ranks = Ranks()
    ranks.world = 3
    with pytest.raises(TrainingError, match="2 left over"):
        ranks.part(50)


def test_alone_everything_is_given_back():
    x = torch.randn(3, 2)
    assert ALONE.gather(x, 0) is x
    assert ALONE.total(x) is x
    assert ALONE.part(7) == slice(0, 7)
