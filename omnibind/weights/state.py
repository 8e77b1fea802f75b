"""Reading checkpoint files without running them, and fitting their keys to a module.

Nothing here unpickles objects: safetensors, `torch.load(weights_only=True)`, `allow_pickle=False`.
"""

from __future__ import annotations

import codecs
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from omnibind.errors import WeightsError

__all__ = ["LoadReport", "State", "load_state", "read_state"]

State = Mapping[str, Tensor]
PICKLED = (".pt", ".pth", ".bin", ".ckpt")
# What old training scripts leave beside the tensors: a loss or an epoch as a numpy scalar.
NUMPY_SCALAR: Any = np.float64(0).__reduce__()[0]
HARMLESS: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")),
    codecs.encode,
    (NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
]


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What became of a checkpoint's keys: which were used, which were dropped and why."""

    used: tuple[str, ...]
    dropped: Mapping[str, str]


def read_state(path: Path) -> dict[str, Tensor]:
    """Reads a file's tensors by key.

    `.safetensors` as they are; `.pt .pth .bin .ckpt` with nested containers joined by dots
    and everything that is no tensor left out; `.npy` under the file's stem; any other file as
    its bytes (uint8) under the file's name.

    Raises:
        WeightsError: unreadable, truncated, or a pickle that wants to run code.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix in PICKLED:
            return _read_pickled(path)
        if path.suffix == ".npy":
            return {path.stem: torch.from_numpy(np.load(path, allow_pickle=False))}
        return {path.name: torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)}
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"the tensors of {path}",
            found=f"a pickle that wants more than tensors: {str(error).splitlines()[0]}",
            next_step="do not trust it; ask for a safetensors file",
        ) from error
    except (SafetensorError, OSError, ValueError, RuntimeError, EOFError) as error:
        raise WeightsError(
            f"the tensors of {path}",
            found=f"{type(error).__name__}: {error}",
            next_step="the file is damaged or no checkpoint: delete it and fetch it again",
        ) from error


def load_state(
    module: nn.Module,
    state: State,
    *,
    rename: Callable[[str], str | None] | None = None,
    dropped: Mapping[str, str] | None = None,
    derived: Mapping[str, str] | None = None,
) -> LoadReport:
    """Fits a checkpoint to a module; every key is used or named as dropped.

    Args:
        module: its parameters and buffers are replaced (tensors are taken, not copied). One on
            the meta device takes the checkpoint's own precision; one with memory keeps its own.
        state: the published checkpoint.
        rename: published key -> key of the module; None for a key it does not know.
        dropped: pattern of published keys (`*.attn_mask`) -> why they are not needed.
        derived: pattern of the module's keys -> why no checkpoint has them.

    Raises:
        WeightsError: a missing, unexpected, doubled or misshapen key, each by name.
    """
    expected = module.state_dict()
    taken: dict[str, Tensor] = {}
    used: list[str] = []
    left: dict[str, str] = {}
    problems: list[str] = []
    for key, tensor in state.items():
        reason = _matching(key, dropped)
        if reason is not None:
            left[key] = reason
            continue
        name = rename(key) if rename else key
        problem = _misfit(key, name, tensor, expected, taken)
        if problem:
            problems.append(problem)
            continue
        taken[cast("str", name)] = _fitting(tensor, expected[cast("str", name)])
        used.append(key)
    absent = set(expected) - set(taken)
    problems += [f"missing {k}" for k in sorted(absent) if _matching(k, derived) is None]
    if problems:
        raise _does_not_fit(module, problems)
    module.load_state_dict(taken, strict=False, assign=True)
    return LoadReport(used=tuple(used), dropped=left)


def _fitting(tensor: Tensor, wanted: Tensor) -> Tensor:
    free = wanted.is_meta and wanted.is_floating_point() and tensor.is_floating_point()
    return tensor if free else tensor.to(wanted.dtype)


def _misfit(
    key: str, name: str | None, tensor: Tensor, expected: State, taken: State
) -> str | None:
    if name is None or name not in expected:
        return f"unexpected {key}" + (f" (as {name})" if name not in (None, key) else "")
    if name in taken:
        return f"twice {name} (again as {key})"
    if tensor.shape != expected[name].shape:
        return f"shape {key} {list(tensor.shape)}, not {list(expected[name].shape)}"
    return None


def _matching(key: str, patterns: Mapping[str, str] | None) -> str | None:
    for pattern, reason in (patterns or {}).items():
        if fnmatchcase(key, pattern):
            return reason
    return None


def _does_not_fit(module: nn.Module, problems: list[str]) -> WeightsError:
    shown = problems[:12]
    if len(problems) > len(shown):
        shown.append(f"... and {len(problems) - len(shown)} more")
    return WeightsError(
        f"the checkpoint for {type(module).__name__} to fit it, key by key",
        found=shown,
        next_step="check that file and size belong together; name keys that may go in `dropped`",
    )


def _read_pickled(path: Path) -> dict[str, Tensor]:
    with torch.serialization.safe_globals(HARMLESS):
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    return dict(_flatten(content, ""))


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _flatten(value: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield prefix, value
    elif isinstance(value, Mapping | list | tuple):
        inside = value if isinstance(value, Mapping) else dict(enumerate(value))
        for key, inner in cast("Mapping[Any, Any]", inside).items():
            yield from _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
