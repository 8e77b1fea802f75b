"""`omnibind top`: what the engines of this machine do now, without importing torch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from omnibind.cli.options import AsJson
from omnibind.cli.printing import drawn, number, print_json, print_table, talk
from omnibind.errors import SetupError
from omnibind.running import EngineReport, command_of, engines_folder, running_engines

app = typer.Typer()
EVERY = 1.0
"""Seconds between two looks."""
SILENT = 5.0
"""Seconds after which an engine that was at work and says no more is pointed out."""
Table = tuple[Sequence[str], list[tuple[object, ...]]]


@app.command()
def top(
    once: Annotated[bool, typer.Option("--once", help="Print it once; in a pipe, always.")] = False,
    pid: Annotated[
        int | None, typer.Option("--pid", help="Only the engines of this process.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what every engine on this machine does now. Ctrl-C ends it.

    Rates are over the last second; an engine shows once it has been at work for a second.
    """
    reports = _found(pid)
    if pid is not None and not reports:
        raise _nothing_in(pid)
    if as_json:
        print_json([{"command": command_of(r.process), **vars(r)} for r in reports])
    elif once or not sys.stdout.isatty():
        _print(reports)
    else:
        _watch(reports, pid)


def _found(pid: int | None) -> list[EngineReport]:
    return [report for report in running_engines() if pid in (None, report.process)]


def _print(reports: Sequence[EngineReport]) -> None:
    if not reports:
        talk(_nothing())
        return
    print_table(*_engines(reports))
    print()
    print_table(*_encoders(reports))


def _watch(reports: Sequence[EngineReport], pid: int | None) -> None:
    """Shows a live table until Ctrl-C, or until the one process ends."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    def shown() -> Group:
        if not reports:
            return Group(Text(_nothing()))
        return Group(drawn(*_engines(reports)), Text(), drawn(*_encoders(reports)))

    try:
        with Live(shown(), auto_refresh=False) as live:
            while reports or pid is None:
                time.sleep(EVERY)
                reports = _found(pid)
                live.update(shown(), refresh=True)
    except KeyboardInterrupt:
        return
    talk(f"process {pid} has no engine at work any more")


def _engines(reports: Sequence[EngineReport]) -> Table:
    titles = [
        "process",
        "device",
        ">budget",
        ">resident",
        ">moved",
        ">evicted",
        "items/s",
        "command",
    ]
    return titles, [
        (
            _process(report),
            device.name,
            "none" if device.budget_bytes is None else _bytes(device.budget_bytes),
            _bytes(sum(device.resident_bytes.values())),
            _bytes(sum(device.moved_bytes.values())),
            device.evicted,
            _rates(report),
            command_of(report.process),
        )
        for report in reports
        for device in report.devices
    ]


def _encoders(reports: Sequence[EngineReport]) -> Table:
    titles = [
        *("process", "encoder", "on", ">items/s", ">items", ">fill", ">queue ms", ">forward ms"),
        *(">cached", ">waiting", ">failed"),
    ]
    return titles, [
        (
            report.process,
            key,
            ", ".join(d.name for d in report.devices if key in d.resident_bytes) or "-",
            number(one.items_per_second),
            one.items,
            f"{one.batch_fill:.0%}" if one.items else "-",
            number(1000 * one.queue_seconds) if one.items else "-",
            number(1000 * one.forward_seconds) if one.items else "-",
            f"{one.cached_share:.0%}",
            one.waiting,
            one.failed,
        )
        for report in reports
        for key, one in report.encoders.items()
    ]


def _process(report: EngineReport) -> str:
    age = time.time() - report.written
    works = any(report.items_per_second.values())
    return (
        f"{report.process}, silent for {age:.0f} s"
        if works and age > SILENT
        else str(report.process)
    )


def _rates(report: EngineReport) -> str:
    rates = {name: rate for name, rate in report.items_per_second.items() if rate}
    return ", ".join(f"{name} {number(rate)}" for name, rate in rates.items()) or "0"


def _bytes(count: int) -> str:
    text = number(count)
    return f"{text}B" if " " in text else f"{text} B"


def _nothing() -> str:
    folder = engines_folder()
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not os.access(there, os.W_OK):
        return f"no engine can say what it does: {there} may not be written"
    return f"no engine is at work on this machine, or not for a second yet (looked in {folder})"


def _nothing_in(pid: int) -> SetupError:
    others = sorted({str(report.process) for report in running_engines()})
    return SetupError(
        f"what the engines of process {pid} do",
        found=f"engines at work in: {', '.join(others)}" if others else _nothing(),
        next_step="`omnibind top` shows all; an engine shows after its first second at work",
    )
