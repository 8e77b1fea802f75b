"""How a sound of any length becomes a few windows of one length, and one row again."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["LIMIT", "cut", "max_over_windows", "mean_over_windows", "real", "stacked"]

LIMIT = 20


def cut(values: Tensor, length: int, hop: int, shortest: int) -> Tensor:
    """Windows along the first axis: `[time, ...]` -> `[window, length, ...]`, at most 20.

    The last window is filled up with zeros, or left out when fewer than `shortest` steps of it
    are real (the first is always kept). Of a long sound, 20 windows evenly spread are kept:
    the same file gives the same row.
    """
    count = 1 + max(0, -(-(len(values) - length) // hop))
    if count > 1 and len(values) - (count - 1) * hop < shortest:
        count -= 1
    starts = torch.arange(count) * hop
    if count > LIMIT:
        starts = starts[torch.linspace(0, count - 1, LIMIT).round().long()]
    missing = max(0, int(starts[-1]) + length - len(values))
    filled = pad(values, (0, 0) * (values.dim() - 1) + (0, missing))
    return torch.stack([filled[start : start + length] for start in starts.tolist()])


def stacked(items: list[Tensor]) -> dict[str, Tensor]:
    """Windows of several sounds as one tensor, and how many of each are real."""
    return {
        "windows": torch.nn.utils.rnn.pad_sequence(items, batch_first=True),
        "count": torch.tensor([len(item) for item in items]),
    }


def mean_over_windows(rows: Tensor, count: Tensor) -> Tensor:
    """Mean of each item's rows, given one after another: `[sum of count, dim]` -> `[item, dim]`."""
    owner = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    total = rows.new_zeros(len(count), rows.shape[1]).index_add_(0, owner, rows)
    return total / count[:, None].to(rows.dtype)


def max_over_windows(rows: Tensor, count: Tensor) -> Tensor:
    """Largest of each item's rows, likewise: `[sum of count, dim]` -> `[item, dim]`."""
    return torch.stack([own.amax(0) for own in rows.split(count.tolist())])


def real(batch: dict[str, Tensor]) -> Tensor:
    """The windows of a batch that are no filling, one after another."""
    windows, count = batch["windows"], batch["count"]
    places = torch.arange(windows.shape[1], device=count.device)
    return windows[places < count[:, None]]
