"""Preparation in processes of their own: a decoder that crashes takes only its worker with it."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path

from safetensors.torch import load as unpacked
from safetensors.torch import save as packed

from omnibind.engine.items import Item
from omnibind.engine.networks import Networks
from omnibind.engine.prepare import Prepared, Preparer
from omnibind.engine.rowcache import RowCache
from omnibind.errors import ItemFailure, SetupError
from omnibind.specs import EncoderSpec

__all__ = ["Processes"]

ATTEMPTS = 2
_preparer: Preparer | None = None


class Processes:
    """A process for each thread that prepares items; one that dies is replaced.

    An item whose process dies is tried once more. If that one dies too, it is the item's fault.
    Processes are spawned, so that they inherit nothing of a GPU. Ctrl-C is for the caller: they
    ignore it, and end when they are told to.

    Args:
        networks: laid out again in each process.
        cache: opened again in each process; one in memory is looked into here, when samples are
            made. None keeps none.
        on_death: told of each process that died.
        early: whether samples are finished in them (see `omnibind.engine.finishing`).
    """

    def __init__(
        self,
        networks: Networks,
        cache: RowCache | None,
        on_death: Callable[[], None],
        *,
        early: bool = False,
    ) -> None:
        kept = None if cache is None else (cache.path, cache.limit)
        self._start = (networks, kept, early)
        self._here = cache if cache is not None and cache.path is None else None
        self._on_death = on_death
        self._own = threading.local()
        self._guard = threading.Lock()
        self._alive: dict[ProcessPoolExecutor, BaseProcess] = {}

    def __call__(self, item: Item, specs: Sequence[EncoderSpec]) -> Prepared:
        """Prepares an item as `Preparer` does, in this thread's process.

        Raises:
            SetupError: an encoder cannot be laid out, or processes do not start.
        """
        for _ in range(ATTEMPTS):
            try:
                pool = self._process()
                return self._known(_unpacked(pool.submit(_prepare, item, specs).result()))
            except BrokenProcessPool:
                self.close_own()
                self._on_death()
        failure = ItemFailure(
            index=item.index,
            item=item.name,
            stage="decode",
            reason=f"the process that prepared it died {ATTEMPTS} times",
        )
        return Prepared(failure=failure)

    @property
    def pids(self) -> tuple[int, ...]:
        """Numbers of the processes that are ready now."""
        with self._guard:
            return tuple(process.pid or 0 for process in self._alive.values())

    def close_own(self) -> None:
        """Ends the process of this thread."""
        pool: ProcessPoolExecutor | None = getattr(self._own, "pool", None)
        if pool is not None:
            with self._guard:
                self._alive.pop(pool, None)
            self._own.pool = None
            pool.shutdown(wait=True, cancel_futures=True)

    def _process(self) -> ProcessPoolExecutor:
        """This thread's, ready for an item.

        Raises:
            SetupError: it ended by itself before it was ready, as the next one would too; or was
                killed each time.
        """
        pool: ProcessPoolExecutor | None = getattr(self._own, "pool", None)
        if pool is not None:
            return pool
        code = None
        for _ in range(ATTEMPTS):
            code = self._started()
            if code is None:
                return self._own.pool
            self._on_death()
            if code >= 0:  # not by a signal
                break
        raise SetupError(
            "items prepared in processes (`processes=True`)",
            found=f"a process that ended, with code {code}, before it was ready",
            next_step='if this is a script, keep what it does under `if __name__ == "__main__":`, '
            "for each process runs all its other lines; else see what the process has said above, "
            "or do without processes",
        )

    def _started(self) -> int | None:
        """Starts this thread's; the code with which it ended before it was ready, if it did."""
        self._own.pool = pool = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=self._start,
        )
        with _no_interrupts():
            ready = pool.submit(_ready)
        (process,) = pool._processes.values()  # pyright: ignore[reportPrivateUsage]
        try:
            ready.result()
        except BrokenProcessPool:
            self.close_own()  # which waits for its end
            return process.exitcode or 0
        with self._guard:
            self._alive[pool] = process
        return None

    def _known(self, made: Prepared) -> Prepared:
        """With the rows of a cache that only this process sees."""
        if self._here is not None:
            for key, cache_key in made.cache_keys.items():
                row = self._here.get(cache_key)
                if row is not None:
                    made.rows[key] = row
                    made.samples.pop(key, None)
        return made


@contextmanager
def _no_interrupts() -> Generator[None]:
    """Within it, processes are started to whom Ctrl-C is nothing from their first moment on."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # would let interrupts through again when it starts itself
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(networks: Networks, kept: tuple[Path | None, int] | None, early: bool) -> None:
    global _preparer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _preparer = Preparer(networks, RowCache(kept[0], limit=kept[1]) if kept else None, early)


def _ready() -> None:
    """In the process, once it has begun."""


Packed = tuple[Prepared, bytes, dict[str, bytes]]


def _prepare(item: Item, specs: Sequence[EncoderSpec]) -> Packed:
    """In the process. Tensors travel as bytes: those shared by file handle die with their maker."""
    assert _preparer is not None
    made = _preparer(item, specs)
    samples = {
        key: packed({name: tensor.contiguous() for name, tensor in sample.items()})
        for key, sample in made.samples.items()
    }
    return replace(made, rows={}, samples={}), packed(made.rows), samples


def _unpacked(sent: Packed) -> Prepared:
    made, rows, samples = sent
    return replace(
        made,
        rows=unpacked(rows),
        samples={key: unpacked(sample) for key, sample in samples.items()},
    )
