"""What a failed forward means for what comes next: a smaller batch, or the bad item looked for."""

from __future__ import annotations

import traceback

import torch

__all__ = ["out_of_memory", "stripped"]

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def stripped(error: Exception) -> Exception:
    """An error without what it keeps alive: the frames that it came through, and those before it.

    The frames of a forward have its activations. They go even where a network keeps its own error.
    """
    chain: list[BaseException] = [error]
    for one in chain:
        linked = (one.__cause__, one.__context__)
        chain += [other for other in linked if other and all(other is not it for it in chain)]
    for one in chain:
        traceback.clear_frames(one.__traceback__)
        one.__traceback__ = one.__cause__ = one.__context__ = None
    return error


def out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may help."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in NO_MEMORY)
