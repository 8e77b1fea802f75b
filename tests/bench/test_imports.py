"""The engine and its benchmarks run where only torch and the media libraries are."""

from __future__ import annotations

import subprocess
import sys

BLOCKED = ("lance", "open3d", "gradio", "faiss", "lightning_fabric", "tensorboardX")
PROGRAM = f"""
import sys
for name in {BLOCKED!r}:
    sys.modules[name] = None  # an import of it fails
import omnibind.engine, omnibind.bench.ceiling, omnibind.bench.throughput, omnibind.bench.threads
import omnibind.bench.overhead, omnibind.bench.endurance, omnibind.bench.precision
import omnibind.cli.bench
from omnibind.plugins import registry
assert len(registry().recipe("large").spaces) == 13, registry().recipe("large").spaces
model = omnibind.bench.setting.Setting(recipe="base", size="tiny", weights="random").model()
assert model.embed(["a cat"]).rows.shape[0] == 1
"""


def test_engine_and_benchmarks_need_no_optional_library() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
