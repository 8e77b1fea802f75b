"""Which tensors of a network do operations read?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter

__all__ = ["Watch"]

ASKED = ("device", "dtype", "is_cuda", "layout", "nbytes", "ndim", "requires_grad", "shape")
# What tells of a tensor and not of its numbers, and what gives it new ones.
HARMLESS = {
    *(getattr(torch.Tensor, name).__get__ for name in ASKED),
    *(getattr(torch.Tensor, name) for name in ("data_ptr", "dim", "element_size", "numel", "size")),
    cast("Any", torch.Tensor).data.__set__,
}


class Watch(TorchFunctionMode):
    """Notes which of the tensors one asks about are read, until it is left.

    Args:
        asked: whether a tensor, in this moment, is one of them.

    Attributes:
        read: those that were read, by identity.
    """

    def __init__(self, asked: Callable[[Tensor], bool]) -> None:
        super().__init__()
        self.asked = asked
        self.read: dict[int, Tensor] = {}

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func not in HARMLESS:
            for one in tree_iter((args, options)):
                if isinstance(one, Tensor) and self.asked(one):
                    self.read[id(one)] = one
        return func(*args, **options)
