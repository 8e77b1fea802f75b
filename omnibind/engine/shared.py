"""One engine for all callers of a process that ask for the same."""

from __future__ import annotations

import os
import threading

from omnibind.engine.engine import Engine
from omnibind.engine.precision import Dtype
from omnibind.engine.rowcache import RowCache
from omnibind.specs import Long, Size
from omnibind.weights import cache_folder
from omnibind.weights.build import Weights

__all__ = ["forget_engines", "shared_engine"]

_engines: dict[tuple[object, ...], Engine] = {}
_guard = threading.Lock()


def shared_engine(
    *,
    device: str = "auto",
    size: Size = "full",
    weights: Weights = "official",
    long: Long = "windows",
    dtype: Dtype = "auto",
    memory: str | int | None = "auto",
    processes: bool = False,
    cached: bool = True,
) -> Engine:
    """The engine of this process for one way of building encoders; every caller shares it.

    One that was closed is replaced, and so is one of before a fork.
    """
    asked = (os.getpid(), device, size, weights, long, dtype, memory, processes, cached)
    with _guard:
        engine = _engines.get(asked)
        if engine is None or engine.closed:
            engine = _engines[asked] = Engine(
                device=device,
                size=size,
                weights=weights,
                long=long,
                dtype=dtype,
                memory=memory,
                processes=processes,
                cache=RowCache(cache_folder() / "rows.sqlite") if cached else None,
            )
    return engine


def forget_engines() -> None:
    """Lets the next callers have new ones."""
    with _guard:
        _engines.clear()


def _after_fork() -> None:
    """Another thread may have had the lock; the engines stayed with their threads."""
    global _guard
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
