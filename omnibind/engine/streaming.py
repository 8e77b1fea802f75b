"""One encoder larger than the budget: its layers go through the device one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter

from omnibind.engine.copies import Copies, Fetched, Moved, absent
from omnibind.engine.layers import Layer, planned
from omnibind.errors import PluginError, SetupError

__all__ = ["Streaming"]


class Streaming:
    """Sends the layers of a network through a device while it computes.

    Before a layer runs, the one before it leaves the device, and the one after it begins to
    arrive; in which order they run is learned from the forward before. Of a layer that is not
    there, one NaN stands for each tensor, in the tensor's shape: where a network reads a layer
    without calling it, the rows show it. It is then watched once, and the tensors it reads out of
    turn stay on the device from then on.

    One forward at a time. The addresses of tensors change with every forward: no CUDA graphs.

    Args:
        key: of the encoder, for messages.
        module: on the host, in eval mode; its tensors are exchanged in place until `close`.
        budget: bytes on the device, activations not counted.
        copies: to the device.
        moved: where what is moved is counted.

    Attributes:
        nbytes: on the device at the fullest moment.
        layers: that go through it; everything else stays.

    Raises:
        SetupError: the budget is smaller than one layer.
    """

    def __init__(
        self, key: str, module: nn.Module, budget: int, copies: Copies, moved: Moved
    ) -> None:
        plan = planned(module, budget, key)
        self.key, self.module, self.budget, self.copies = key, module, budget, copies
        self.nbytes, self.layers, self.ahead = plan.nbytes, plan.layers, plan.ahead
        self.moved = moved
        self._current: Layer | None = None
        self._coming: tuple[Layer, Fetched] | None = None
        self._moving = False
        self._order: list[Layer] = []
        self._seen: list[Layer] = []
        streamed = [tensor for layer in plan.layers for tensor in layer.tensors]
        self._host = _by_id((*plan.resident, *streamed), copies)
        self._stay(plan.resident)
        self._away = {id(tensor): absent(tensor, copies.device) for tensor in streamed}
        for tensor in streamed:
            tensor.data = self._away[id(tensor)]
        self._hooks = [
            layer.module.register_forward_pre_hook(self._hook(layer)) for layer in plan.layers
        ]
        self._forward = module.forward
        module.forward = self._run

    def close(self) -> None:
        """Leaves the module as it was: on the host, without hooks."""
        self.copies.finish()
        for hook in self._hooks:
            hook.remove()
        del self.module.forward
        self._current = self._coming = None
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            tensor.data = self._host[id(tensor)]

    def _run(self, *args: Any, **options: Any) -> Any:
        """A forward; where it went wrong, it is watched, and done again if layers were missing."""
        failure, rows = None, None
        try:
            rows = self._pass(args, options)
        except (SetupError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - was it the item, or a layer that was missing?
            failure = error
        if failure is None and _sound(rows):
            return rows
        if self._watched(args, options):
            return self._pass(args, options)
        if failure is not None:
            raise failure
        return rows

    def _pass(self, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        self._seen = []
        try:
            self._expect_next()
            rows = self._forward(*args, **options)
            self._order = self._seen
            return rows
        finally:
            self._moving = True
            self._leave()
            self._coming, self._moving = None, False

    def _hook(self, layer: Layer) -> Any:
        def before_forward(module: nn.Module, args: Any) -> None:
            self._moving = True
            self._turn_to(layer)
            self._moving = False

        return before_forward

    def _turn_to(self, layer: Layer) -> None:
        if layer is self._current:
            return
        self._leave()
        coming, self._coming = self._coming, None
        fetched = coming[1] if coming and coming[0] is layer else self._fetch(layer)
        del coming
        self.copies.arrived(fetched)
        for tensor, copy in zip(layer.tensors, fetched.tensors, strict=True):
            tensor.data = copy
        self._current = layer
        self._seen.append(layer)
        self._expect_next()

    def _leave(self) -> None:
        """Takes the present layer off the device."""
        self.copies.done_with()
        if self._current:
            for tensor in self._current.tensors:
                tensor.data = self._away[id(tensor)]
            self.copies.left([self._host[id(tensor)] for tensor in self._current.tensors])
        self._current = None

    def _expect_next(self) -> None:
        """Begins to move the layer that came next in the forward before."""
        place = len(self._seen)
        if self.ahead and place < len(self._order):
            following = self._order[place]
            self._coming = following, self._fetch(following)

    def _fetch(self, layer: Layer) -> Fetched:
        self.moved.layers[layer.name] += 1
        self.moved.nbytes += layer.nbytes
        return self.copies.fetch([self._host[id(tensor)] for tensor in layer.tensors])

    def _stay(self, tensors: Sequence[Tensor]) -> None:
        fetched = self.copies.arrived(self.copies.fetch([self._host[id(t)] for t in tensors]))
        self.moved.nbytes += fetched.nbytes
        for tensor, copy in zip(tensors, fetched.tensors, strict=True):
            tensor.data = copy

    def _watched(self, args: Sequence[Any], options: Mapping[str, Any]) -> bool:
        """Runs once under watch; whether tensors were read out of turn and now stay."""
        before, self._order = self.nbytes, []
        try:
            with _Watch(self):
                rows = self._pass(args, options)
        except (SetupError, torch.OutOfMemoryError):
            raise
        except Exception:  # noqa: BLE001 - the caller knows it, and raises it
            return self.nbytes > before
        if _sound(rows) and self.nbytes == before:
            raise PluginError(
                f"the encoder {self.key!r} within {self.budget:,} bytes, layer by layer",
                found="it reads a layer without calling it, where it cannot be seen",
                next_step="give it more memory than its size, or call its layers",
            )
        return self.nbytes > before

    def read(self, tensor: Tensor) -> None:
        """An operation is about to read a tensor: if its layer is not there, it stays from now on.

        Raises:
            PluginError: the budget has no room for it.
        """
        if self._moving:
            return
        for layer in self.layers:
            mine = [i for i, other in enumerate(layer.tensors) if other is tensor]
            if mine and layer is not self._current:
                if self.nbytes + tensor.nbytes > self.budget:
                    raise PluginError(
                        f"the encoder {self.key!r} within {self.budget:,} bytes, layer by layer",
                        found=f"{tensor.nbytes:,} bytes of its layer {layer.name!r} are read "
                        "without calling it, and there is no room for them to stay",
                        next_step=f"allow {self.nbytes + tensor.nbytes:,} bytes, or call the layer",
                    )
                self.nbytes += tensor.nbytes
                del layer.tensors[mine[0]]
                self._stay([tensor])


class _Watch(TorchFunctionMode):
    """Tells a streamed network which tensors operations read."""

    METADATA = ("shape", "dtype", "device", "ndim", "requires_grad", "is_cuda", "layout")
    ASKED = (torch.Tensor.size, torch.Tensor.dim, torch.Tensor.numel, torch.Tensor.element_size)

    def __init__(self, streaming: Streaming) -> None:
        super().__init__()
        self.streaming = streaming
        getters = (getattr(torch.Tensor, name).__get__ for name in self.METADATA)
        self.harmless = {*getters, *self.ASKED}

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func not in self.harmless:
            for one in tree_iter((args, options)):
                if isinstance(one, Tensor):
                    self.streaming.read(one)
        return func(*args, **options)


def _by_id(tensors: Sequence[Tensor], copies: Copies) -> dict[int, Tensor]:
    """The host's side of each tensor, by the identity of the module's."""
    hosts = copies.ready([tensor.detach() for tensor in tensors])
    return {id(tensor): host for tensor, host in zip(tensors, hosts, strict=True)}


def _sound(rows: Any) -> bool:
    return all(
        bool(torch.isfinite(one).all()) for one in tree_iter(rows) if isinstance(one, Tensor)
    )
