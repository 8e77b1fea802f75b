"""How media of any length becomes a few windows of one length, and their rows one row again."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnibind.media.excerpts import MOST, evenly

__all__ = ["MOST", "every", "joined", "max_rows", "mean_rows", "windows"]


def windows(
    excerpts: Float[Tensor, "excerpt ... time"], length: int, *, slack: int = 0
) -> list[Tensor]:
    """At most 30 windows, evenly spread from the first sample to the last: `[*signal, length]`.

    Up to thirty times their length they cover everything. Of a long sound, which comes as several
    excerpts, each gives one, at the place it would have in the whole sound. Ours.

    Args:
        excerpts: as `Audio.excerpts` gives them; one where nothing is left out.
        length: samples of a window; something shorter is one window, as short as it is.
        slack: samples beyond a whole number of windows that are not worth one more.
    """
    count, held = len(excerpts), excerpts.shape[-1]
    room = max(0, held - length)
    if count > 1:
        return [
            one[..., start : start + length]
            for one, start in zip(excerpts, evenly(count, room), strict=True)
        ]
    count = min(MOST, max(1, -(-(held - slack) // length)))
    return [excerpts[0, ..., start : start + length] for start in evenly(count, room)]


def every(
    values: Float[Tensor, "time ..."], length: int, hop: int, *, shortest: int, most: int = MOST
) -> Float[Tensor, "window {length} ..."]:
    """Windows every `hop` steps, for networks that were published with a step of their own.

    Args:
        values: of one sound.
        length: steps of a window; the last one is filled up with zeros.
        hop: steps between two starts.
        shortest: with fewer real steps the last window is left out, unless it is the only one.
        most: of more windows so many are kept, evenly spread.
    """
    count = 1 + max(0, -(-(len(values) - length) // hop))
    if count > 1 and len(values) - (count - 1) * hop < shortest:
        count -= 1
    starts = torch.arange(count) * hop
    if count > most:
        starts = starts[torch.linspace(0, count - 1, most).round().long()]
    missing = max(0, int(starts[-1]) + length - len(values))
    filled = torch.cat([values, values.new_zeros(missing, *values.shape[1:])])
    return torch.stack([filled[start : start + length] for start in starts.tolist()])


def joined(items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A `collate`: the windows of all items one after another, and `count`, how many each has."""
    batch = {name: torch.cat([item[name] for item in items]) for name in items[0]}
    return batch | {"count": torch.tensor([len(next(iter(item.values()))) for item in items])}


def mean_rows(
    rows: Float[Tensor, "window dim"], count: Int[Tensor, " item"]
) -> Float[Tensor, "item dim"]:
    """The mean of each item's rows, which come one after another; not at unit norm."""
    owner = torch.repeat_interleave(count, output_size=len(rows))
    total = rows.new_zeros(len(count), rows.shape[1]).index_add_(0, owner, rows)
    return total / count[:, None].to(rows.dtype)


def max_rows(
    rows: Float[Tensor, "window dim"], count: Int[Tensor, " item"]
) -> Float[Tensor, "item dim"]:
    """The largest of each item's rows in each place, likewise."""
    owner = torch.repeat_interleave(count, output_size=len(rows))
    least = rows.new_full((len(count), rows.shape[1]), -torch.inf)
    return least.scatter_reduce_(0, owner[:, None].expand_as(rows), rows, "amax")
