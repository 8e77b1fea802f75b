"""Items in, rows by encoder out: the parts of an engine put together, and its front door."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import zip_longest
from typing import Any

import torch

from omnibind.engine.batching import Batcher
from omnibind.engine.devices import claim, pick, refuse_fork, release
from omnibind.engine.finishing import finishes_early
from omnibind.engine.floor import Floor
from omnibind.engine.graphs import CudaCaptures, Graphs, recorder
from omnibind.engine.items import Item
from omnibind.engine.job import Job, OnDone, Parts
from omnibind.engine.lane import Lane
from omnibind.engine.memory.budget import budget_of
from omnibind.engine.memory.residency import Residency, groups
from omnibind.engine.networks import Networks
from omnibind.engine.outcome import Cancel, Cancelled, Closed, Encoded, Interrupted
from omnibind.engine.placement import place
from omnibind.engine.precision import Dtype, resolved
from omnibind.engine.prepare import Preparer
from omnibind.engine.processes import Processes
from omnibind.engine.report.published import Publisher
from omnibind.engine.report.stats import Recorder, Stats
from omnibind.engine.requests import Limits, Priority
from omnibind.engine.rowcache import RowCache
from omnibind.engine.threads import is_ours
from omnibind.engine.workers import Workers
from omnibind.errors import SetupError
from omnibind.specs import EncoderSpec, Long, Size
from omnibind.weights.build import Weights

__all__ = ["Engine"]

EncodersByModality = Mapping[str, Sequence[EncoderSpec]]
AHEAD = 3
"""Batches of items that a caller may have under way (ours)."""
BATCH_BYTES, BATCH_BYTES_APART = 4 << 20, 256 << 20
"""Of the samples of a batch, on a CPU and on an accelerator (ours)."""
AT_ONCE = 2
"""Batches that a device has under way (ours)."""


class Engine:
    """Runs encoders over items. Each item is decoded once, each encoder key run once an item.

    Any number of threads may call; their items run in common batches.

    Args:
        device: `auto` takes all GPUs, else the CPU; or one or several by name.
        size: `full`, or `tiny` for tests.
        weights: `official`, or `random` (see `omnibind.weights.build_encoder`).
        seed: of random weights.
        long: what becomes of media longer than an encoder's clip (see `omnibind.specs.Long`).
        dtype: what encoders compute in where their cards bear it: `float32`, `bfloat16`, or
            `float8`, which is bfloat16 with large linear layers in float8. `auto` is bfloat16 on
            GPUs that multiply it, else float32. See `omnibind.engine.precision`.
        memory: bytes that weights may take on each device, as a number or like "24GiB"; "auto" is
            what an accelerator has free now, less room to compute, and no bound on a CPU.
        workers: threads that decode and preprocess; the number of processors by default.
        processes: whether each of these works in a process of its own. Slower to start, and what
            crashes in there is one bad item.
        batch_size: items an encoder sees at once, at most; on a CPU fewer where samples are large.
        latency: seconds that an item of a small call waits for others to share its batch.
        spool: bytes of samples that a call may keep in host memory where its encoders do not fit
            on the devices together; beyond it, items are decoded once more for each group.
        graphs: whether forwards of small encoders become CUDA graphs. Not measured yet, so it has
            to be asked for (see `omnibind.engine.graphs`).
        cache: rows of content seen before; None keeps none.

    Raises:
        SetupError: a device that is not there, is another engine's or cannot multiply `dtype`,
            `memory` that says nothing, a number out of its range, or `graphs` without a GPU of
            CUDA.
    """

    def __init__(
        self,
        *,
        device: str | Sequence[str] = "auto",
        size: Size = "full",
        weights: Weights = "official",
        seed: int = 0,
        long: Long = "windows",
        dtype: Dtype = "auto",
        memory: str | int | None = "auto",
        workers: int | None = None,
        processes: bool = False,
        batch_size: int = 32,
        latency: float = 0.005,
        spool: int = 4 << 30,
        graphs: bool = False,
        cache: RowCache | None = None,
    ) -> None:
        _refuse_numbers(workers=workers, batch_size=batch_size, latency=latency, spool=spool)
        self.devices = pick(device)
        if graphs:
            _refuse_graphs(self.devices)
        numbers = resolved(dtype, self.devices)
        budgets = [budget_of(memory, device) for device in self.devices]
        claim(self, self.devices)  # last: whoever keeps the error of one above keeps the engine
        self.networks = Networks(size, weights, seed, long, numbers)
        self.batch_size = batch_size
        self.workers = workers or min(8, os.cpu_count() or 1)
        self.cache = cache
        self._pid = os.getpid()
        self._stats = Recorder()
        nbytes = BATCH_BYTES if self.device.type == "cpu" else BATCH_BYTES_APART
        self._batcher = Batcher(Limits(items=batch_size, nbytes=nbytes, latency=latency))
        self._floor = Floor()
        early = finishes_early(self.devices)
        self._lanes = self._made_lanes(budgets, early=early, graphs=graphs)
        self.processes = (
            Processes(self.networks, cache, self._stats.replacement, early=early)
            if processes
            else None
        )
        self._pool = (
            Workers(self.workers, on_close=self.processes.close, on_exit=self.processes.close_own)
            if self.processes
            else Workers(self.workers, floor=self._floor)
        )
        self._parts = Parts(
            prepare=self.processes or Preparer(self.networks, cache, early),
            workers=self._pool,
            batcher=self._batcher,
            stats=self._stats,
            spool=spool,
        )
        self._active: dict[Job, dict[str, EncoderSpec]] = {}
        self._expected: dict[Job, list[EncoderSpec]] = {}
        self._guard = threading.Lock()
        self._closing = Cancel(Closed)
        self._snapshot = partial(_snapshot, self._stats, self._batcher, self._lanes)
        self._publisher = Publisher(self._snapshot)
        self._end = weakref.finalize(
            self, _end, self._pid, self._publisher, self._batcher, self._pool, self._lanes
        )
        self._end.atexit = False  # see _end_all
        _ends.add(self._end)

    @property
    def device(self) -> torch.device:
        """The first of its devices."""
        return self.devices[0]

    def encode(
        self,
        items: Iterable[Item],
        encoders: EncodersByModality,
        on_done: OnDone | None = None,
        *,
        priority: Priority | None = None,
        cancel: Cancel | None = None,
    ) -> Encoded:
        """Encodes items of any modalities.

        Args:
            items: each is prepared at most a few batches ahead of its turn.
            encoders: modality -> cards of the encoders to run; keys are run once.
            on_done: called in this thread, once an item in their order, when it has its rows or
                has failed.
            priority: by default, a list of no more than a batch is interactive, all else bulk.
            cancel: ends the call when another thread calls it.

        Raises:
            SetupError: an encoder cannot be built, or gives rows of the wrong shape.
            Interrupted: Ctrl-C; it has the rows so far.
            Cancelled: by `cancel`; it has them too.
            Closed: the engine is closed, or was in the middle of the call; it has them too.
        """
        refuse_fork(self._pid)
        if self.closed:
            raise Closed
        by_key = {m: {spec.key: spec for spec in specs} for m, specs in encoders.items()}
        specs = {key: s for m in _read(items, by_key) for key, s in by_key[m].items()}
        job = Job(
            self._parts,
            by_key,
            priority=self._priority(items) if priority is None else priority,
            window=AHEAD * self.batch_size,
            on_done=on_done,
        )
        endings = [self._closing, *([cancel] if cancel else [])]
        try:
            try:
                for ending in endings:
                    ending.watch(job)
                return self._run(job, items, specs)
            except BaseException as error:
                job.leave(error)
                raise
            finally:
                self._forget(job, endings)
        except KeyboardInterrupt as error:  # it may have come in the middle of what is done above
            job.leave(error)
            self._forget(job, endings)
            self._say_expected()
            raise Interrupted(job.encoded()) from None
        except (Cancelled, Closed) as error:
            error.done = job.encoded()
            raise

    def fits(self, encoders: EncodersByModality) -> bool:
        """Whether the weights of these encoders take no more than the devices have, all in all."""
        budgets = [lane.residency.budget for lane in self._lanes]
        if None in budgets:
            return True
        specs = {spec.key: spec for several in encoders.values() for spec in several}
        needed = sum(self.networks.nbytes(spec) for spec in specs.values())
        return needed <= sum(budget for budget in budgets if budget is not None)

    def stats(self) -> Stats:
        """What it has done so far, and what is under way."""
        return self._snapshot()

    def rest(self) -> None:
        """Takes idle encoders off the devices, for others to use these; they come back by use."""
        for lane in self._lanes:
            lane.residency.make_room()

    @property
    def closed(self) -> bool:
        """Whether it has been closed: it encodes nothing any more."""
        return self._closing.asked

    def close(self) -> None:
        """Ends the calls that are under way, and the threads; frees the devices.

        Whoever waits for rows is told at once; a forward that has begun is waited for.
        """
        if os.getpid() == self._pid:  # its threads and devices are the process's that made it
            self._closing()
            self._end()
            release(self)

    def _made_lanes(
        self, budgets: Sequence[int | None], *, early: bool, graphs: bool
    ) -> list[Lane]:
        lanes: list[Lane] = []
        for number, (device, budget) in enumerate(zip(self.devices, budgets, strict=True)):
            residency = Residency(
                device,
                budget=budget,
                build=partial(self.networks.build, drawn_on=device),
                size_of=self.networks.nbytes,
            )
            several = device.type == "cpu" and len(self.devices) > 1
            name = f"cpu:{number}" if several else str(device)
            lanes.append(
                Lane(
                    name,
                    residency,
                    self._batcher,
                    self._stats,
                    self.cache,
                    floor=self._floor if device.type == "cpu" else None,
                    numbers=self.networks.numbers,
                    graphs=partial(_graphs, device) if graphs and device.type == "cuda" else None,
                    early=early,
                    threads=AT_ONCE,
                )
            )
        return lanes

    def _run(self, job: Job, items: Iterable[Item], specs: Mapping[str, EncoderSpec]) -> Encoded:
        turns = self._turns(job, specs)
        for lane in self._lanes:
            lane.start()
        self._publisher.start()

        def before(turn: int) -> None:
            if len(turns) > 1:
                self._expect(job, [specs[key] for keys in turns[turn:] for key in keys])

        encoded = job.run(items, turns, before)
        self.networks.garbage.settle()
        return encoded

    @property
    def _unbounded(self) -> bool:
        """Whether there is one device, with room for whatever is asked of it."""
        return len(self._lanes) == 1 and self._lanes[0].residency.budget is None

    def _priority(self, items: Iterable[Item]) -> Priority:
        few = isinstance(items, Sequence) and len(items) <= self.batch_size
        return Priority.INTERACTIVE if few else Priority.BULK

    def _turns(self, job: Job, specs: Mapping[str, EncoderSpec]) -> list[list[str]]:
        """Places encoders on devices; in which groups they fit there, all devices together."""
        if self._unbounded:
            return [list(specs)]
        budgets = [lane.residency.budget for lane in self._lanes]
        for spec in specs.values():  # first: one that cannot be laid out is nobody else's trouble
            self.networks.nbytes(spec)
        with self._guard:
            self._active[job] = dict(specs)
            wanted = {key: spec for one in self._active.values() for key, spec in one.items()}
            sizes = {key: self.networks.nbytes(spec) for key, spec in wanted.items()}
            placed = [set(wanted)]
            if len(self._lanes) > 1:
                placed = place(self._costs(wanted), sizes, budgets)
                for lane, keys in zip(self._lanes, placed, strict=True):
                    lane.assign(keys)
                self._batcher.nudge()
        by_lane = [
            groups([spec for key, spec in specs.items() if key in keys], sizes, budget)
            for keys, budget in zip(placed, budgets, strict=True)
        ]
        turns: list[list[str]] = []
        seen: set[str] = set()
        for row in zip_longest(*by_lane, fillvalue=[]):
            keys = dict.fromkeys(spec.key for group in row for spec in group)
            turns.append([key for key in keys if key not in seen])
            seen.update(keys)
        return [keys for keys in turns if keys] or [[]]

    def _costs(self, specs: Mapping[str, EncoderSpec]) -> dict[str, float]:
        """Seconds an item where they have been measured, else scaled from the cards."""
        seen = self._stats.encoders
        measured = {
            key: seen[key].seconds / seen[key].items
            for key in specs
            if key in seen and seen[key].items
        }
        flops = sum(specs[key].flops_per_item for key in measured)
        pace = sum(measured.values()) / flops if flops else 1e-12
        return {key: measured.get(key, s.flops_per_item * pace) for key, s in specs.items()}

    def _expect(self, job: Job, specs: Sequence[EncoderSpec]) -> None:
        """Tells the devices what a job will need, and in which order."""
        with self._guard:
            self._expected[job] = list(specs)
        self._say_expected()

    def _forget(self, job: Job, endings: Iterable[Cancel]) -> None:
        for ending in endings:
            ending.leave(job)
        with self._guard:
            self._active.pop(job, None)
            expected = self._expected.pop(job, None)
        if expected is not None:
            self._say_expected()

    def _say_expected(self) -> None:
        with self._guard:
            wanted = {s.key: s for several in self._expected.values() for s in several}
        for lane in self._lanes:
            lane.residency.expect([spec for key, spec in wanted.items() if lane.runs(key)])


def _read(items: Iterable[Item], modalities: Iterable[str]) -> Iterable[str]:
    """The modalities whose encoders get work; all of them where items come one by one."""
    if not isinstance(items, Sequence):
        return modalities
    there = {item.modality.name for item in items}
    return [modality for modality in modalities if modality in there]


def _graphs(device: torch.device) -> Graphs:
    return Graphs(recorder(CudaCaptures(device)))


def _refuse_graphs(devices: Sequence[torch.device]) -> None:
    if not any(device.type == "cuda" for device in devices):
        raise SetupError(
            "graphs=True",
            found=f"{', '.join(map(str, devices))}: none is a GPU of CUDA",
            next_step="leave it out, or choose a GPU",
        )


def _refuse_numbers(*, workers: int | None, batch_size: int, latency: float, spool: int) -> None:
    given: dict[str, tuple[float | None, int]] = {
        "workers": (workers, 1),
        "batch_size": (batch_size, 1),
        "latency": (latency, 0),
        "spool": (spool, 0),
    }
    for name, (value, least) in given.items():
        if value is not None and not value >= least:  # NaN too
            raise SetupError(
                f"an engine with {name}={value}",
                found=f"{value} is not in the range x>={least}",
                next_step="choose a number in that range, or leave it out",
            )


def _end_all() -> None:
    """At the end of the program. A second Ctrl-C waits for nothing any more, and says nothing.

    Callers in daemon threads that are still there are told nothing: they end with the program.
    """
    with suppress(KeyboardInterrupt):
        for end in tuple(_ends):
            end()


_ends: set[weakref.finalize[..., Any]] = set()
atexit.register(_end_all)  # after those of all imports, and so called before them


def _snapshot(stats: Recorder, batcher: Batcher, lanes: Sequence[Lane]) -> Stats:
    return stats.snapshot(batcher.waiting(), batcher.nbytes, tuple(lane.stats() for lane in lanes))


def _end(
    process: int,
    publisher: Publisher,
    batcher: Batcher,
    workers: Workers,
    lanes: Sequence[Lane],
) -> None:
    if os.getpid() != process:  # forked: neither the threads nor the devices came along
        return
    if is_ours(threading.current_thread()):  # found the engine to be garbage, perhaps under a lock
        parts = (process, publisher, batcher, workers, lanes)
        threading.Thread(target=_end, args=parts, daemon=True).start()
        return
    _ends.difference_update([end for end in tuple(_ends) if not end.alive])
    batcher.close()
    publisher.close()
    workers.close()
    for lane in lanes:
        lane.close()
