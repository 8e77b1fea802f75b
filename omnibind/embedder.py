"""The front door: `omnibind.load(name)` gives an Embedder; items in, joint rows out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from omnibind.binder import Binder, BoundRows
from omnibind.checkpoint import BoundCheckpoint, random_checkpoint, read_checkpoint
from omnibind.engine import Encoded, Engine, Interrupted, Item, recognise, shared_engine
from omnibind.engine.items import short_name
from omnibind.engine.precision import Dtype, resolved
from omnibind.errors import (
    ItemError,
    ItemFailure,
    MediaError,
    RecipeError,
    SetupError,
    UnknownNameError,
)
from omnibind.named import checkpoint_folder
from omnibind.plugins import Registry, registry
from omnibind.projectors import Projector, read_projector
from omnibind.specs import EncoderSpec, Long, Recipe, Size, SpaceSpec, resolve
from omnibind.weights import locate
from omnibind.weights.build import Weights

__all__ = ["Embedder", "Embeddings", "SpaceRows", "Windows", "load"]


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """Joint rows of the good items of a call, and what became of the others.

    Attributes:
        rows: float32 `[item, joint]`, unit norm, in the order of the good items.
        indices: their positions in the list that was given.
        modalities: what each good item was read as.
        errors: the items without a row: position, stage, reason.
        weights: slot weights of each good item, by slot name.
        degraded: spaces and routers (`router:<modality>`) that were missing.
    """

    rows: Float[Tensor, "item joint"]
    indices: tuple[int, ...]
    modalities: tuple[str, ...]
    errors: tuple[ItemFailure, ...]
    weights: tuple[Mapping[str, float], ...]
    degraded: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Joint rows of the windows of one item.

    Attributes:
        rows: float32 `[window, joint]`, unit norm, in the order of time.
        starts: where each window starts in the item, in s.
        seconds: how long a window is; an item that is shorter is one window.
        weights: slot weights of each window, by slot name.
        degraded: spaces and routers (`router:<modality>`) that were missing.
    """

    rows: Float[Tensor, "window joint"]
    starts: tuple[float, ...]
    seconds: int | float
    weights: tuple[Mapping[str, float], ...]
    degraded: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SpaceRows:
    """Rows of the good items of a call before they are bound.

    Attributes:
        rows: modality -> space -> unit rows `[item, dim]`.
        indices: modality -> positions of its items in the list that was given.
        errors: the items without a row.
    """

    rows: Mapping[str, Mapping[str, Tensor]]
    indices: Mapping[str, tuple[int, ...]]
    errors: tuple[ItemFailure, ...]


