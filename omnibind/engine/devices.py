"""Which devices there are, and that one engine has each accelerator to itself."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence

import torch

from omnibind.errors import SetupError

__all__ = ["claim", "pick", "refuse_fork", "release"]

_owners: weakref.WeakValueDictionary[str, object] = weakref.WeakValueDictionary()


def pick(device: str | Sequence[str]) -> tuple[torch.device, ...]:
    """The devices that were asked for.

    Args:
        device: `auto` takes all GPUs, else the CPU; a name, or several, in a list or
            with commas between. A CPU that is named twice
            is two devices, for tests.

    Raises:
        SetupError: one that is not there.
    """
    names = [n.strip() for n in device.split(",")] if isinstance(device, str) else list(device)
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
    taken = [name for name in names if name in _owners]
    if taken or len(set(names)) < len(names):
        raise SetupError(
            f"an engine on {', '.join(names)}",
            found=f"{taken[0]} is another engine's of this process" if taken else "one named twice",
            next_step="share that engine (`shared_engine`, or `load(..., engine=...)`), close it, "
            "or choose another device",
        )
    for name in names:
        _owners[name] = owner


def release(owner: object) -> None:
    """Gives the devices of an engine back."""
    for name in [name for name, holder in _owners.items() if holder is owner]:
        del _owners[name]


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


def _checked(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SetupError(
            f"the device {name!r}",
            found=str(error).splitlines()[0],
            next_step="say auto, cpu, cuda, cuda:1, ...",
        ) from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise SetupError(
                f"the device {name!r}", found=_why_no_cuda(), next_step="say cpu, or mend that"
            )
        number = device.index if ":" in name else torch.cuda.current_device()
        if number >= torch.cuda.device_count():
            raise SetupError(
                f"the device {name!r}",
                found=f"{torch.cuda.device_count()} GPU(s), numbered from 0",
                next_step="choose one of these",
            )
        return torch.device("cuda", number)
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
