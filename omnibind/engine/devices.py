"""Which devices there are, and that one engine has each accelerator to itself."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence

import torch

from omnibind.errors import SetupError

__all__ = ["claim", "pick", "refuse_fork", "release"]

_owners: weakref.WeakValueDictionary[tuple[int, str], object] = weakref.WeakValueDictionary()
"""By process and device: a fork has the devices of none of its parent's engines."""
CHOICE = "say auto, cpu, cuda, cuda:1, ..."


def pick(device: str | Sequence[str]) -> tuple[torch.device, ...]:
    """The devices that were asked for.

    Args:
        device: `auto` takes all GPUs, else the CPU; a name, or several, in a list or
            with commas between. A CPU that is named twice
            is two devices, for tests.

    Raises:
        SetupError: one that is not there, or that torch does not reach in a forked process.
    """
    names = [n.strip() for n in device.split(",")] if isinstance(device, str) else list(device)
    if any(str(name).partition(":")[0] != "cpu" for name in names):
        _refuse_started(names)
    if names == ["auto"]:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        names = [f"cuda:{number}" for number in range(count)] or ["cpu"]
    if not names:
        raise SetupError("an engine", found="no device", next_step="name one, or say 'auto'")
    return tuple(_checked(name) for name in names)


def claim(owner: object, devices: Sequence[torch.device]) -> None:
    """Notes that an engine has these devices; it gives them back when it is gone or closed.

    Raises:
        SetupError: another engine of this process has one of them: both would think all of its
            memory theirs. CPUs may be shared.
    """
    names = [str(device) for device in devices if device.type != "cpu"]
    process = os.getpid()
    taken = [name for name in names if (process, name) in _owners]
    if taken or len(set(names)) < len(names):
        raise SetupError(
            f"an engine on {', '.join(names)}",
            found=f"{taken[0]} is another engine's of this process" if taken else "one named twice",
            next_step="share that engine (`shared_engine`, or `load(..., engine=...)`), close it, "
            "or choose another device",
        )
    for name in names:
        _owners[process, name] = owner


def release(owner: object) -> None:
    """Gives the devices of an engine back."""
    for held in [held for held, holder in _owners.items() if holder is owner]:
        del _owners[held]


def refuse_fork(pid: int) -> None:
    """Refuses an engine that was inherited.

    Raises:
        SetupError: the process was forked after the engine was made: its threads, and what it had
            on a GPU, stayed behind.
    """
    if os.getpid() != pid:
        raise SetupError(
            "to encode in a forked process",
            found=f"an engine that was made in process {pid}, before the fork",
            next_step="make an engine in this process, and start processes with 'spawn' or "
            "'forkserver' where a GPU is used",
        )


def _refuse_started(names: Sequence[str]) -> None:
    """CUDA that has started does not outlive a fork. Not run yet: no GPU was at hand."""
    if torch.cuda._is_in_bad_fork():  # pyright: ignore[reportPrivateUsage]
        raise SetupError(
            f"an engine on {', '.join(map(str, names))} in a forked process",
            found="CUDA that was started before the fork, and did not come along",
            next_step="start processes with the method 'spawn' "
            '(`multiprocessing.get_context("spawn")`), or say cpu',
        )


def _checked(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise SetupError(
            f"the device {name!r}", found=str(error).splitlines()[0], next_step=CHOICE
        ) from error
    if device.type not in ("cpu", "cuda"):
        return _other(name, device)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise SetupError(
                f"the device {name!r}", found=_why_no_cuda(), next_step="say cpu, or mend that"
            )
        number = device.index if ":" in str(device) else torch.cuda.current_device()
        if number >= torch.cuda.device_count():
            raise SetupError(
                f"the device {name!r}",
                found=f"{torch.cuda.device_count()} GPU(s), numbered from 0",
                next_step="choose one of these",
            )
        return torch.device("cuda", number)
    return device


def _other(name: str, device: torch.device) -> torch.device:
    """Of an accelerator that is no GPU of CUDA: torch has one kind at most, and names it."""
    there = torch.accelerator.current_accelerator(check_available=True)
    if there is None or there.type != device.type:
        raise SetupError(
            f"the device {name!r}",
            found=f"torch {torch.__version__}, which can use no {device.type} on this machine",
            next_step=CHOICE,
        )
    count = torch.accelerator.device_count()
    if (device.index or 0) >= count:
        raise SetupError(
            f"the device {name!r}",
            found=f"{count} of {device.type}, numbered from 0",
            next_step="choose one of these",
        )
    return device


def _why_no_cuda() -> str:
    """What torch says when it starts CUDA: no driver, one that is too old, no GPU."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__}, which was built without CUDA"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0]
    return "no GPU that this process may use"
