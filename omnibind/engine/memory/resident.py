"""One encoder that comes to a device and leaves it: built, copied, or sent through in layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from omnibind.engine.memory.budget import host_has_room, module_bytes
from omnibind.engine.memory.copies import Copies, Fetched, Moved
from omnibind.engine.memory.layers import tensors_of
from omnibind.engine.memory.streaming import Streaming
from omnibind.specs import EncoderSpec

__all__ = ["Build", "Resident"]

Build = Callable[[EncoderSpec, torch.device], nn.Module]
HOST = torch.device("cpu")


class Resident:
    """One encoder; who may use it when is for `Residency` to say.

    Args:
        spec: its card.
        size: bytes of its tensors, an estimate until it has been built.
        budget: bytes it may take on the device; a larger one streams.
        build: gives the network on a device.
        copies: to the device.
        on_leave: told, by its key, whenever it leaves the device.

    Attributes:
        module: the network; None where it is neither on the device nor kept on the host.
        there: whether it is on the device and can be used.
        busy: whether a thread is bringing it.
        room: bytes of the budget that are set aside for it now.
        holders: how many use it.
        used: when it was used last, in uses of any encoder.
        released: whether its job is done.
        error: of a thread that brought it ahead, for whoever asks for it.
        moved: what was moved.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        size: int,
        budget: int | None,
        build: Build,
        copies: Copies,
        on_leave: Callable[[str], None],
    ) -> None:
        self.spec, self.size, self.budget = spec, size, budget
        self.build, self.copies, self.on_leave = build, copies, on_leave
        self.module: nn.Module | None = None
        self.there = self.busy = self.released = False
        self.room = self.holders = self.used = 0
        self.error: Exception | None = None
        self.moved = Moved()
        self._host: tuple[Tensor, ...] = ()
        self._fetched: Fetched | None = None
        self._streaming: Streaming | None = None

    @property
    def streams(self) -> bool:
        """Whether it is larger than the budget."""
        return self.budget is not None and self.size > self.budget

    @property
    def idle(self) -> bool:
        """Whether it is on the device and nobody uses it."""
        return self.there and not self.holders

    @property
    def needs(self) -> int:
        """Bytes on the device; one that streams fills the budget with what can stay."""
        return self.size if self.budget is None else min(self.size, self.budget)

    def bring(self) -> None:
        """Brings it to the device; where that fails, nothing is left behind.

        Raises:
            SetupError: it cannot be built, or the budget is smaller than one of its layers.
        """
        large, module, host = self.streams, self.module, self._host
        if module is None:
            module = self._built(HOST if large and self.copies.separate else self.copies.device)
            host = tuple(tensor.detach() for tensor in tensors_of(module)) if large else ()
            self.moved.nbytes += 0 if large else self.size
        if large and self.streams and self.budget is not None:
            made = Streaming(self.spec.key, module, self.budget, self.copies, self.moved)
            self._streaming, host = made, ()
        elif host:
            self._fetched = self.copies.fetch(host)
            for tensor, copy in zip(tensors_of(module), self._fetched.tensors, strict=True):
                tensor.data = copy
            self.moved.nbytes += self._fetched.nbytes
        self.module, self._host = module, host
        self.moved.loads += 1

    def arrived(self) -> nn.Module:
        """The network, for use on the current stream."""
        if self.module is None:
            raise AssertionError(f"{self.spec.key} is used and not there")
        if self._fetched:
            self.copies.arrived(self._fetched)
        if self._streaming:
            self._streaming.arrived()
        return self.module

    def leave(self, *, keep: bool = True) -> None:
        """Takes it off the device; a device with a memory of its own leaves the host a copy.

        Where the host has no memory for that, the encoder is dropped.

        Args:
            keep: False drops it in any case, and copies nothing.
        """
        self.copies.finish()
        self.on_leave(self.spec.key)
        self.there, self.room, self._fetched = False, 0, None
        self.moved.evictions += 1
        if self._streaming:
            self._streaming.close()
            self._streaming = None
            self._host = tuple(tensor.detach() for tensor in self._tensors)
        if not keep:
            return self.forget()
        try:
            self._keep()
        except (RuntimeError, MemoryError):  # torch raises the former where pinning fails
            self.forget()
        return None

    def _keep(self) -> None:
        wanted = 0 if self._host else self.copies.host_bytes(self.size)
        if not (self.copies.separate and host_has_room(wanted)):
            return self.forget()
        self._host = self._host or self.copies.kept(self._tensors)
        for tensor, host in zip(self._tensors, self._host, strict=True):
            tensor.data = host
        return None

    def forget(self) -> None:
        """Drops the network, and its copy on the host."""
        self.module, self._host = None, ()

    @property
    def _tensors(self) -> list[Tensor]:
        return [] if self.module is None else tensors_of(self.module)

    def _built(self, device: torch.device) -> nn.Module:
        with self.copies.aside():
            module = self.build(self.spec, device)
        self.size = module_bytes(module)
        return module
