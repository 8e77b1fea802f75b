"""One view of arrays and tensors: a numpy array on the CPU, without importing torch."""

from __future__ import annotations

import sys
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray


def is_array(thing: object) -> TypeGuard[Any]:
    """Whether the object is a numpy array or a torch tensor of real numbers."""
    if isinstance(thing, np.ndarray):
        return thing.dtype.kind in "fiu"  # pyright: ignore[reportUnknownMemberType]
    return is_tensor(thing) and not thing.is_complex() and str(thing.dtype) != "torch.bool"


def is_tensor(thing: object) -> TypeGuard[Any]:
    """Whether the object is a torch tensor; nobody has one before torch is imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.Tensor)


def as_array(thing: Any) -> NDArray[Any]:
    """The numbers of an array or tensor; half precision becomes float32."""
    if is_tensor(thing):
        thing = thing.detach().cpu()
        small = thing.is_floating_point() and thing.element_size() < 4
        thing = (thing.float() if small else thing).numpy()
    array = np.asarray(thing)
    return array.astype(np.float32) if array.dtype == np.float16 else array
