"""The bound checkpoint: a folder with a recipe, its projectors and its routers.

recipe.json                     recipe, spaces, checksums, slot priors, training facts
projectors/<space>.safetensors  one file a space
routers.safetensors             absent where no router was trained
README.md                       the model card, for people
timings.json                    seconds that training took; all else depends on the seed alone
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from omnibind.binder import Binder
from omnibind.errors import CheckpointError
from omnibind.named import CONTENT
from omnibind.projectors import (
    HeadEnsemble,
    Identity,
    Linear,
    Projector,
    read_projector,
    write_projector,
)
from omnibind.routers import Router
from omnibind.specs import Recipe, Size, Slot, SpaceSpec
from omnibind.weights.build import seeded
from omnibind.weights.checksums import checksum
from omnibind.writing import copy_file, whole, write_text

__all__ = [
    "BoundCheckpoint",
    "is_whole",
    "random_checkpoint",
    "read_checkpoint",
    "read_routers",
    "recipe_from_json",
    "write_checkpoint",
    "write_routers",
]

FORMAT = 1
CARD = "README.md"


@dataclass(frozen=True, kw_only=True)
class BoundCheckpoint:
    """What a checkpoint folder holds.

    Attributes:
        recipe: slots and router inputs.
        projectors: by space.
        routers: by modality.
        priors: modality -> slot -> mean weight recorded at training.
        facts: licences, training data, metrics: whatever the trainer recorded, as JSON.
        timings: seconds by stage.
    """

    recipe: Recipe
    projectors: Mapping[str, Projector]
    routers: Mapping[str, Router] = field(default_factory=dict)
    priors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)

    def binder(self, spaces: Iterable[str] | None = None) -> Binder:
        """A binder of all its spaces, or of some."""
        chosen = set(self.projectors if spaces is None else spaces)
        projectors = {name: p for name, p in self.projectors.items() if name in chosen}
        return Binder(self.recipe, projectors, self.routers, self.priors).eval()


def random_checkpoint(
    recipe: Recipe, spaces: Mapping[str, SpaceSpec], *, size: Size = "full"
) -> BoundCheckpoint:
    """Seeded random projectors and routers for a recipe: for benchmarks, never for results.

    Args:
        recipe: which projectors and routers there are.
        spaces: cards, for widths; a space without one has no projector, and a router that
            reads it is left out.
        size: `tiny` has heads of toy width.
    """
    hidden = recipe.hidden if size == "full" else min(recipe.hidden, 32)

    def heads(name: str) -> nn.Module:
        count = len(recipe.heads)
        return HeadEnsemble([name], spaces[name].dim, recipe.joint_dim, heads=count, hidden=hidden)

    def router(modality: str) -> nn.Module:
        width = sum(spaces[name].dim for name in recipe.router_inputs[modality])
        slots = [slot.name for slot in recipe.slots[modality]]
        return Router(width, slots, temperature=recipe.temperature.get(modality, 1.0))

    def rotation(name: str) -> nn.Module:
        module = Linear(name, spaces[name].dim, recipe.joint_dim)
        nn.init.orthogonal_(module.weight)
        return module

    named = [name for name in recipe.spaces if name in spaces and name not in recipe.headless]
    taken: dict[str, Projector] = {
        n: Identity(n, recipe.joint_dim) for n in recipe.aligned if n in spaces
    }
    taken |= {
        n: cast("Projector", seeded(partial(rotation, n), n, 0).eval())
        for n in recipe.rotated_spaces
        if n in spaces
    }
    routed = [m for m, names in recipe.router_inputs.items() if all(n in spaces for n in names)]
    return BoundCheckpoint(
        recipe=recipe,
        projectors={n: cast("Projector", seeded(partial(heads, n), n, 0).eval()) for n in named}
        | taken,
        routers={m: cast("Router", seeded(partial(router, m), m, 0).eval()) for m in routed},
        facts={"origin": "random: seeded initial values, nothing learned"},
    )


def write_checkpoint(
    checkpoint: BoundCheckpoint,
    folder: Path,
    spaces: Mapping[str, SpaceSpec],
    *,
    as_in: Path | None = None,
) -> None:
    """Writes a checkpoint folder; `recipe.json` comes last, so a folder that has it is whole.

    Args:
        checkpoint: what to write.
        folder: made if it is not there; files of the same names are replaced.
        spaces: cards of its spaces, the backbone's too, for revisions and licences.
        as_in: another checkpoint folder; projector files that it has are copied byte for byte,
            and what it says of its spaces stays.

    Raises:
        NoRoomError: the disk is full.
    """
    (folder / "projectors").mkdir(parents=True, exist_ok=True)
    for name, projector in checkpoint.projectors.items():
        path = folder / "projectors" / f"{name}.safetensors"
        there = as_in / "projectors" / path.name if as_in else path
        if as_in and there.is_file():
            copy_file(there, path)
        else:
            write_projector(projector, path, backbone=checkpoint.recipe.backbone)
    if checkpoint.routers:
        write_routers(checkpoint.routers, folder / "routers.safetensors")
    timings = json.dumps(dict(checkpoint.timings), indent=1)
    write_text(folder / "timings.json", timings)
    known = {name: _facts(card) for name, card in spaces.items()}
    known |= _read_json(as_in)["spaces"] if as_in else {}
    write_text(folder / CARD, _model_card(checkpoint, known))
    content = {
        "format": FORMAT,
        "recipe": dataclasses.asdict(checkpoint.recipe),
        "spaces": {name: known[name] for name in _named(checkpoint) if name in known},
        "sha256": {
            str(path.relative_to(folder)): checksum(path)
            for path in sorted(folder.rglob("*.safetensors"))
        },
        "priors": checkpoint.priors,
        "facts": checkpoint.facts,
    }
    write_text(folder / CONTENT, json.dumps(content, indent=1, default=dict))


def read_checkpoint(folder: Path) -> BoundCheckpoint:
    """Reads and verifies a checkpoint folder.

    Raises:
        CheckpointError: no checkpoint, another format, a damaged or exchanged file.
    """
    content = _read_json(folder)
    for name, expected in _changed(folder, content):
        raise CheckpointError(
            f"the file {name} of the checkpoint {folder}",
            found=f"not the sha256 {expected[:12]}…"
            if (folder / name).is_file()
            else "no such file",
            next_step="copy the whole folder again, or bind it again",
        )
    try:
        recipe = recipe_from_json(content["recipe"])
        projectors = {
            path.stem: read_projector(path)
            for path in sorted((folder / "projectors").glob("*.safetensors"))
        }
        routers = read_routers(folder / "routers.safetensors", recipe)
        timings = _timings(folder)
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise _damaged(folder, error) from error
    return BoundCheckpoint(
        recipe=recipe,
        projectors=projectors,
        routers=routers,
        priors=content["priors"],
        facts=content["facts"],
        timings=timings,
    )


def is_whole(folder: Path) -> bool:
    """Whether a checkpoint folder has all its files, as they were written."""
    try:
        content = _read_json(folder)
    except CheckpointError:
        return False
    return (folder / CARD).is_file() and not any(_changed(folder, content))


def _changed(folder: Path, content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Files that are gone or not as they were written, and the checksums that they had."""
    for name, expected in content["sha256"].items():
        if not (folder / name).is_file() or checksum(folder / name) != expected:
            yield name, expected


