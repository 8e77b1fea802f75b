"""What a run takes: the device's memory at its peak, and the operations that the time goes to."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.profiler import ProfilerActivity, profile

__all__ = ["Peak", "peak_of", "profiled"]

LINES = 40
"""Of the table."""


@dataclass
class Peak:
    """Bytes that tensors took on a device at most; None where torch does not count them."""

    nbytes: int | None = None


@contextmanager
def peak_of(device: torch.device) -> Generator[Peak]:
    """Looks at a device meanwhile. On a GPU it has not been run yet: none was at hand."""
    found = Peak()
    if device.type != "cuda":
        yield found
        return
    torch.cuda.reset_peak_memory_stats(device)
    yield found
    found.nbytes = torch.cuda.max_memory_allocated(device)


@contextmanager
def profiled(file: Path, device: torch.device) -> Generator[None]:
    """Writes which operations of all threads took how long, and when.

    Args:
        file: a name that ends in `.json` gets a trace for Perfetto or chrome://tracing, any other a
            table of the operations that took longest, by the device's time where it has one.
        device: the host is looked at too.
    """
    on_gpu = device.type == "cuda"
    looked_at = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    every_thread = cast("Any", torch)._C._profiler._ExperimentalConfig(profile_all_threads=True)
    with profile(activities=looked_at, experimental_config=every_thread, acc_events=True) as found:
        yield
    if file.suffix == ".json":
        found.export_chrome_trace(str(file))
        return
    by = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    table = found.key_averages().table(sort_by=by, row_limit=LINES)
    file.write_text(table + "\n", encoding="utf-8")
