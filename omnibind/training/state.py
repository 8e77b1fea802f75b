"""What a killed run goes on from: parameters, the optimiser's moments and the step, in one file."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from omnibind.writing import whole

__all__ = ["Reached", "forget", "restore", "save"]

NAME = "state.safetensors"


class Reached(NamedTuple):
    """How far a run has come: its next step, the seconds spent, the loss of the step before."""

    step: int = 0
    spent: float = 0.0
    loss: float = math.nan


def save(
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    inputs: str,
    at: Reached,
) -> None:
    """Writes `state.safetensors`, at once or not at all.

    Args:
        folder: there already.
        module: its whole state is kept.
        optimiser: over parameters of the module.
        inputs: fingerprint of what the run depends on.
        at: how far the run has come.

    Raises:
        NoRoomError: the disk is full; the state of before is kept.
    """
    tensors = {f"module/{key}": value for key, value in module.state_dict().items()}
    for name, parameter in module.named_parameters():
        for key, value in cast("dict[str, Tensor]", optimiser.state.get(parameter, {})).items():
            tensors[f"optimiser/{name}/{key}"] = value
    facts = json.dumps({"inputs": inputs, **at._asdict()})
    with whole(folder / NAME) as part:
        save_file({k: v.contiguous() for k, v in tensors.items()}, part, metadata={"state": facts})


def restore(
    folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer, *, inputs: str
) -> Reached:
    """Puts a saved state back; the beginning where there is none of the same inputs.

    One that is damaged is warned about, and the beginning too.
    """
    path = folder / NAME
    if not path.is_file():
        return Reached()
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["state"])
            if facts["inputs"] != inputs or "loss" not in facts:
                return Reached()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        _refuse_others(_below(tensors, "module/"), module.state_dict())
        reached = Reached(int(facts["step"]), float(facts["spent"]), float(facts["loss"]))
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        warnings.warn(
            f"{path} cannot be read ({type(error).__name__}: {error}): training begins again",
            stacklevel=2,
        )
        return Reached()
    module.load_state_dict(_below(tensors, "module/"))
    for name, parameter in module.named_parameters():
        own = _below(tensors, f"optimiser/{name}/")
        if own:
            optimiser.state[parameter] = {k: v.to(parameter.device) for k, v in own.items()}
    return reached


def forget(folder: Path) -> None:
    """Removes the state of a run that is done."""
    (folder / NAME).unlink(missing_ok=True)


def _refuse_others(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Before any is put in its place."""
    shapes = [{name: tuple(one.shape) for name, one in several.items()} for several in (found, own)]
    if shapes[0] != shapes[1]:
        differ = sorted(name for name, _ in shapes[0].items() ^ shapes[1].items())
        raise ValueError(f"tensors of another network: {', '.join(dict.fromkeys(differ))}")


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
