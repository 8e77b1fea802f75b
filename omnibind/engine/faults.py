"""What a failed forward means for what comes next: a smaller batch, a bad item, or the end."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import torch

from omnibind.errors import SetupError

__all__ = ["device_lost", "lost", "out_of_memory", "stripped", "touch"]

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
# Of these CUDA says that whatever a process asks of the device afterwards gives the same error.
FATAL = (
    "device-side assert triggered",
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "unspecified launch failure",
    "misaligned address",
    "invalid program counter",
    "operation not supported on global/shared address space",
    "hardware stack error",
    "the launch timed out and was terminated",
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error detected",
)


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


def lost(error: Exception, works: Callable[[], object]) -> bool:
    """Whether nothing can succeed any more on the device that an error came from.

    Args:
        error: of a forward, or of bringing weights.
        works: does something small there (see `touch`), and raises where that fails.
    """
    if out_of_memory(error):
        return False
    if isinstance(error, RuntimeError) and any(sign in str(error) for sign in FATAL):
        return True
    try:
        works()
    except Exception as second:  # noqa: BLE001 - whatever it is: the device does not even do this
        return not out_of_memory(second)
    return False


def touch(device: torch.device) -> None:
    """Has a device compute one number, and waits for it and for all before it on this stream.

    Run on a CPU only: no GPU was at hand.
    """
    torch.ones((), device=device).item()


def device_lost(what: str, device: torch.device, error: Exception) -> SetupError:
    """What a call ends with on such a device.

    Args:
        what: was under way when that showed.
        device: is lost.
        error: as `lost` was given it.
    """
    reason = next(iter(str(error).splitlines()), "")
    return SetupError(
        f"{what} on {device}",
        found=f"{type(error).__name__}: {reason}: after it nothing succeeds there in this process, "
        "whichever batch under way was at fault",
        next_step="start the process anew; with CUDA_LAUNCH_BLOCKING=1 the error comes from the "
        "operation that is at fault",
    )
