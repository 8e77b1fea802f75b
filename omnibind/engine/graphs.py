"""Forwards of small encoders as CUDA graphs: hundreds of kernels for one launch.

A graph reads the tensors that were there when it was recorded, at their addresses. It is good for
one shape of batch, and until the encoder's weights have moved. Of a network that looks at the
numbers of its batch while it runs none can be recorded; it goes on as it is.

Which encoders, how many shapes and from when on is ours, and has not been measured: no GPU was at
hand, where the lines for CUDA have not been run either.
"""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from omnibind.engine.memory.copies import RECORDING
from omnibind.engine.requests import Sample
from omnibind.specs import EncoderSpec

__all__ = ["Graphs", "recorder", "small"]

SMALL = 150_000_000
"""Parameters up to which a batch's kernels are shorter than their launches take (ours)."""
SHAPES = 4
"""Of an encoder's batches, of which graphs are kept (ours)."""
AFTER = 2
"""Forwards of a shape before it is recorded: libraries choose their kernels in them (ours)."""
SEEN = 256
"""Shapes that are counted at a time."""

Forward = Callable[[Sample], Tensor]
Record = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]
"""Runs what it is given once, and gives what repeats that: the result lies where it lay."""
Shapes = tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]


def small(spec: EncoderSpec) -> bool:
    """Whether graphs may be worth their memory."""
    return spec.params <= SMALL


class Graphs:
    """The graphs of one thread, which computes on one stream.

    Not shared: a graph's batch, its rows and what lies between them are places in memory that one
    forward at a time may use.

    Args:
        record: see `recorder`.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._kept: dict[str, _Kept] = {}
        self._refused: set[str] = set()
        self._guard = threading.Lock()

    def rows(self, key: str, load: int, forward: Forward, batch: Sample) -> Tensor:
        """What `forward` makes of a batch, by a graph where there is one or it is time for one.

        Args:
            key: of the encoder.
            load: changes whenever its weights have moved (see `Residency.settled`).
            forward: the encoder. Where it cannot be recorded, it runs as it is from then on, which
                is said in a warning, once.
            batch: on the device.
        """
        kept = self._of(key, load)
        if kept is None:
            return forward(batch)
        shapes = _shapes(batch)
        graph = kept.graphs.get(shapes)
        if graph is None:
            if not kept.due(shapes):
                return forward(batch)
            try:
                graph = kept.graphs[shapes] = _Graph(forward, batch, self._record)
            except Exception as error:  # noqa: BLE001 - whatever it is, it runs without
                self._refuse(key, error)
                return forward(batch)
        return graph(batch)

    def forget(self, key: str) -> None:
        """Drops the graphs of an encoder that nobody uses now; any thread may call."""
        with self._guard:
            self._kept.pop(key, None)

    def clear(self) -> None:
        """Drops all of them, in the thread that uses them."""
        with self._guard:
            self._kept.clear()

    @property
    def count(self) -> Counter[str]:
        """Graphs by encoder."""
        with self._guard:
            return Counter({key: len(kept.graphs) for key, kept in self._kept.items()})

    def _of(self, key: str, load: int) -> _Kept | None:
        with self._guard:
            if key in self._refused:
                return None
            if key not in self._kept or self._kept[key].load != load:
                self._kept[key] = _Kept(load)
            return self._kept[key]

    def _refuse(self, key: str, error: Exception) -> None:
        with self._guard:
            self._refused.add(key)
            self._kept.pop(key, None)
        reason = str(error).partition("\n")[0]
        warnings.warn(
            f"the encoder {key!r} runs without CUDA graphs: {type(error).__name__}: {reason}",
            stacklevel=3,
        )


def recorder(device: torch.device) -> Record:
    """Records CUDA graphs on the current stream of a thread, all in one pool of memory."""
    pool = torch.cuda.graph_pool_handle()

    def record(forward: Callable[[], Tensor]) -> Callable[[], Tensor]:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream(device)
        # other threads go on with theirs meanwhile, but for what RECORDING holds up
        mode = "thread_local"
        with RECORDING, torch.cuda.graph(graph, pool, stream, capture_error_mode=mode):
            rows = forward()
        return partial(_replayed, graph, rows)

    return record


def _replayed(graph: torch.cuda.CUDAGraph, rows: Tensor) -> Tensor:
    graph.replay()
    return rows


@dataclass
class _Kept:
    """The graphs of an encoder since its weights came to where they are."""

    load: int
    graphs: dict[Shapes, _Graph] = field(default_factory=dict["Shapes", "_Graph"])
    seen: Counter[Shapes] = field(default_factory=Counter["Shapes"])

    def due(self, shapes: Shapes) -> bool:
        """Counts a forward of these shapes, and says whether it is to be recorded."""
        if len(self.graphs) >= SHAPES:
            return False
        if len(self.seen) >= SEEN:
            self.seen.clear()
        self.seen[shapes] += 1
        return self.seen[shapes] > AFTER


class _Graph:
    """A recorded forward: batches are copied to where the first one lay."""

    def __init__(self, forward: Forward, batch: Sample, record: Record) -> None:
        self._batch = {name: tensor.clone() for name, tensor in batch.items()}
        self._repeat = record(partial(forward, self._batch))

    def __call__(self, batch: Sample) -> Tensor:
        for name, tensor in batch.items():
            self._batch[name].copy_(tensor)
        return self._repeat().clone()


def _shapes(batch: Sample) -> Shapes:
    return tuple((name, t.dtype, tuple(t.shape)) for name, t in sorted(batch.items()))
