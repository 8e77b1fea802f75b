"""Preparation in processes of their own: a decoder that crashes takes only its worker with it."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load as unpacked
from safetensors.torch import save as packed

from omnibind.engine.items import Item
from omnibind.engine.networks import Networks
from omnibind.engine.prepare import Prepared, Preparer
from omnibind.engine.rowcache import RowCache
from omnibind.errors import ItemFailure
from omnibind.specs import EncoderSpec

__all__ = ["Processes"]

ATTEMPTS = 2
_preparer: Preparer | None = None


class Processes:
    """A process for each thread that prepares items; one that dies is replaced.

    An item whose process dies is tried once more. If that one dies too, it is the item's fault.
    Processes are spawned, so that they inherit nothing of a GPU.

    Args:
        networks: laid out again in each process.
        cache: opened again in each process; None keeps none. One in memory is not seen by them.
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
        self._start = (networks, cache.path if cache else None, cache.limit if cache else 0, early)
        self._on_death = on_death
        self._own = threading.local()
        self._guard = threading.Lock()
        self._alive: set[ProcessPoolExecutor] = set()

    def __call__(self, item: Item, specs: Sequence[EncoderSpec]) -> Prepared:
        """Prepares an item as `Preparer` does, in this thread's process.

        Raises:
            SetupError: an encoder cannot be laid out.
        """
        for _ in range(ATTEMPTS):
            try:
                return _unpacked(self._process().submit(_prepare, item, specs).result())
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
        """Numbers of the processes that run now."""
        with self._guard:
            pools = tuple(self._alive)
        return tuple(pid for pool in pools for pid in tuple(pool._processes or ()))  # pyright: ignore[reportPrivateUsage]

    def close_own(self) -> None:
        """Ends the process of this thread."""
        pool: ProcessPoolExecutor | None = getattr(self._own, "pool", None)
        if pool is not None:
            with self._guard:
                self._alive.discard(pool)
            self._own.pool = None
            pool.shutdown(wait=True, cancel_futures=True)

    def _process(self) -> ProcessPoolExecutor:
        pool: ProcessPoolExecutor | None = getattr(self._own, "pool", None)
        if pool is None:
            pool = ProcessPoolExecutor(
                1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_begin,
                initargs=self._start,
            )
            self._own.pool = pool
            with self._guard:
                self._alive.add(pool)
        return pool


def _begin(networks: Networks, cache: Path | None, limit: int, early: bool) -> None:
    global _preparer
    _preparer = Preparer(networks, RowCache(cache, limit=limit) if cache else None, early)


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
