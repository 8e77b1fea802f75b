"""Which engines are at work on this machine: each has a small JSON file, read without torch.

The files are `engines/<host>/<process>-<letters>.json` in the cache folder. An engine writes its
own and deletes it when it ends; those of killed processes are deleted by whoever looks next.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnibind.cache import cache_folder

__all__ = [
    "DeviceReport",
    "EncoderReport",
    "EngineReport",
    "command_of",
    "engines_folder",
    "new_file",
    "running_engines",
    "write_report",
]


@dataclass(frozen=True, kw_only=True)
class EncoderReport:
    """One encoder. Means are over the last interval, or all time where it had nothing to do.

    Attributes:
        items: rows that it has made.
        cached: rows that were known and not made again.
        failed: items that it could not encode.
        items_per_second: made in the last interval.
        batch_fill: mean share of a batch's places that were taken.
        queue_seconds: mean time that an item waited for its batch.
        forward_seconds: mean time of a forward for one of its items.
        cached_share: rows that were known, of all rows.
        waiting: items that wait for it now.
    """

    items: int
    cached: int
    failed: int
    items_per_second: float
    batch_fill: float
    queue_seconds: float
    forward_seconds: float
    cached_share: float
    waiting: int


@dataclass(frozen=True, kw_only=True)
class DeviceReport:
    """One device.

    Attributes:
        name: `cpu`, `cuda:0`, ...
        budget_bytes: that weights may take; None is without bound.
        resident_bytes: of each encoder that is there now.
        moved_bytes: of weights that went there, by encoder.
        loads: how often they went there.
        evicted: how often weights had to make room.
    """

    name: str
    budget_bytes: int | None
    resident_bytes: Mapping[str, int]
    moved_bytes: Mapping[str, int]
    loads: Mapping[str, int]
    evicted: int


@dataclass(frozen=True, kw_only=True)
class EngineReport:
    """One engine.

    Attributes:
        process: its number on this machine.
        written: when this was said, in s since 1970.
        seconds: since the engine was made.
        interval: seconds over which rates are taken.
        items: that callers gave, by modality.
        done: of these, those that have all their rows.
        items_per_second: that got their last row in the last interval.
        failed: of all items, those that cannot have their rows.
        waiting_bytes: of samples that wait for a batch.
        devices: where it runs encoders.
        encoders: by key.
    """

    process: int
    written: float
    seconds: float
    interval: float
    items: Mapping[str, int]
    done: Mapping[str, int]
    items_per_second: Mapping[str, float]
    failed: int
    waiting_bytes: int
    devices: Sequence[DeviceReport]
    encoders: Mapping[str, EncoderReport]


def engines_folder() -> Path:
    """Where the engines of this machine have their files; it need not be there."""
    return cache_folder() / "engines" / platform.node()


def new_file() -> Path:
    """A name that no engine's file has yet, for one of this process."""
    return engines_folder() / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.json"


def write_report(path: Path, report: EngineReport) -> None:
    """Writes a file so that nobody ever reads half of it; only its owner may read it.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}.", suffix=".part")
    try:
        with os.fdopen(number, "w") as file:
            file.write(json.dumps(report, default=vars))
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def running_engines() -> list[EngineReport]:
    """What each engine on this machine said last, by process; deletes files of dead processes.

    A file that another version of omnibind wrote in another form is passed over.
    """
    found: list[EngineReport] = []
    for path in sorted(engines_folder().glob("*-*")):
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            if not _is_of_living(path):
                path.unlink(missing_ok=True)
            elif path.suffix == ".json":
                found.append(_report(json.loads(path.read_text())))
    return sorted(found, key=lambda report: (report.process, -report.seconds))


def command_of(process: int) -> str:
    """How a process was started, without its Python; empty where that may not be known."""
    import psutil

    try:
        words = psutil.Process(process).cmdline()
    except psutil.Error:
        return ""
    if len(words) > 1 and Path(words[0]).name.startswith("python"):
        words = words[2:] if words[1] == "-m" else words[1:]
    return " ".join([Path(words[0]).name, *words[1:]] if words else [])


def _is_of_living(path: Path) -> bool:
    """Whether the process that wrote a file is there; another one may have its number by now."""
    import psutil

    try:
        process = psutil.Process(int(path.name.partition("-")[0]))
        dead = process.status() == psutil.STATUS_ZOMBIE
        return not dead and process.create_time() <= path.stat().st_mtime
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _report(facts: dict[str, Any]) -> EngineReport:
    facts["devices"] = tuple(DeviceReport(**device) for device in facts["devices"])
    encoders: dict[str, dict[str, Any]] = facts["encoders"]
    facts["encoders"] = {key: EncoderReport(**one) for key, one in encoders.items()}
    return EngineReport(**facts)
