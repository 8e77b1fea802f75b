"""Movement: what an inertial measurement unit (IMU) felt, three accelerations and three turns.

Files are tables of text: seconds, three accelerations in m/s², three rates of turn in rad/s a
line, with commas or spaces between; lines that start with a letter or `#` are left out. Say
`modality="imu"`.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from omnibind.media.arrays import as_array, is_array
from omnibind.media.source import decoding, describe, read, refusal

__all__ = ["Movement", "claims", "digest", "load"]

SIGNALS = 6
MOST_STEPS = 10_000_000
RATES = (1.0, 100_000.0)
"""Rates that are believed, in Hz (ours)."""
STEP = "give ([6, time], rate in Hz), or a table of seconds and six readings a line"


@dataclass(frozen=True, eq=False)
class Movement:
    """One recording.

    Attributes:
        readings: accelerations along x, y, z in m/s², then rates of turn about them in rad/s.
        rate: readings a second of each, in Hz.
    """

    readings: Float[Tensor, "signal=6 time"]
    rate: float


def load(source: object) -> Movement:
    """Reads a recording.

    Args:
        source: a path, the bytes of a table, a `Movement`, or `(readings, rate)`: an array or
            tensor `[6, time]` or `[time, 6]` and its rate in Hz.
    Raises:
        MediaError: no recording, damaged, empty, too long, or with NaN readings.
    """
    if isinstance(source, Movement):
        source = (source.readings, source.rate)
    if isinstance(source, tuple) and len(pair := cast("tuple[Any, ...]", source)) == 2:
        label = f"({describe(pair[0])} at {pair[1]} Hz)"
        with decoding("imu", label):
            return _checked(_upright(pair[0], label), float(pair[1]), label)
    content = read(source, "imu")
    with decoding("imu", content.label):
        return _checked(*_from_table(content.data, content.label), content.label)


def claims(thing: object) -> bool:
    """Whether the object is a `Movement`; arrays may be anything, so they need `modality="imu"`."""
    return isinstance(thing, Movement)


def digest(media: Movement) -> bytes:
    """Equal readings and rate, equal digest."""
    head = f"{tuple(media.readings.shape)} {media.rate}".encode()
    summary = blake2b(head, digest_size=16, person=b"imu")
    summary.update(media.readings.contiguous().numpy().data)
    return summary.digest()


def _upright(readings: Any, label: str) -> NDArray[Any]:
    if not is_array(readings) or readings.ndim != 2 or SIGNALS not in readings.shape:
        raise refusal("imu", label, found="no array of six signals", next_step=STEP)
    table = as_array(readings)
    return table if table.shape[0] == SIGNALS else table.T


def _from_table(data: bytes, label: str) -> tuple[NDArray[Any], float]:
    """Readings at even steps of the mean rate, between which lines are drawn."""
    lines = [line for line in data.replace(b",", b" ").splitlines() if not _is_heading(line)]
    table = np.loadtxt(lines, ndmin=2, max_rows=MOST_STEPS)
    if table.shape[1] != SIGNALS + 1 or len(table) < 2 or not (np.diff(table[:, 0]) > 0).all():
        found = f"{len(table)} lines of {table.shape[1]} numbers, or seconds that do not increase"
        raise refusal("imu", label, found=found, next_step=STEP)
    seconds = table[:, 0]
    even = np.linspace(seconds[0], seconds[-1], len(table))
    readings = np.stack([np.interp(even, seconds, signal) for signal in table[:, 1:].T])
    return readings, float((len(table) - 1) / (seconds[-1] - seconds[0]))


def _is_heading(line: bytes) -> bool:
    return not line.strip() or line.lstrip()[:1].isalpha() or line.lstrip().startswith((b"#", b'"'))


def _checked(readings: NDArray[Any], rate: float, label: str) -> Movement:
    found = ""
    if not 2 <= readings.shape[1] <= MOST_STEPS:
        found = f"{readings.shape[1]:,} readings of each signal; 2 to {MOST_STEPS:,} are taken"
    elif not RATES[0] <= rate <= RATES[1]:
        found = f"a rate of {rate:g} Hz; {RATES[0]:g} to {RATES[1]:g} are taken"
    elif not np.isfinite(readings).all():
        found = "NaN or infinite readings"
    if found:
        raise refusal("imu", label, found=found, next_step=STEP)
    return Movement(torch.from_numpy(np.array(readings, dtype=np.float32, order="C")), rate)
