"""What a run shows while it lasts: curves for TensorBoard, the same as JSON, an estimate."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

from omnibind.errors import TrainingError
from omnibind.writing import saying_no_room, write_text

__all__ = ["Curves", "Pace", "read_curves"]

RECENT = 50


class Curves:
    """Writes points to `curves.jsonl` and to TensorBoard event files in `curves/`.

    After a kill, points from the step that is gone on with, or later, are taken back.

    Args:
        folder: made if it is not there.
        start: the first step that will be added.
        writes: False for processes whose points somebody else writes.
    """

    def __init__(self, folder: Path, start: int, *, writes: bool = True) -> None:
        self._writes = writes
        if not writes:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "curves.jsonl"
        kept = [point for point in read_curves(folder) if point["step"] < start]
        write_text(path, "".join(json.dumps(point) + "\n" for point in kept))
        self._lines = path.open("a", encoding="utf-8")
        self._events = Events(folder / "curves", start)

    def __enter__(self) -> Curves:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writes:
            with suppress(OSError):  # what has not been written by now has been refused
                self._lines.close()
            with suppress(OSError):
                self._events.close()

    def add(self, step: int, points: Mapping[str, float]) -> None:
        """One point of each curve.

        Raises:
            NoRoomError: the disk is full.
        """
        if not self._writes:
            return
        with saying_no_room(Path(self._lines.name)):
            self._lines.write(json.dumps({"step": step, **points}) + "\n")
            self._lines.flush()
            self._events.add(step, points)


class Pace:
    """How long the rest will take: the median of the latest steps times those that are left.

    Args:
        steps: that are to come.
    """

    def __init__(self, steps: int) -> None:
        self._left = steps
        self._last: float | None = None
        self._recent: deque[float] = deque(maxlen=RECENT)

    def after_step(self, now: float) -> float:
        """Estimated seconds that remain; NaN after the first step, which says nothing yet."""
        self._left -= 1
        if self._last is not None:
            self._recent.append(now - self._last)
        self._last = now
        return median(self._recent) * self._left if self._recent else float("nan")


def read_curves(folder: Path) -> list[dict[str, Any]]:
    """The points of `curves.jsonl`; a line that a kill cut short is left out."""
    path = folder / "curves.jsonl"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split(os.linesep)
    whole = lines[:-1]  # what follows the last line break was cut short, or is empty
    return [json.loads(line) for line in whole]


class Events:
    """A file of TensorBoard's.

    tensorboardX's own `SummaryWriter` writes in a thread: when that dies, of a full disk say, who
    adds a point waits for ever. Its records without the thread raise what is wrong.

    Args:
        folder: made if it is not there.
        start: points of this step and later ones, in older files, no longer count.
    """

    def __init__(self, folder: Path, start: int) -> None:
        try:
            self._parts = import_module("tensorboardX.proto.event_pb2")
            self._summary = import_module("tensorboardX.summary")
            records = import_module("tensorboardX.record_writer").RecordWriter
        except ImportError as error:
            raise TrainingError(
                "curves for TensorBoard",
                found="no package tensorboardX",
                next_step="pip install 'omnibind[train]'",
            ) from error
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{start}"
        self._file = records(str(folder / name))
        self._write(0, file_version="brain.Event:2")
        self._write(start, session_log={"status": self._parts.SessionLog.START})

    def add(self, step: int, points: Mapping[str, float]) -> None:
        """One point of each curve, on the disk when this returns."""
        for name, value in points.items():
            self._write(step, summary=self._summary.scalar(name, value))
        self._file.flush()

    def close(self) -> None:
        """Nothing is added any more."""
        self._file.close()

    def _write(self, step: int, **what: Any) -> None:
        event = self._parts.Event(wall_time=time.time(), step=step, **what)
        self._file.write(event.SerializeToString())
