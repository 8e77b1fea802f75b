"""What a figure was measured on: processor, memory, accelerators, threads, versions."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["Gpu", "Machine", "cores", "describe"]

LIBRARIES = (
    "omnibind",
    "torch",
    "torchvision",
    "torchaudio",
    "timm",
    "open_clip_torch",
    "transformers",
    "numpy",
    "pillow",
    "soundfile",
    "soxr",
    "trimesh",
)


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One accelerator; its memory in bytes."""

    name: str
    memory: int
    capability: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Hardware and versions.

    Attributes:
        cpu: the processor's name.
        cores: logical processors that this process may use.
        memory: of the host, in bytes.
        gpus: accelerators that torch sees.
        driver: of the accelerators; empty where there are none.
        threads: that torch takes for one operation on the CPU.
        load: processes that were running or waiting, the mean of a minute, when this was read:
            other work on the machine shows here.
        system: of the host.
        versions: library -> version; what is not installed is left out.
    """

    cpu: str
    cores: int
    memory: int
    gpus: tuple[Gpu, ...]
    driver: str
    threads: int
    load: float
    system: str
    versions: dict[str, str]


def describe() -> Machine:
    """Reads it; torch is imported now, not with this module."""
    import torch

    versions = {name: found for name in LIBRARIES if (found := _version(name))}
    versions |= {"python": platform.python_version()}
    versions |= {"cuda": str(torch.version.cuda)} if torch.version.cuda else {}
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Machine(
        cpu=_cpu(),
        cores=cores(),
        memory=_memory(),
        gpus=tuple(_gpu(index) for index in range(count)),
        driver=_driver() if count else "",
        threads=torch.get_num_threads(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        system=platform.platform(),
        versions=versions,
    )


def cores() -> int:
    """Logical processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpu(index: int) -> Gpu:
    import torch

    facts = torch.cuda.get_device_properties(index)
    return Gpu(
        name=facts.name, memory=facts.total_memory, capability=f"{facts.major}.{facts.minor}"
    )


def _cpu() -> str:
    listed = Path("/proc/cpuinfo")
    text = listed.read_text() if listed.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0


def _driver() -> str:
    listed = Path("/proc/driver/nvidia/version")
    found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", listed.read_text()) if listed.is_file() else None
    return found[0] if found else "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
