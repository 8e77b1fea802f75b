"""One encoder larger than the budget: its layers go through the device one after another."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from omnibind.engine.memory.copies import Copies, Fetched, Moved, absent
from omnibind.engine.memory.layers import Layer, finest, planned, tensors_of
from omnibind.engine.memory.watch import Watch
from omnibind.errors import PluginError

__all__ = ["Streaming"]


class Streaming:
    """Sends the layers of a network through a device while it computes.

    Before a layer runs, the one before it leaves the device, and the one after it begins to
    arrive; in which order they run is learned from the forward before. Of a layer that is not
    there, one NaN stands for each tensor, in the tensor's shape: where a network reads a layer
    without calling it, the rows show it. The forward is then watched, and the tensors that it
    reads out of turn stay on the device from then on.

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
        for tensor in tensors_of(self.module):
            tensor.data = self._host[id(tensor)]

    def _begin(self) -> None:
        plan = planned(self.module, self.budget, self.key, self._staying)
        self.nbytes, self.layers, self._ahead = plan.nbytes, plan.layers, plan.ahead
        streamed = [tensor for layer in plan.layers for tensor in layer.tensors]
        tensors = (*plan.resident, *streamed)
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
        for tensor in streamed:
            tensor.data = self._away[id(tensor)]
        self._hooks = [
            layer.module.register_forward_pre_hook(self._hook(layer), prepend=True)
            for layer in plan.layers
        ]
        self._forward = self.module.forward
        self.module.forward = self._run

    def _run(self, *args: Any, **options: Any) -> Any:
        """A forward; where it goes wrong because layers were missing, it is done again."""
        while True:
            failure, rows = None, None
            try:
                rows = self._pass(args, options)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - the item's fault, or a missing layer's
                failure = error
            if failure is None and _sound(rows):
                return rows
            strays, sound = self._watched(args, options)
            if strays:
                self._let_stay(strays)
            elif failure is not None:
                raise failure
            elif sound and not _any_finite(rows):
                raise self._refused("it reads layers without calling them, unseen", "")
            else:
                return rows

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
            for tensor in self._current.tensors:
                tensor.data = self._away[id(tensor)]
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
            tensor.data = copy

    def _watched(
        self, args: Sequence[Any], options: Mapping[str, Any]
    ) -> tuple[dict[int, Tensor], bool]:
        """Runs under watch: the tensors that are read out of turn, and whether rows are sound."""
        rows: Any = torch.tensor(float("nan"))
        with suppress(Exception), Watch(self._is_away) as watch:
            rows = self._pass(args, options)
        return watch.read, _sound(rows)

    def _is_away(self, tensor: Tensor) -> bool:
        away = self._away.get(id(tensor))
        return away is not None and away.data_ptr() == tensor.data_ptr()

    def _let_stay(self, strays: Mapping[int, Tensor]) -> None:
        """Plans anew, with tensors that have to stay.

        Raises:
            PluginError: they do not fit the budget.
        """
        names = [layer.name for layer in self.layers if any(id(t) in strays for t in layer.tensors)]
        size = sum(tensor.nbytes for tensor in strays.values())
        self._staying.update(strays)
        least = finest(self.module, self._staying).nbytes
        if least > self.budget:
            raise self._refused(
                f"{size:,} bytes of its layers {', '.join(names[:8])} are read without calling "
                "them, and so have to stay on the device",
                f"allow at least {least:,} bytes of memory for encoders",
            )
        self.close()
        self._begin()

    def _warn(self, staying: int) -> None:
        if staying > self.budget:
            warnings.warn(
                f"the encoder {self.key!r} takes {staying:,} bytes of memory, above the budget of "
                f"{self.budget:,}: on a CPU only weights that are used as their file has them "
                "are read layer by layer",
                stacklevel=2,
            )

    def _refused(self, found: str, next_step: str) -> PluginError:
        return PluginError(
            f"the encoder {self.key!r} within {self.budget:,} bytes, layer by layer",
            found=found,
            next_step=next_step or "give it more memory than its size, or call its layers",
        )


def _sound(rows: Any) -> bool:
    tensors = (one for one in tree_iter(rows) if isinstance(one, Tensor))
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def _any_finite(rows: Any) -> bool:
    tensors = (one for one in tree_iter(rows) if isinstance(one, Tensor))
    return any(bool(tensor.isfinite().any()) for tensor in tensors)