def recipe_from_json(content: Mapping[str, Any]) -> Recipe:
    """A recipe card from the form that `dataclasses.asdict` gives it."""
    known = {f.name for f in dataclasses.fields(Recipe)}
    values: dict[str, Any] = {key: value for key, value in content.items() if key in known}
    slots: dict[str, Any] = values["slots"]
    values["slots"] = {m: tuple(Slot(**slot) for slot in listed) for m, listed in slots.items()}
    values["router_inputs"] = {m: tuple(names) for m, names in values["router_inputs"].items()}
    values["heads"] = tuple(values["heads"])
    values["aligned"] = tuple(values.get("aligned", ()))
    values["rotated"] = tuple(tuple(group) for group in values.get("rotated", ()))
    return Recipe(**values)


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / CONTENT
    if not path.is_file():
        raise CheckpointError(
            f"the bound checkpoint {folder}",
            found=f"no {CONTENT} in it" if folder.is_dir() else "no such folder",
            next_step=f"give the folder that holds {CONTENT}, or a recipe's name",
        )
    try:
        content = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, not {FORMAT}: update omnibind")
        return {"sha256": {}, "priors": {}, "facts": {}, "spaces": {}, **content}
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, error) from error


def _timings(folder: Path) -> dict[str, float]:
    path = folder / "timings.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_routers(routers: Mapping[str, Router], path: Path) -> None:
    """Writes the routers of a recipe as one safetensors file, keys `<modality>.<key>`."""
    state = {
        f"{modality}.{key}": value.contiguous()
        for modality, router in routers.items()
        for key, value in router.state_dict().items()
    }
    with whole(path) as part:
        save_file(state, part)