class Embedder:
    """A binder, the spaces it binds, and the engine that runs their encoders.

    Args:
        binder: projectors, slots and routers.
        spaces: cards of the spaces to run.
        engine: shared by everybody in the process unless one is given.
        known: the registry that says which modalities there are.
    """

    def __init__(
        self, binder: Binder, spaces: Sequence[SpaceSpec], engine: Engine, known: Registry
    ) -> None:
        self.binder, self.engine, self.known = binder, engine, known
        self.recipe = binder.recipe
        self.spaces = {space.name: space for space in spaces}
        self._encoders = {m: self._encoders_of(m) for m in self.recipe.slots}

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that at least one installed space of the recipe reads."""
        return tuple(m for m, encoders in self._encoders.items() if encoders)

    @property
    def fits(self) -> bool:
        """Whether the weights of all its encoders can be on the devices together."""
        return self.engine.fits(self._encoders)

    def embed(
        self,
        items: Iterable[object],
        modality: str | None = None,
        *,
        strict: bool = False,
        on_done: Any = None,
    ) -> Embeddings:
        """Makes joint rows of texts, pictures, sounds, shapes, in any mixture.

        Args:
            items: texts, paths, bytes, PIL pictures, arrays, tensors, (waveform, rate),
                (xyz, rgb), open3d or trimesh objects. One item alone is refused: give a list.
            modality: read every item as this; needed for bytes and for arrays that fit several.
            strict: raise at the first bad item instead of listing it.
            on_done: called with each item once it is prepared, for progress bars.

        An item of a modality that the recipe has no space for is a bad item.

        Raises:
            UnknownNameError: a modality that is not there.
            ItemError: only when strict.
            Interrupted: Ctrl-C; its `done` has the rows so far.
        """
        try:
            encoded = self.encode(items, modality, strict=strict, on_done=on_done)
        except Interrupted as stop:
            raise Interrupted(self._bound(cast("SpaceRows", stop.done))) from None
        return self._bound(encoded)

    def encode(
        self,
        items: Iterable[object],
        modality: str | None = None,
        *,
        strict: bool = False,
        on_done: Any = None,
    ) -> SpaceRows:
        """Makes the rows of every space, unbound; arguments and errors are those of `embed`."""
        listed = self._listed(items)
        recognised, failures = self._recognise(listed, modality)
        try:
            found = self._by_space(
                self.engine.encode(recognised, self._encoders, on_done), failures
            )
        except Interrupted as stop:
            raise Interrupted(self._by_space(cast("Encoded", stop.done), failures)) from None
        if strict and found.errors:
            raise ItemError(
                f"every one of {len(listed)} items as a row",
                found=[f"item {f.index}, {f.stage}: {f.reason}" for f in found.errors],
                next_step="mend or leave out these items, or do without strict",
            )
        return found

    def windows(
        self, item: object, modality: str | None = None, *, seconds: int | float = 10
    ) -> Windows:
        """Makes a joint row of every window of one item that lasts: where in it is something?

        Every space hears the same window. Of a sound beyond five minutes, these are the windows
        of what is held of it (see `omnibind.media.excerpts`).

        Args:
            item: as for `embed`, but one.
            modality: as for `embed`.
            seconds: length of a window; they are evenly spread, from the first sample to the last.

        Raises:
            MediaError: the item cannot be read, or its modality has no length in time.
            RecipeError: the recipe has no space for its modality.
            ItemError: a window that an encoder fails at.
        """
        if modality is not None:
            self.known.modality(modality)
        card = recognise(0, item, self.known.modalities, modality).modality
        self._require(card.name)
        if not card.cut:
            raise MediaError(
                f"the windows of {short_name(item)}",
                found=f"a modality, {card.name!r}, that has no length in time",
                next_step="embed([item]) makes its one row",
            )
        cut = resolve(card.cut)(resolve(card.load)(item), seconds)
        found = self.embed([window for _, window in cut], card.name, strict=True)
        return Windows(
            rows=found.rows,
            starts=tuple(start for start, _ in cut),
            seconds=seconds,
            weights=found.weights,
            degraded=found.degraded,
        )

    def compare(
        self, a: Iterable[object] | Embeddings | Tensor, b: Iterable[object] | Embeddings | Tensor
    ) -> Float[Tensor, "left right"]:
        """Cosine of every item of `a` with every item of `b`; bad items raise ItemError."""
        return self._rows(a) @ self._rows(b).T

    def _rows(self, given: Iterable[object] | Embeddings | Tensor) -> Tensor:
        if isinstance(given, Embeddings):
            return given.rows
        if (
            isinstance(given, Tensor)
            and given.ndim == 2
            and given.shape[1] == self.recipe.joint_dim
        ):
            return torch.nn.functional.normalize(given.float(), dim=-1)
        return self.embed(given, strict=True).rows

    def _listed(self, items: Iterable[object]) -> list[object]:
        if isinstance(items, str | bytes | Path):
            raise MediaError(
                f"a list of items, not {short_name(items)}",
                found=type(items).__name__,
                next_step="put it in a list: embed([item])",
            )
        return list(items)

    def _recognise(
        self, items: list[object], modality: str | None
    ) -> tuple[list[Item], list[ItemFailure]]:
        if modality is not None:
            self.known.modality(modality)
        found: list[Item] = []
        failures: list[ItemFailure] = []
        for index, source in enumerate(items):
            try:
                item = recognise(index, source, self.known.modalities, modality)
                self._require(item.modality.name)
                found.append(item)
            except (MediaError, RecipeError) as error:
                failures.append(
                    ItemFailure(
                        index=index, item=short_name(source), stage="recognise", reason=str(error)
                    )
                )
        return found, failures

    def _require(self, modality: str) -> None:
        if not self._encoders.get(modality):
            raise RecipeError(
                f"joint rows of {modality!r} by the recipe {self.recipe.name!r}",
                found=f"spaces for {', '.join(self.modalities) or 'nothing'}",
                next_step="install a space that reads it, or choose another recipe",
            )

    def _encoders_of(self, modality: str) -> list[EncoderSpec]:
        named = [part for slot in self.recipe.slots[modality] for part in slot.parts]
        named += self.recipe.router_inputs.get(modality, ())
        cards = [self.spaces[name] for name in dict.fromkeys(named) if name in self.spaces]
        return [card.encoders[modality] for card in cards if modality in card.encoders]

    def _by_space(self, encoded: Encoded, failures: Sequence[ItemFailure]) -> SpaceRows:
        """Rows by space, with the failures of before and those of the engine."""
        present = {m: indices for m, indices in encoded.indices.items() if indices}
        return SpaceRows(
            rows={m: self._rows_by_space(m, encoded.rows) for m in present},
            indices=present,
            errors=tuple(sorted([*failures, *encoded.failures], key=lambda one: one.index)),
        )

    def _bound(self, encoded: SpaceRows) -> Embeddings:
        with torch.no_grad():
            bound = {m: self.binder(m, rows) for m, rows in encoded.rows.items()}
        return self._gather(bound, encoded.indices, encoded.errors)

    def _rows_by_space(self, modality: str, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: rows[card.encoders[modality].key]
            for name, card in self.spaces.items()
            if modality in card.encoders and card.encoders[modality].key in rows
        }

    def _gather(
        self,
        bound: Mapping[str, BoundRows],
        indices: Mapping[str, tuple[int, ...]],
        failures: tuple[ItemFailure, ...],
    ) -> Embeddings:
        where = sorted((i, m, at) for m in bound for at, i in enumerate(indices[m]))
        rows = [bound[m].rows[at] for _, m, at in where]
        weights = [
            dict(zip(bound[m].slots, bound[m].weights[at].tolist(), strict=True))
            for _, m, at in where
        ]
        degraded = dict.fromkeys(name for one in bound.values() for name in one.degraded)
        return Embeddings(
            rows=torch.stack(rows).float() if rows else torch.empty(0, self.recipe.joint_dim),
            indices=tuple(i for i, _, _ in where),
            modalities=tuple(m for _, m, _ in where),
            errors=failures,
            weights=tuple(weights),
            degraded=tuple(degraded),
        )


def load(
    name: str | Path,
    *,
    device: str = "auto",
    size: Size = "full",
    weights: Weights = "official",
    long: Long | None = None,
    dtype: Dtype | None = None,
    memory: str | int | None = "auto",
    processes: bool = False,
    commercial_only: bool = False,
    without: Sequence[str] = (),
    engine: Engine | None = None,
    known: Registry | None = None,
) -> Embedder:
    """Loads a recipe by name, or a bound checkpoint by folder.

    Args:
        name: a recipe (`omnibind recipes`) or the folder of a bound checkpoint.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ..., or several with commas between.
        size: `tiny` for tests: the same networks at toy width, with random weights.
        weights: `official`, or `random` for benchmarks without checkpoints.
        long: what becomes of media longer than an encoder's clip: `windows` spread over all of
            it (the default), or what its authors do, `official`. See `omnibind.specs.Long`.
        dtype: what encoders compute in where their cards bear it: `auto` (the default),
            `float32`, `bfloat16` or `float8` (see `Engine`).
        memory: bytes that weights may take on a device, such as "24GiB" (see `Engine`).
        processes: whether items are prepared in processes of their own (see `Engine`).
        commercial_only: only spaces whose licence permits commercial use; unclear counts as no.
        without: names of spaces to leave out.
        engine: one of your own; by default the process's shared one.
        known: a registry of your own; by default the installed plugins.

    Raises:
        UnknownNameError: no such recipe, or a name in `without` that the recipe lacks.
        RecipeError: no space of it is installed or left.
        SetupError: `engine` was made with another `long` or `dtype`.
        CheckpointError, WeightsError: files that are missing, damaged or do not fit.
    """
    known = known or registry()
    checkpoint = _checkpoint(name, known, size, weights)
    spaces = _spaces(checkpoint.recipe, known, commercial_only=commercial_only, without=without)
    engine = engine or shared_engine(
        device=device,
        size=size,
        weights=weights,
        long=long or "windows",
        dtype=dtype or "auto",
        memory=memory,
        processes=processes,
    )
    _same_long(long, engine, spaces)
    _same_dtype(dtype, engine)
    binder = checkpoint.binder(space.name for space in spaces)
    return Embedder(binder, spaces, engine, known)


def _same_long(asked: Long | None, engine: Engine, spaces: Sequence[SpaceSpec]) -> None:
    if asked not in (None, engine.networks.long):
        raise SetupError(
            f"long={asked!r}",
            found=f"an engine with long={engine.networks.long!r}",
            next_step=f"make the engine with long={asked!r}, or leave one of the two out",
        )
    if asked == "official" and not any(e.long for card in spaces for e in card.encoders.values()):
        names = ", ".join(card.name for card in spaces)
        warnings.warn(f"long='official' changes nothing: {names} know one way only", stacklevel=3)


def _same_dtype(asked: Dtype | None, engine: Engine) -> None:
    has = engine.networks.dtype
    if asked is not None and resolved(asked, engine.devices) != has:
        raise SetupError(
            f"dtype={asked!r}",
            found=f"an engine that computes in {has}",
            next_step=f"make the engine with dtype={asked!r}, or leave one of the two out",
        )


def _checkpoint(name: str | Path, known: Registry, size: Size, weights: Weights) -> BoundCheckpoint:
    folder = checkpoint_folder(name, known.recipes)
    if folder is not None:
        return read_checkpoint(folder)
    recipe = known.recipe(str(name))
    if weights == "random" or size == "tiny":
        return random_checkpoint(recipe, known.spaces, size=size)
    if recipe.checkpoint:
        return read_checkpoint(locate(recipe.checkpoint).parent)
    projectors: dict[str, Projector] = {}
    for space in recipe.spaces:
        card = known.spaces.get(space)
        reference = card.projectors.get(recipe.backbone) if card else None
        if reference:
            projectors[space] = read_projector(locate(reference))
    return BoundCheckpoint(recipe=recipe, projectors=projectors, priors=recipe.priors)


def _spaces(
    recipe: Recipe, known: Registry, *, commercial_only: bool, without: Sequence[str]
) -> list[SpaceSpec]:
    for name in without:
        if name not in recipe.spaces:
            raise UnknownNameError(
                "space of this recipe", name, recipe.spaces, next_step="correct the name"
            )
    chosen = [known.spaces[n] for n in recipe.spaces if n in known.spaces and n not in without]
    if commercial_only:
        chosen = [card for card in chosen if card.commercial_use]
    if not chosen:
        raise RecipeError(
            f"the spaces of the recipe {recipe.name!r}",
            found=f"none of {', '.join(recipe.spaces)} is installed and permitted",
            next_step="pip install their plugins; `omnibind spaces` lists what is there",
        )
    missing = [name for name in recipe.spaces if name not in known.spaces]
    if missing:
        warnings.warn(f"not installed, left out: {', '.join(missing)}", stacklevel=3)
    return chosen
