"""One encoder larger than the budget: its layers go through the device one after another."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from omnibind.engine.memory.away import Strays, bring_back, take_away
from omnibind.engine.memory.copies import Copies, Fetched, Moved, absent
from omnibind.engine.memory.layers import Layer, finest, planned, tensors_of
from omnibind.errors import PluginError

__all__ = ["Streaming"]


class Streaming:
    """Sends the layers of a network through a device while it computes.

    Before a layer runs, the one before it leaves the device, and the one after it begins to
    arrive; in which order they run is learned from the forward before. A tensor of a layer that is
    not there cannot be read (see `omnibind.engine.memory.away`): where a network reads a layer
    without calling it, the tensors stay on the device from then on, and the forward is done again.

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
        self.key, self.module, self.budget = key, module, budget
        self.copies, self.moved = copies, moved
        self._staying: dict[int, Tensor] = {}
        self._strays: Strays = {}
        self._begin()

    def arrived(self) -> None:
        """Lets the current stream read what stays on the device, `finish`'s tables among it."""
        self.copies.arrived(self._stay)  # another thread, on another stream, may have begun it

    def close(self) -> None:
        """Leaves the module as it was: on the host, without hooks."""
        self.copies.finish()
        for hook in self._hooks:
            hook.remove()
        vars(self.module).pop("forward", None)
        self._current = self._coming = None
        self._stay = Fetched(tensors=(), event=None)
        for tensor in self._tensors:  # those that the network has put in their places stay
            bring_back(tensor, self._host[id(tensor)])

    def _begin(self) -> None:
        plan = planned(self.module, self.budget, self.key, self._staying)
        self.nbytes, self.layers, self._ahead = plan.nbytes, plan.layers, plan.ahead
        streamed = [tensor for layer in plan.layers for tensor in layer.tensors]
        self._tensors = tensors = (*plan.resident, *streamed)
        hosts = self.copies.ready([tensor.detach() for tensor in tensors])
        self._host = {id(tensor): host for tensor, host in zip(tensors, hosts, strict=True)}
        self._warn(self.copies.left(hosts))
        self._away = {id(tensor): absent(tensor, self.copies.device) for tensor in streamed}
        self._current: Layer | None = None
        self._coming: tuple[Layer, Fetched] | None = None
        self._order: list[Layer] = []
        self._seen: list[Layer] = []
        self._stay = self._fetch(plan.resident)
        self._arrive(plan.resident, self._stay)
        self._take_away(streamed)
        self._hooks = [
            layer.module.register_forward_pre_hook(self._hook(layer), prepend=True)
            for layer in plan.layers
        ]
        self._forward = self.module.forward
        self.module.forward = self._run

    def _run(self, *args: Any, **options: Any) -> Any:
        """A forward; where it reads what is away, it is done again with that on the device."""
        while True:
            self._strays.clear()
            try:
                rows = self._pass(args, options)
            except torch.OutOfMemoryError:
                raise
            except Exception:
                if not self._strays:
                    raise
            else:
                if not self._strays:  # a network may go on after an error
                    return rows
            self._let_stay(dict(self._strays))

    def _pass(self, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        self._seen = []
        self.arrived()
        try:
            self._expect_next()
            rows = self._forward(*args, **options)
            self._order = self._seen
            return rows
        finally:
            self._leave()
            self._coming = None

    def _hook(self, layer: Layer) -> Any:
        def before_forward(module: nn.Module, args: Any) -> None:
            self._turn_to(layer)

        return before_forward

    def _turn_to(self, layer: Layer) -> None:
        if layer is self._current:
            return
        self._leave()
        coming, self._coming = self._coming, None
        ready = coming is not None and coming[0] is layer
        fetched = coming[1] if coming and ready else self._fetch_layer(layer)
        del coming
        self._arrive(layer.tensors, fetched)
        self._current = layer
        self._seen.append(layer)
        self._expect_next()

    def _leave(self) -> None:
        """Takes the present layer off the device."""
        if self._current:
            self.copies.done_with()
            self._take_away(self._current.tensors)
            self.copies.left([self._host[id(tensor)] for tensor in self._current.tensors])
        self._current = None

    def _expect_next(self) -> None:
        """Begins to move the layer that came next in the forward before."""
        place = len(self._seen)
        if self._ahead and place < len(self._order):
            following = self._order[place]
            if following is not self._current:
                self._coming = following, self._fetch_layer(following)

    def _fetch_layer(self, layer: Layer) -> Fetched:
        self.moved.layers[layer.name] += 1
        return self._fetch(layer.tensors)

    def _fetch(self, tensors: Sequence[Tensor]) -> Fetched:
        fetched = self.copies.fetch([self._host[id(tensor)] for tensor in tensors])
        self.moved.nbytes += fetched.nbytes
        return fetched

    def _arrive(self, tensors: Sequence[Tensor], fetched: Fetched) -> None:
        self.copies.arrived(fetched)
        for tensor, copy in zip(tensors, fetched.tensors, strict=True):
            bring_back(tensor, copy)

    def _take_away(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            take_away(tensor, self._away[id(tensor)], self._strays)

    def _let_stay(self, strays: Strays) -> None:
        """Plans anew, with tensors that have to stay.

        Raises:
            PluginError: they do not fit the budget.
        """
        self._staying.update(strays)
        least = finest(self.module, self._staying).nbytes
        if least > self.budget:
            raise self._refused(least)
        self.close()
        self._begin()

    def _refused(self, least: int) -> PluginError:
        named = self.module.named_parameters()
        strays = [name for name, tensor in named if id(tensor) in self._staying]
        size = sum(tensor.nbytes for tensor in self._staying.values())
        more = f" and {len(strays) - 8} more" if len(strays) > 8 else ""
        whole = sum(tensor.nbytes for tensor in tensors_of(self.module))
        return PluginError(
            f"the encoder {self.key!r} within {self.budget:,} bytes, layer by layer",
            found=f"{', '.join(strays[:8])}{more}, {size:,} bytes, are read without calling their "
            "layers, and so have to stay on the device",
            next_step=f"call its layers, or allow more memory for encoders: at least {least:,} "
            f"bytes; with {whole:,} it is there as a whole",
        )

    def _warn(self, staying: int) -> None:
        if staying > self.budget:
            warnings.warn(
                f"the encoder {self.key!r} takes {staying:,} bytes of memory, above the budget of "
                f"{self.budget:,}: on a CPU only weights that are used as their file has them "
                "are read layer by layer",
                stacklevel=2,
            )