def read_routers(path: Path, recipe: Recipe) -> dict[str, Router]:
    """Reads what `write_routers` wrote, by modality; none where there is no such file."""
    if not path.is_file():
        return {}
    state = load_file(path)
    routers: dict[str, Router] = {}
    for modality in sorted({key.partition(".")[0] for key in state}):
        prefix = f"{modality}."
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        router = Router(
            own["net.0.weight"].shape[1],
            [slot.name for slot in recipe.slots[modality]],
            temperature=recipe.temperature.get(modality, 1.0),
        )
        router.load_state_dict(own)
        routers[modality] = router.eval()
    return routers


def _damaged(folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"the bound checkpoint {folder}",
        found=f"{type(error).__name__}: {error}",
        next_step="copy the whole folder again, or bind it again",
    )


def _named(checkpoint: BoundCheckpoint) -> tuple[str, ...]:
    """Spaces that joint rows depend on; the backbone gives coordinates and has no projector."""
    return tuple(dict.fromkeys([checkpoint.recipe.backbone, *checkpoint.projectors]))


def _facts(space: SpaceSpec) -> dict[str, Any]:
    return {
        "revision": space.revision,
        "licence": space.licence,
        "commercial_use": space.commercial_use,
        "training_data": space.training_data,
        "encoders": {m: e.key for m, e in space.encoders.items()},
    }


def _model_card(checkpoint: BoundCheckpoint, spaces: Mapping[str, Mapping[str, Any]]) -> str:
    recipe = checkpoint.recipe
    lines = [f"# {recipe.name}", "", f"Joint rows of width {recipe.joint_dim}, in the coordinates "]
    lines[-1] += f"of `{recipe.backbone}`. Made by omnibind; `omnibind.load(<this folder>)`."
    lines += ["", "| space | licence | commercial use | seen in training |", "|---|---|---|---|"]
    for name in _named(checkpoint):
        said = f"{name} (backbone)" if name == recipe.backbone else name
        if one := spaces.get(name):
            allowed = {True: "yes", False: "no", None: "unclear"}[one["commercial_use"]]
            lines.append(f"| {said} | {one['licence']} | {allowed} | {one['training_data']} |")
        else:
            lines.append(f"| {said} | unknown: its plugin was not installed | unclear | unknown |")
    for title, value in checkpoint.facts.items():
        if isinstance(value, str):
            lines += ["", f"## {title}", "", value]
            continue
        lines += ["", f"## {title}", "", "```json", json.dumps(value, indent=1), "```"]
    return "\n".join([*lines, ""])
