"""Hours of sound are embedded in the memory of minutes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

HOURS, RATE = 3, 44_100
MEASURED = """
import sys, time
from omnibind.engine import Engine, recognise
from omnibind.plugins import registry

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))

known, engine = registry(), Engine(device="cpu", size="tiny", workers=1)
spec = known.space("clap-general").encoders["audio"]

def row(source):
    found = engine.encode([recognise(0, source, known.modalities, "audio")], {"audio": [spec]})
    assert found.rows[spec.key].shape == (1, 512), found.failures

import numpy
row((numpy.random.rand(20 * 44_100).astype("f4") - 0.5, 44_100))
before, started = peak(), time.perf_counter()
row(sys.argv[1])
print(peak() - before, round(time.perf_counter() - started, 1))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells no peak")
@pytest.mark.parametrize("kind", ["wav", "matroska"])
def test_three_hours_of_stereo_grow_the_process_by_less_than_500_mib(
    kind: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    noise = np.random.default_rng(0).integers(-9999, 9999, (1, 2 * 60 * RATE), np.int16)
    with av.open(tmp_path / "hours", "w", format=kind) as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="stereo")
        for _ in range(HOURS * 60):
            frame = av.AudioFrame.from_ndarray(noise, "s16", "stereo")
            frame.sample_rate = RATE
            container.mux(stream.encode(frame))
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "hours")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    record_property(f"MiB and s of {kind}", said.strip())
    (tmp_path / "hours").unlink()
    assert int(said.split()[0]) < 500
