"""Networks laid out without memory: parameters on the meta device until their tensors arrive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter, tree_map_only

__all__ = ["Weightless"]


class Weightless(TorchFunctionMode):
    """Within it, `torch.empty` takes no memory; what is computed from numbers stays real.

    Parameters begin as `torch.empty`, so that they are left out; buffers that no checkpoint has
    (masks, tables of positions) are computed and so are kept. Some networks learn a width by
    running a layer on zeros while they are built (timm's hybrid stems, of ViTamin and MobileCLIP):
    an operation that meets a tensor without memory is therefore done without memory as a whole.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func is torch.empty and options.get("device") is None:
            options["device"] = "meta"
        elif any(isinstance(one, Tensor) and one.is_meta for one in tree_iter((args, options))):
            args, options = tree_map_only(Tensor, _without_memory, (args, options))
        return func(*args, **options)


def _without_memory(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_meta else tensor.to("meta")
