"""Reads of tensors that are not on the device: refused, and noted.

A tensor has another class while it is away, as torch's lazy parameters have until they are filled.
An operation that is given one is refused, in any forward, and where all are there nothing is asked.
Compiled functions (TorchScript) that are handed one do not look at its class: they compute with
NaN, and the engine keeps no row that has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter

__all__ = ["Strays", "bring_back", "take_away"]

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
# What tells of a tensor and not of its numbers, and what gives it new ones.
HARMLESS = {
    *(getattr(Tensor, name).__get__ for name in ASKED),
    *(getattr(Tensor, name) for name in (*TOLD, *NEW)),
    *(getattr(torch, name) for name in (*LIKE, "is_complex", "is_floating_point", "numel")),
    cast("Any", Tensor).data.__set__,
}
AFTER = {getattr(Tensor, name) for name in ("expand_as", "reshape_as", "to", "type_as", "view_as")}
"""Of their second tensor these take shape, type and device."""


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
            for one in tree_iter(args[:1] if func in AFTER else (args, kwargs)):
                if isinstance(one, _Away):
                    _refuse(one, one.strays)
        return super().__torch_function__(func, types, args, kwargs or {})


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
