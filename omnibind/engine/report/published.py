"""An engine says what it does, once a second, where `omnibind top` reads it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from omnibind.engine.report.stats import EncoderStats, Stats
from omnibind.running import (
    DeviceReport,
    EncoderReport,
    EngineReport,
    new_file,
    write_report,
)

__all__ = ["INTERVAL", "Publisher", "report_of"]

INTERVAL = 1.0
"""Seconds between two writings, and before the first: short calls write nothing (ours)."""


class Publisher:
    """A daemon thread that writes an engine's report while something changes.

    It starts with the engine's first call, and deletes the file when it ends. Nobody who embeds
    depends on it: where the file cannot be written, it is not, and nothing is said.

    Args:
        stats: takes a snapshot; it must not hold the engine, which ends this thread.
        interval: seconds between two writings.
    """

    def __init__(self, stats: Callable[[], Stats], interval: float = INTERVAL) -> None:
        self.path = new_file()
        self._stats, self._interval = stats, interval
        self._guard = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts writing, unless it has started or ended."""
        if self._thread is not None:
            return
        with self._guard:
            if self._thread is None and not self._closed.is_set():
                thread = threading.Thread(target=self._work, name="omnibind-published", daemon=True)
                thread.start()
                self._thread = thread  # not before: an interrupt may have kept it from starting

    def close(self) -> None:
        """Ends the thread, and waits until the file is gone."""
        with self._guard:
            self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        process, before = os.getpid(), self._stats()
        written: EngineReport | None = None
        try:
            while not self._closed.wait(self._interval):
                now = self._stats()
                report = report_of(now, before, process)
                before = now
                if written is None or _news(report, written) or not self.path.exists():
                    with suppress(OSError):
                        write_report(self.path, report)
                    written = report
        finally:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)


def report_of(now: Stats, before: Stats, process: int) -> EngineReport:
    """What people want to know of two snapshots.

    Args:
        now: the later one.
        before: the earlier one.
        process: number of the engine's process.
    """
    interval = max(now.seconds - before.seconds, 1e-9)
    rates = {m: (now.done.get(m, 0) - before.done.get(m, 0)) / interval for m in now.items}
    keys = dict.fromkeys([*now.encoders, *now.waiting])
    return EngineReport(
        process=process,
        written=time.time(),
        seconds=now.seconds,
        interval=interval,
        items=now.items,
        done=now.done,
        items_per_second=rates,
        failed=now.failed,
        waiting_bytes=now.waiting_bytes,
        devices=tuple(
            DeviceReport(
                name=lane.name,
                budget_bytes=lane.budget,
                resident_bytes=lane.resident_bytes,
                moved_bytes=lane.moved,
                loads=lane.loads,
                evicted=lane.evicted,
            )
            for lane in now.lanes
        ),
        encoders={key: _encoder(key, now, before, interval) for key in keys},
    )


def _encoder(key: str, now: Stats, before: Stats, interval: float) -> EncoderReport:
    total = now.encoders.get(key, EncoderStats())
    lately = total.since(before.encoders.get(key, EncoderStats()))
    began = lately if lately.batched else total
    through = lately if lately.items or lately.failed else total
    rows = lately if lately.items or lately.cached else total
    return EncoderReport(
        items=total.items,
        cached=total.cached,
        failed=total.failed,
        items_per_second=lately.items / interval,
        batch_fill=began.fill,
        queue_seconds=began.queue_seconds,
        forward_seconds=through.item_seconds,
        cached_share=rows.cached_share,
        waiting=now.waiting.get(key, 0),
    )


def _news(report: EngineReport, written: EngineReport) -> bool:
    """Whether anything but the time has changed."""
    as_then = {"written": written.written, "seconds": written.seconds}
    return replace(report, interval=written.interval, **as_then) != written
