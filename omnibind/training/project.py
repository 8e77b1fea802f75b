"""The stage `project`: trains a projector a space, into `DIR/project/projectors/`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from torch import nn

from omnibind.errors import TrainingError
from omnibind.projectors import (
    HeadEnsemble,
    Identity,
    Projector,
    read_projector,
    write_projector,
)
from omnibind.specs import Recipe
from omnibind.training.descent import OnStep, descend
from omnibind.training.done import Trained, done, fingerprint, mark_done, of_rows, of_tuples
from omnibind.training.heads import HeadObjective, HeadSettings, modalities_of, new_heads
from omnibind.training.ranks import ALONE, Ranks
from omnibind.training.rotate import rotations
from omnibind.training.state import forget
from omnibind.training.tuples import RowSource, Tuples

__all__ = ["made_of", "read_projectors", "run", "train_heads"]


def run(
    out: Path,
    *,
    recipe: Recipe,
    rows: RowSource,
    tuples: Tuples,
    settings: HeadSettings | None = None,
    inputs: str = "",
    ranks: Ranks = ALONE,
    on_step: OnStep | None = None,
) -> Trained:
    """Trains the heads of every space of the recipe but the `headless`, and finds rotations.

    Skipped where it was done by the same inputs; goes on where it was killed.

    Args:
        out: the folder of the bind; everything is written below `out/project`.
        recipe: spaces, backbone, heads, hidden width.
        rows: of the pools.
        tuples: made by the stage `pair`.
        settings: of the training.
        inputs: fingerprint of what the rows and tuples were made of.
        ranks: the processes that train together.
        on_step: told of each step.

    Raises:
        TrainingError: it cannot start, or had to stop.
    """
    settings, folder = settings or HeadSettings(), out / "project"
    inputs = made_of(recipe, rows, tuples, settings, inputs)
    known = done(folder, inputs)
    if known is not None:
        return Trained(skipped=True, resumed=0, facts=known)
    began = time.monotonic()
    turned: dict[str, Projector] = {}
    for group in recipe.rotated:
        turned |= rotations(group, recipe.backbone, rows, tuples, seed=settings.descent.seed)
    fitted = time.monotonic() - began
    spaces = _spaces(recipe, rows, tuples)
    if spaces:
        projectors, resumed, facts = train_heads(
            folder, recipe, spaces, rows, tuples, settings, inputs, ranks, on_step
        )
    else:
        projectors, resumed, facts = {}, 0, _nothing_trained(settings)
    facts["seconds"] += fitted
    if ranks.first:
        taken = {name: Identity(name, recipe.joint_dim) for name in recipe.aligned}
        paths = _write({**projectors, **taken, **turned}, folder / "projectors", recipe.backbone)
        mark_done(folder, inputs, facts, paths)
        forget(folder)
    ranks.wait()
    return Trained(skipped=False, resumed=resumed, facts=facts)


def made_of(
    recipe: Recipe, rows: RowSource, tuples: Tuples, settings: HeadSettings, inputs: str
) -> str:
    """A fingerprint of all that the projectors depend on; arguments as of `run`."""
    needed = (recipe.backbone, recipe.joint_dim, recipe.hidden, recipe.heads, recipe.spaces)
    needed = (*needed, recipe.aligned) if recipe.aligned else needed
    needed = (*needed, recipe.rotated) if recipe.rotated else needed
    return fingerprint(needed, asdict(settings), of_rows(rows, tuples), of_tuples(tuples), inputs)


def train_heads(
    folder: Path,
    recipe: Recipe,
    spaces: tuple[str, ...],
    rows: RowSource,
    tuples: Tuples,
    settings: HeadSettings,
    inputs: str,
    ranks: Ranks = ALONE,
    on_step: OnStep | None = None,
    first: Mapping[str, HeadEnsemble] | None = None,
) -> tuple[dict[str, HeadEnsemble], int, dict[str, Any]]:
    """Trained heads by space, the step at which a killed run went on, and facts to record.

    Spaces that are in `first` begin there, the others at seeded values.
    """
    dims = {space: _dim(space, rows, tuples) for space in spaces}
    if _dim(recipe.backbone, rows, tuples) != recipe.joint_dim:
        raise TrainingError(
            f"joint rows of width {recipe.joint_dim} in the coordinates of {recipe.backbone!r}",
            found=f"its rows have width {_dim(recipe.backbone, rows, tuples)}",
            next_step="correct `joint_dim` in the recipe",
        )
    seed = settings.descent.seed
    known = first or {}
    alone = {
        space: known[space] if space in known else new_heads(space, dims[space], recipe, seed=seed)
        for space in spaces
    }
    groups = [
        HeadEnsemble.stacked([alone[space] for space in group])
        for _, group in groupby(sorted(spaces, key=dims.__getitem__), key=dims.__getitem__)
    ]
    objective = HeadObjective(recipe, groups, rows, tuples, settings, ranks=ranks)
    objective.to(ranks.device).train()
    result = descend(
        objective, settings.descent, folder, inputs=inputs, ranks=ranks, on_step=on_step
    )
    trained = [group.cpu().eval() for group in groups]
    facts = {"settings": asdict(settings), "spaces": list(spaces), **asdict(result)}
    return (
        {space: group.of_space(space) for group in trained for space in group.spaces},
        result.resumed,
        facts,
    )


def read_projectors(out: Path) -> dict[str, Projector]:
    """The projectors that the stage has written, by space."""
    paths = sorted((out / "project" / "projectors").glob("*.safetensors"))
    return {path.stem: read_projector(path) for path in paths}


def _spaces(recipe: Recipe, rows: RowSource, tuples: Tuples) -> tuple[str, ...]:
    spaces = tuple(name for name in recipe.spaces if name not in recipe.headless)
    missing = [name for name in spaces if not modalities_of(rows, name, tuples)]
    if missing or not (spaces or recipe.rotated):
        raise TrainingError(
            f"heads for the spaces of the recipe {recipe.name!r}",
            found=f"no rows of {', '.join(missing)}"
            if missing
            else f"none but {', '.join(recipe.headless)}",
            next_step="embed pools that they read, or leave them out of the recipe",
        )
    return spaces


def _nothing_trained(settings: HeadSettings) -> dict[str, Any]:
    """What is recorded where all projectors are given or rotations."""
    took: dict[str, Any] = {"steps": 0, "seconds": 0.0, "resumed": 0, "loss": None}
    return {"settings": asdict(settings), "spaces": [], **took}


def _dim(space: str, rows: RowSource, tuples: Tuples) -> int:
    for modality in modalities_of(rows, space, tuples):
        return rows.take(space, modality, tuples.pools[modality][:1]).shape[1]
    raise TrainingError(
        f"rows of {space!r} to train on",
        found=f"none in the pools of {', '.join(rows.modalities()) or 'nothing'}",
        next_step="embed a pool of a modality that it reads",
    )


def _write(projectors: Mapping[str, nn.Module], folder: Path, backbone: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    paths = {name: folder / f"{name}.safetensors" for name in projectors}
    for name, projector in projectors.items():
        write_projector(cast("Projector", projector), paths[name], backbone=backbone)
    return list(paths.values())
