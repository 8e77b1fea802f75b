"""Tensors to a device and back. Here, and only here, is what CUDA needs: a stream and pinned pages.

Run so far: all of it on a CPU, where a copy is a clone. The lines for CUDA have not been run.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from omnibind.engine.memory.budget import host_has_room
from omnibind.weights.placement import Ranges, file_pages, give_back

__all__ = ["RECORDING", "Copies", "Fetched", "Moved", "absent", "emptied"]


RECORDING = threading.Lock()
"""Held while a thread records a CUDA graph: none may wait for the whole device then."""


@dataclass
class Moved:
    """What has been moved for one encoder.

    Attributes:
        loads: times that it was brought to the device: built there, copied, or set up to stream.
        nbytes: moved to the device, by streaming too.
        evictions: times that it had to go.
        layers: times that each layer was moved by streaming, by name.
    """

    loads: int = 0
    nbytes: int = 0
    evictions: int = 0
    layers: Counter[str] = field(default_factory=Counter[str])


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Copies that are on their way to the device, or there.

    Attributes:
        tensors: on the device; not to be read before `Copies.arrived`.
        event: what a stream waits for; None on a CPU.
    """

    tensors: tuple[Tensor, ...]
    event: torch.Event | None

    @property
    def nbytes(self) -> int:
        """Bytes of the copies."""
        return sum(tensor.nbytes for tensor in self.tensors)


class Copies:
    """Copies between the host and one device; on CUDA on a stream of its own.

    Copies are allocated on that stream. Whoever drops one says so by `done_with` first, so that
    the next copy into the same memory waits for what was computed with it.

    Args:
        device: where copies go.
        separate: the device has a memory of its own. Where it has none (a CPU), nothing is copied:
            tensors that are pages of a file are read when they are used, and given back.
    """

    def __init__(self, device: torch.device, *, separate: bool) -> None:
        self.device, self.separate = device, separate
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._pages: Ranges = []

    def ready(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Host tensors that copies are quickly made of: pinned on CUDA where the host has room."""
        self._pages = [] if self.separate else file_pages(unwritten=True)
        size = sum(tensor.nbytes for tensor in tensors)
        if self.stream is None or all(tensor.is_pinned() for tensor in tensors):
            return tuple(tensors)
        return self.kept(tensors) if host_has_room(self.host_bytes(size)) else tuple(tensors)

    def fetch(self, tensors: Sequence[Tensor]) -> Fetched:
        """Begins to copy host tensors to the device."""
        if not self.separate:
            return Fetched(tensors=tuple(tensors), event=None)
        with _plain(), torch.cuda.stream(self.stream):
            made = tuple(t.to(self.device, non_blocking=True, copy=True) for t in tensors)
            event = self.stream.record_event() if self.stream else None
        return Fetched(tensors=made, event=event)

    def arrived(self, fetched: Fetched) -> Fetched:
        """Makes what is computed from now on, on the current stream, wait for the copies."""
        if fetched.event:
            torch.cuda.current_stream(self.device).wait_event(fetched.event)
        return fetched

    def done_with(self) -> None:
        """Makes later copies wait for what has been queued on the current stream."""
        if self.stream:
            self.stream.wait_stream(torch.cuda.current_stream(self.device))

    @contextmanager
    def aside(self) -> Generator[None]:
        """What is done within it does not wait for the computing of others, and is done at its end.

        On CUDA its tensors come from the memory that copies come from.
        """
        with torch.cuda.stream(self.stream), torch.inference_mode(False):
            yield
            if self.stream:
                self.stream.synchronize()

    def left(self, tensors: Sequence[Tensor]) -> int:
        """Takes note of host tensors that are not needed for a while.

        Returns:
            Bytes that stay in the device's memory nevertheless: where it is the host's, of
            tensors that are no pages of a file.
        """
        if self.separate:
            return 0
        return sum(tensor.nbytes for tensor in tensors if not give_back(tensor, self._pages))

    def finish(self) -> None:
        """Waits until the device has done all that was asked of it."""
        if self.stream:
            with RECORDING:
                torch.cuda.synchronize(self.device)

    def kept(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Host copies, pinned where the device is CUDA, which see to it that they are complete."""
        pinned = self.stream is not None
        with _plain():
            made = tuple(torch.empty_like(t, device="cpu", pin_memory=pinned) for t in tensors)
            for copy, tensor in zip(made, tensors, strict=True):
                copy.copy_(tensor)
        return made

    def host_bytes(self, nbytes: int) -> int:
        """Bytes that host copies may take: torch rounds a pinned tensor up to a power of two."""
        return 2 * nbytes if self.stream else nbytes


def absent(tensor: Tensor, device: torch.device) -> Tensor:
    """What stands for a tensor that is not on the device: its shape, its type, one NaN or zero."""
    nothing = float("nan") if tensor.is_floating_point() or tensor.is_complex() else 0
    with _plain():
        one = torch.full((), nothing, dtype=tensor.dtype, device=device)
        return one.expand(tensor.shape)


def emptied(device: torch.device) -> None:
    """Gives back the memory that torch keeps for later allocations."""
    if device.type != "cpu":
        with RECORDING:
            torch.accelerator.empty_cache()


@contextmanager
def _plain() -> Generator[None]:
    """No gradients, and tensors that live on outside of inference mode."""
    with torch.inference_mode(False), torch.no_grad():
        yield
