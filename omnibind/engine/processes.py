"""Preparation in processes of their own: a decoder that crashes takes only its worker with it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from safetensors.torch import load as unpacked
from safetensors.torch import save
from torch import Tensor

from omnibind.engine.items import Item
from omnibind.engine.networks import Networks
from omnibind.engine.outcome import Closed
from omnibind.engine.prepare import Prepared, Preparer, failure_of
from omnibind.engine.rowcache import RowCache
from omnibind.errors import MediaError, SetupError
from omnibind.specs import EncoderSpec

__all__ = ["Processes"]

ATTEMPTS = 2
GRACE = 1.0
"""Seconds that a process has for what it is at once nobody waits for it (ours)."""
NO_WAY = " (on the way to its process or back; threads may do)"
GONE = (EOFError, OSError)
"""What a pipe says when there is nobody at its other end."""


class Processes:
    """A process for each thread that prepares items; one that dies is replaced.

    An item whose process dies is tried once more. If that one dies too, it is the item's fault.
    Processes are spawned, so that they inherit nothing of a GPU. Ctrl-C is for the caller: they
    ignore it, and end when they are told to, or when this process is gone.

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
        self._changed = threading.Condition()
        self._ready: set[_Process] = set()
        self._at_work: set[_Process] = set()
        self._closed = False

    def __call__(self, item: Item, specs: Sequence[EncoderSpec]) -> Prepared:
        """Prepares an item as `Preparer` does, in this thread's process.

        Raises:
            SetupError: an encoder cannot be laid out, or processes do not start.
            Closed: the engine is closed.
        """
        try:
            asked = pickle.dumps((item, specs))
        except Exception as error:  # noqa: BLE001 - an item's own class says what
            return Prepared(failure=failure_of(item, "decode", error, NO_WAY))
        made = self._answered(asked)
        if made is None:
            error = MediaError(f"the process that prepared it died {ATTEMPTS} times")
            return Prepared(failure=failure_of(item, "decode", error))
        try:
            return self._known(_unpacked(pickle.loads(made)))
        except SetupError:
            raise
        except Exception as error:  # noqa: BLE001 - as above, of what was made of it
            return Prepared(failure=failure_of(item, "decode", error, NO_WAY))

    @property
    def pids(self) -> tuple[int, ...]:
        """Numbers of the processes that are ready now."""
        with self._changed:
            return tuple(sorted(process.pid for process in self._ready))

    def close_own(self) -> None:
        """Ends the process of this thread."""
        process: _Process | None = getattr(self._own, "process", None)
        if process is not None:
            with self._changed:
                self._ready.discard(process)
            self._own.process = None
            process.end()

    def close(self) -> None:
        """Lets processes end what they are at, for a while; then they are killed.

        Each thread still has its own to close.
        """
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._at_work, GRACE)
            for process in self._at_work:
                process.kill()

    def _answered(self, asked: bytes) -> bytes | None:
        """What this thread's process says, or the next one where it dies, or None."""
        for _ in range(ATTEMPTS):
            process = self._process()
            try:
                with self._working(process):
                    return process.answer(asked)
            except GONE:
                self.close_own()
                self._refuse_closed()
                self._on_death()
        return None

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Closed

    @contextmanager
    def _working(self, process: _Process) -> Generator[None]:
        """Within it, the end of all may kill a process."""
        with self._changed:
            self._refuse_closed()
            self._at_work.add(process)
        try:
            yield
        finally:
            with self._changed:
                self._at_work.discard(process)
                self._changed.notify_all()

    def _process(self) -> _Process:
        """This thread's, ready for an item.

        Raises:
            SetupError: it ended by itself before it was ready, as the next one would too; or was
                killed each time.
        """
        process: _Process | None = getattr(self._own, "process", None)
        if process is not None:
            return process
        code = None
        for _ in range(ATTEMPTS):
            process, code = self._started()
            if process is not None:
                return process
            self._refuse_closed()
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

    def _started(self) -> tuple[_Process, int] | tuple[None, int]:
        """Starts this thread's; or the code with which it ended before it was ready."""
        process = _Process(self._start)
        try:
            with self._working(process):
                process.wait_until_ready()
        except GONE:
            return None, process.end()
        except Closed:
            process.end()
            raise
        self._own.process = process
        with self._changed:
            self._ready.add(process)
        return process, 0

    def _known(self, made: Prepared) -> Prepared:
        """With the rows of a cache that only this process sees."""
        if self._here is not None:
            for key, cache_key in made.cache_keys.items():
                row = self._here.get(cache_key)
                if row is not None:
                    made.rows[key] = row
                    made.samples.pop(key, None)
        return made


class _Process:
    """One process, and the pipe to it."""

    def __init__(self, start: tuple[Any, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve, args=(other, *start), name="omnibind-prepare", daemon=True
        )
        with _no_interrupts():
            self._process.start()
        other.close()  # so that it is closed when the process is gone

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def wait_until_ready(self) -> None:
        self._pipe.recv_bytes()

    def answer(self, asked: bytes) -> bytes:
        """What it makes of an item; raises one of `GONE` where it is gone."""
        self._pipe.send_bytes(asked)
        return self._pipe.recv_bytes()

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> int:
        """Tells it to end, waits for that, and gives its code; it has nothing to do now."""
        self._pipe.close()
        self._process.join(GRACE)
        self._process.kill()  # if it does not
        while self._process.exitcode is None:  # another thread may have been told, and not said it
            self._process.join(0.1)
        return self._process.exitcode


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


def _serve(
    pipe: Connection, networks: Networks, kept: tuple[Path | None, int] | None, early: bool
) -> None:
    """In the process: prepares what comes, until there is nobody who asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    preparer = Preparer(networks, RowCache(kept[0], limit=kept[1]) if kept else None, early)
    with suppress(*GONE):
        pipe.send_bytes(b"ready")
        while True:
            pipe.send_bytes(_answer(preparer, pipe.recv_bytes()))


def _end_with_parent() -> None:
    """Whoever asks may be killed in the middle of an item, which may take for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _answer(preparer: Preparer, asked: bytes) -> bytes:
    try:
        return pickle.dumps(_prepare(preparer, *pickle.loads(asked)))
    except SetupError as error:
        return pickle.dumps(error)
    except Exception as error:  # noqa: BLE001 - told where it was asked for
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))


Packed = tuple[Prepared, bytes, dict[str, bytes]]


def _prepare(preparer: Preparer, item: Item, specs: Sequence[EncoderSpec]) -> Packed:
    """Tensors travel as bytes: those shared by file handle die with their maker."""
    made = preparer(item, specs)
    samples = {key: _packed(sample) for key, sample in made.samples.items()}
    return replace(made, rows={}, samples={}), _packed(made.rows), samples


def _packed(tensors: dict[str, Tensor]) -> bytes:
    """Tensors that are parts of the same memory, which safetensors refuses, are copied."""
    apart: dict[str, Tensor] = {}
    seen = set[int]()
    for name, tensor in tensors.items():
        own = tensor.contiguous()
        place = own.untyped_storage().data_ptr()
        apart[name] = own.clone() if place in seen else own
        seen.add(place)
    return save(apart)


def _unpacked(sent: Packed | Exception) -> Prepared:
    if isinstance(sent, Exception):
        raise sent
    made, rows, samples = sent
    return replace(
        made,
        rows=unpacked(rows),
        samples={key: unpacked(sample) for key, sample in samples.items()},
    )
