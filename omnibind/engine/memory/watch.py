"""Reads of tensors that are not on the device: refused, and noted.

A tensor has another class while it is away, as torch's lazy parameters have until they are filled.
An operation that is given one is refused, in any forward, and where all are there nothing is asked.
Compiled functions do not look at the class: so a network's first forward is watched operation by
operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

__all__ = ["Strays", "Watch", "bring_back", "take_away"]

Strays = dict[int, Tensor]
"""Tensors that were read while they were away, by identity."""

ASKED = (
    *("device", "dtype", "is_cpu", "is_cuda", "is_leaf", "is_meta", "is_mps", "is_nested"),
    *("is_quantized", "is_sparse", "is_xpu", "itemsize", "layout", "nbytes", "ndim"),
    *("requires_grad", "shape"),
)
TOLD = (
    *("__len__", "__repr__", "dim", "element_size", "get_device", "is_complex", "is_contiguous"),
    *("is_floating_point", "is_signed", "ndimension", "nelement", "numel", "size"),
    *("storage_offset", "stride"),
)
LIKE = (
    *("empty_like", "full_like", "ones_like", "rand_like", "randint_like", "randn_like"),
    "zeros_like",
)
NEW = ("new_empty", "new_empty_strided", "new_full", "new_ones", "new_zeros")
AFTER = ("expand_as", "reshape_as", "to", "type_as", "view_as")
"""Of their second tensor these take shape, type and device."""
# What tells of a tensor and not of its numbers, and what gives it new ones.
HARMLESS = {
    *(getattr(Tensor, name).__get__ for name in ASKED),
    *(getattr(Tensor, name) for name in (*TOLD, *NEW)),
    *(getattr(torch, name) for name in (*LIKE, "is_complex", "is_floating_point", "numel")),
    cast("Any", Tensor).data.__set__,
}
FOLLOWING = {getattr(Tensor, name) for name in AFTER}
ASKING = {*LIKE, *NEW, "_has_compatible_shallow_copy_type"}
"""Operations that are as harmless; the last one is asked by whoever gives a tensor new numbers."""


class _Away(nn.Parameter):
    """What a tensor is while it is away."""

    strays: Strays
    was: type[Tensor]

    @classmethod
    def __torch_function__(
        cls,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func not in HARMLESS:
            for one in tree_iter(args[:1] if func in FOLLOWING else (args, kwargs)):
                if isinstance(one, _Away):
                    _refuse(one, one.strays)
        return super().__torch_function__(func, types, args, kwargs or {})


class Watch(TorchDispatchMode):
    """Refuses operations that are given numbers which stand for those of a tensor that is away.

    Args:
        find: the tensor for which another one stands.
        strays: those that were read are noted there.
    """

    supports_higher_order_operators = True

    def __init__(self, find: Callable[[Tensor], Tensor | None], strays: Strays) -> None:
        super().__init__()
        self._find, self._strays = find, strays

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, which takes a second

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "overloadpacket", func).__name__
        if name not in ASKING:
            for one in tree_iter(args[:1] if name in AFTER else (args, kwargs)):
                if isinstance(one, Tensor) and one.layout is torch.strided:
                    stray = self._find(one)
                    if stray is not None:
                        _refuse(stray, self._strays)
        return func(*args, **(kwargs or {}))


def take_away(tensor: Tensor, stand_in: Tensor, strays: Strays) -> None:
    """Puts a stand-in for a tensor's numbers; that it is read is noted in `strays` from now on."""
    away = cast("Any", tensor)
    away.data = stand_in
    away.was, away.strays = type(tensor), strays
    away.__class__ = _Away


def bring_back(tensor: Tensor, numbers: Tensor) -> None:
    """Gives a tensor its numbers, whether it was away or not."""
    there = cast("Any", tensor)
    if isinstance(tensor, _Away):
        there.__class__ = there.was
        del there.was, there.strays
    there.data = numbers


def _refuse(tensor: Tensor, strays: Strays) -> None:
    strays[id(tensor)] = tensor
    raise RuntimeError("a tensor is read while its layer is not on the device")
