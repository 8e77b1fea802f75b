"""One device at work: takes batches, has their encoder there, sends the rows back."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from omnibind.engine.batching import Batcher
from omnibind.engine.faults import device_lost, lost, out_of_memory, stripped, touch
from omnibind.engine.floor import Floor
from omnibind.engine.forward import run_batch, shapes_of
from omnibind.engine.graphs import Graphs, small
from omnibind.engine.memory.residency import Residency
from omnibind.engine.precision import Numbers
from omnibind.engine.report.stats import LaneStats, Recorder
from omnibind.engine.requests import Batch, Request, Sample
from omnibind.engine.rowcache import RowCache
from omnibind.engine.threads import share_of_processors, start_missing, use_processors
from omnibind.engine.turns import Turns
from omnibind.errors import OmnibindError, SetupError
from omnibind.specs import EncoderSpec

__all__ = ["Lane"]


class Lane:
    """A device and the threads that keep it busy.

    Args:
        name: for people.
        residency: the encoders on the device.
        batcher: where batches come from.
        stats: what is done is counted there.
        cache: rows go there; None keeps none.
        floor: is shared by forwards; None where a device of its own computes.
        numbers: what an encoder computes in.
        graphs: makes a thread's CUDA graphs; None has none.
        early: whether samples come finished (see `omnibind.engine.finishing`).
        threads: batches under way at once. On an accelerator a second one is collated and moved
            while the first computes, each on a stream of its own; on a CPU they share the
            processors.
    """

    def __init__(
        self,
        name: str,
        residency: Residency,
        batcher: Batcher,
        stats: Recorder,
        cache: RowCache | None,
        *,
        floor: Floor | None = None,
        numbers: Callable[[EncoderSpec], Numbers],
        graphs: Callable[[], Graphs] | None = None,
        early: bool = False,
        threads: int = 1,
    ) -> None:
        self.name, self.residency = name, residency
        self.device, self._numbers, self._early = residency.device, numbers, early
        self._batcher, self._stats, self._cache = batcher, stats, cache
        self._floor = floor
        self._new_graphs, self._own = graphs, threading.local()
        self._graphs: list[Graphs] = []
        residency.on_leave = self._forget
        self._turns = Turns()
        self._limits: dict[str, int] = {}
        self._placed: Collection[str] | None = None
        self._count, self._processors = threads, share_of_processors(threads)
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()

    def runs(self, key: str) -> bool:
        """Whether it is to run an encoder."""
        return self._placed is None or key in self._placed

    def limit(self, key: str) -> int:
        """Items an encoder takes at once: fewer once they did not fit into memory."""
        return self._limits.get(key, self._batcher.limits.items)

    @property
    def resident(self) -> Collection[str]:
        """Encoders that are on the device."""
        return self.residency.resident

    @property
    def side_by_side(self) -> bool:
        """Whether its threads compute side by side, on processors of their own."""
        return self.device.type == "cpu"

    def assign(self, keys: Collection[str]) -> None:
        """Says which encoders it is to run; before that, all."""
        self._placed = frozenset(keys)

    def start(self) -> None:
        """Starts working, unless it has started."""
        if len(self._threads) < self._count:
            with self._starting:
                start_missing(self._threads, self._count, self._work, f"omnibind-{self.name}")

    def close(self) -> None:
        """Waits until it has come to its end; the batcher is closed before."""
        for thread in self._threads:
            thread.join()
        self.residency.close()

    def stats(self) -> LaneStats:
        """What has been moved and is there."""
        moved, taken = dict(self.residency.moved), self.residency.room_taken
        return LaneStats(
            name=self.name,
            budget=self.residency.budget,
            resident=tuple(taken),
            resident_bytes=taken,
            loads={key: one.loads for key, one in moved.items()},
            moved={key: one.nbytes for key, one in moved.items()},
            evicted=sum(one.evictions for one in moved.values()),
        )

    def _work(self) -> None:
        try:
            if self.device.type == "cpu":
                use_processors(self._processors)
            with _stream(self.device):
                self._begin()
                while (batch := self._batcher.take(self)) is not None:
                    self._run(batch)
                    del batch  # and its samples, while this thread waits
        except BaseException as error:  # noqa: BLE001 - nobody may wait for a lane that is gone
            self._batcher.abort(error)

    def _begin(self) -> None:
        """Gives this thread graphs of its own, where there are any."""
        if self._new_graphs:
            self._own.graphs = self._new_graphs()
            self._graphs.append(self._own.graphs)

    def _forget(self, key: str) -> None:
        """An encoder leaves the device; it is not under way."""
        for graphs in tuple(self._graphs):
            graphs.forget(key)

    def _run(self, batch: Batch) -> None:
        key, count = batch.spec.key, len(batch.requests)
        try:
            self._stats.encoder(
                key,
                batches=1,
                batched=count,
                places=count / batch.fill,
                waited=batch.waited,
                queued=batch.queued,
                sample_bytes=batch.nbytes,
            )
            with self.residency.holding(batch.spec) as module, self._sharing():
                self._encode(batch.spec, module, batch.requests)
        except BaseException as error:  # noqa: BLE001 - it belongs to those who wait for rows
            if isinstance(error, Exception) and not isinstance(error, OmnibindError):
                error = self._if_lost(batch.spec, batch.requests, error) or error
            for caller in {id(r.caller): r.caller for r in batch.requests}.values():
                caller.stop(error)

    def _encode(
        self,
        spec: EncoderSpec,
        module: nn.Module,
        requests: Sequence[Request],
        *,
        last: bool = False,
    ) -> None:
        """Encodes requests; a batch that fails is tried in parts: one of its items is bad.

        One item that does not fit into memory is tried once more, beside nothing else.
        """
        with self._turns.alone() if last else self._turns.shared():
            rows = self._tried(spec, module, requests)
        if isinstance(rows, Tensor):
            return self._keep(spec, requests, rows)
        if over := self._if_lost(spec, requests, rows):
            raise over
        narrow = out_of_memory(rows)
        if len(requests) == 1:
            if narrow and not last:
                self.residency.make_room()
                return self._encode(spec, module, requests, last=True)
            return self._fail(requests[0], rows)
        del rows  # an error may have tensors of its own
        size = self._smaller(spec.key, len(requests)) if narrow else 1
        self._stats.encoder(spec.key, split=1)
        for start in range(0, len(requests), size):
            self._encode(spec, module, requests[start : start + size])
        return None

    def _tried(
        self, spec: EncoderSpec, module: nn.Module, requests: Sequence[Request]
    ) -> Tensor | Exception:
        """Rows of a batch, or why there are none; then all that the forward took is free again."""
        try:
            with self._stats.timed(spec.key):
                return run_batch(
                    spec,
                    module,
                    [request.sample for request in requests],
                    self.device,
                    self._numbers(spec),
                    early=self._early,
                    forward=self._forward(spec, module),
                )
        except SetupError:
            raise
        except Exception as error:  # noqa: BLE001 - which item is bad shows with smaller batches
            return stripped(error)
        except BaseException as error:  # noqa: BLE001 - sys.exit and the like end no caller either
            return RuntimeError(f"{type(error).__name__}: {error}")

    def _if_lost(
        self, spec: EncoderSpec, requests: Sequence[Request], error: Exception
    ) -> SetupError | None:
        """What to say where the device is lost, so that no item is to blame and none can follow."""
        if not lost(error, partial(touch, self.device)):
            return None
        shapes = shapes_of(requests[0].sample)
        what = f"the encoder {spec.key!r}, a batch of {len(requests)}, the first of them {shapes},"
        return device_lost(what, self.device, error)

    def _forward(self, spec: EncoderSpec, module: nn.Module) -> Callable[[Sample], Tensor]:
        """How a held encoder is run: by a graph where it is small and lies still."""
        graphs: Graphs | None = getattr(self._own, "graphs", None)
        load = self.residency.settled(spec.key)
        if graphs is None or load is None or not small(spec):
            return module
        return partial(graphs.rows, spec.key, load, module)

    def _sharing(self) -> AbstractContextManager[object]:
        return self._floor.shared() if self._floor else nullcontext()

    def _smaller(self, key: str, count: int) -> int:
        """Half of what did not fit; remembered. Graphs have memory of their own: they go."""
        if self._new_graphs:
            self._own.graphs.clear()
        half = max(1, count // 2)
        self._limits[key] = min(half, self.limit(key))
        self.residency.make_room()
        return half

    def _keep(self, spec: EncoderSpec, requests: Sequence[Request], rows: Tensor) -> None:
        """Sends good rows to their callers."""
        fine = rows.isfinite().all(-1).tolist()
        kept = [(r, row) for r, row, good in zip(requests, rows, fine, strict=True) if good]
        if self._cache is not None:
            self._cache.put({request.cache_key: row for request, row in kept})
        self._stats.encoder(spec.key, items=len(kept))
        theirs: defaultdict[int, list[tuple[Request, Tensor]]] = defaultdict(list)
        for request, row in kept:
            theirs[id(request.caller)].append((request, row))
        for pairs in theirs.values():
            pairs[0][0].caller.keep([r for r, _ in pairs], [row for _, row in pairs])
        for request, good in zip(requests, fine, strict=True):
            if not good:
                self._fail(request, ValueError("the encoder gave a row with NaN or infinity"))

    def _fail(self, request: Request, error: Exception) -> None:
        self._stats.encoder(request.spec.key, failed=1)
        request.caller.fail(request, error)


def _stream(device: torch.device) -> AbstractContextManager[object]:
    """A CUDA stream of the thread's own. Not run yet: no GPU was at hand."""
    return torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else nullcontext()
