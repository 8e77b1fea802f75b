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
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from omnibind.engine.memory.copies import RECORDING
from omnibind.engine.requests import Sample
from omnibind.specs import EncoderSpec

__all__ = ["Captures", "CudaCaptures", "Graphs", "recorder", "small"]

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
Pool = Any
"""Of memory that graphs may share; torch names it by numbers."""


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
        first: BaseException = error
        while first.__context__:  # ending the recording has failed then too, and says less
            first = first.__context__
        reason = str(first).partition("\n")[0]
        warnings.warn(
            f"the encoder {key!r} runs without CUDA graphs: {type(first).__name__}: {reason}",
            stacklevel=3,
        )


@runtime_checkable
class Captures(Protocol):
    """What a device does for a recording."""

    def new_pool(self) -> Pool:
        """A pool of memory that no graph has yet."""
        ...

    def capture(self, forward: Callable[[], Tensor], pool: Pool) -> Callable[[], Tensor]:
        """Records `forward`; gives what repeats it."""
        ...

    def abandon(self, pool: Pool) -> None:
        """Puts in order what a capture into a pool that failed has left."""
        ...


def recorder(captures: Captures) -> Record:
    """Records graphs, all in one pool of memory; after a failure, in a fresh one."""
    pool = captures.new_pool()

    def record(forward: Callable[[], Tensor]) -> Callable[[], Tensor]:
        nonlocal pool
        with RECORDING:
            try:
                return captures.capture(forward, pool)
            except BaseException:
                failed, pool = pool, captures.new_pool()
                captures.abandon(failed)
                raise

    return record


class CudaCaptures:
    """Captures on the current stream of a thread. None of it has been run: no GPU was at hand.

    A capture that fails is over for the stream: `cudaStreamEndCapture` ends it and gives an error.
    torch 2.11 raises that before it has put its own things in order; later versions do some of it.

    * The allocator takes the pool to be captured into still: it refuses it for other captures,
      and frees no cached blocks. `abandon` ends that, and gives back the capture's share of it.
    * The random generator takes itself to be captured: it refuses random numbers, and the replay
      of graphs made before. `abandon` makes a capture that succeeds, which puts it right.
    * The allocator of pinned memory takes the pool to be captured into too, and asks the graph at
      every allocation whether it is meant. The graph says no as long as it exists: it is kept for
      ever. It has next to no memory, and nothing in Python ends this.
    """

    failed: ClassVar[list[torch.cuda.CUDAGraph]] = []

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def new_pool(self) -> Pool:
        """As of `Captures`."""
        return torch.cuda.graph_pool_handle()

    def capture(self, forward: Callable[[], Tensor], pool: Pool) -> Callable[[], Tensor]:
        """As of `Captures`; other threads go on meanwhile, but for what RECORDING holds up."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.device)
        mode = "thread_local"
        try:
            with torch.cuda.graph(graph, pool, stream, capture_error_mode=mode):
                rows = forward()
        except BaseException:
            self.failed.append(graph)
            raise
        return partial(_replayed, graph, rows)

    def abandon(self, pool: Pool) -> None:
        """As of `Captures`."""
        number = self.device.index or 0
        with suppress(RuntimeError):  # of a torch that has ended it and says so
            torch._C._cuda_endAllocateToPool(number, pool)  # pyright: ignore
            torch._C._cuda_releasePool(number, pool)  # pyright: ignore
        with suppress(RuntimeError):  # the device is lost, and what failed says so
            self.capture(torch.zeros((), device=self.device).zero_, self.new_pool())


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
