"""What `omnibind bind` is asked for, checked before anything is encoded."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from omnibind.engine import Engine
from omnibind.errors import PoolError, RecipeError
from omnibind.plugins import Registry
from omnibind.specs import EncoderSpec, Modality, Recipe, SpaceSpec
from omnibind.training.embed import BATCH_ITEMS, survey_all
from omnibind.training.heads import HeadSettings
from omnibind.training.leakage import NEAR_DUPLICATE
from omnibind.training.links import Links, parse_link, plan_links
from omnibind.training.measurable import refuse_benchmarks
from omnibind.training.neighbours import EXACT_BELOW
from omnibind.training.noise import MIN_PAIRS
from omnibind.training.numbers import refuse_numbers
from omnibind.training.pools import Pool, Survey, parse_pool, survey
from omnibind.training.routers import RouterSettings

__all__ = ["Plan", "Ran", "Settings", "adjusted", "make_plan"]

Learning = TypeVar("Learning", HeadSettings, RouterSettings)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What became of a stage.

    Attributes:
        skipped: it had been done by the same inputs.
        asked: False where there was nothing to do, because nothing was asked for.
        facts: what it has recorded; `said` in it is a line for people.
    """

    skipped: bool
    facts: Mapping[str, Any]
    asked: bool = True


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Numbers that a user may change; each is explained where its default is defined.

    Attributes:
        batch_items: items a commit of the store.
        exact_below: targets from which on the search for pairs is approximate.
        min_pairs: distinct pairs of every two modalities below which nothing is learned.
        near_duplicate: cosine from which on a pool item counts as a benchmark's.
        heads, routers: of the two trainings.
    """

    batch_items: int = BATCH_ITEMS
    exact_below: int = EXACT_BELOW
    min_pairs: int = MIN_PAIRS
    near_duplicate: float = NEAR_DUPLICATE
    heads: HeadSettings = field(default_factory=HeadSettings)
    routers: RouterSettings = field(default_factory=RouterSettings)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that stages need; what they make lies in `out`.

    Attributes:
        recipe: what to bind.
        spaces: cards of its installed spaces, the backbone's and the linking ones' included.
        pools: by modality.
        exclude: benchmark items by modality, of the pools' modalities.
        links: how modalities are paired.
        out: the folder of this binding.
        engine: runs encoders.
        known: the installed plugins.
        settings: numbers.
        benchmarks: tables or data sets that the result is measured on.
        prompts: patterns for zero-shot classification of their items.
        stores: the folder whose `store` and `exclude` have the rows; `out` where it is None.
    """

    recipe: Recipe
    spaces: Mapping[str, SpaceSpec]
    pools: Mapping[str, tuple[Pool, ...]]
    exclude: Mapping[str, tuple[Pool, ...]]
    links: Links
    out: Path
    engine: Engine
    known: Registry
    settings: Settings = Settings()
    benchmarks: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    stores: Path | None = None

    @cached_property
    def surveys(self) -> dict[str, Survey]:
        """What the pools list, by modality; looked at once."""
        return survey_all(self.pools)

    @cached_property
    def excluded_surveys(self) -> dict[str, Survey]:
        """The same for benchmarks; a modality that they have no items of is not excluded by them.

        Raises:
            PoolError: a place without an item of any pool's modality.
        """
        for where in dict.fromkeys(pool.where for pools in self.exclude.values() for pool in pools):
            _refuse_empty(where, self.exclude)
        return {modality: survey(several) for modality, several in self.exclude.items()}

    def store_folder(self, what: str = "store") -> Path:
        """Where rows are: of the pools (`store`) or of benchmarks (`exclude`)."""
        return (self.stores or self.out) / what

    def encoders(self, modality: str) -> dict[str, EncoderSpec]:
        """Encoder key -> card, of every space that reads the modality."""
        cards = (space.encoders.get(modality) for space in self.spaces.values())
        return {card.key: card for card in cards if card}


def adjusted(
    settings: Learning,
    *,
    steps: int | None,
    batch: int | None,
    seed: int,
    rate: float | None = None,
) -> Learning:
    """Settings of a training with what was asked for; None leaves the default."""
    before = settings.descent
    moved = replace(
        before, seed=seed, steps=steps or before.steps, rate=before.rate if rate is None else rate
    )
    return replace(settings, descent=moved, batch=batch or settings.batch)


def make_plan(
    recipe: Recipe,
    known: Registry,
    *,
    pools: Sequence[str],
    out: Path,
    engine: Engine,
    links: Sequence[str] = (),
    exclude: Sequence[str] = (),
    without: Sequence[str] = (),
    commercial_only: bool = False,
    benchmarks: Sequence[str] = (),
    prompts: Sequence[str] = (),
    stores: Path | None = None,
    settings: Settings | None = None,
) -> Plan:
    """Reads and checks what was asked for.

    Args:
        recipe: what to bind.
        known: the installed plugins.
        pools: `MODALITY=WHERE` each.
        out: the folder of this binding.
        engine: runs encoders.
        links: `MODALITY-MODALITY=SPACE` each.
        exclude: `MODALITY=WHERE` each, or only `WHERE` for a benchmark of several modalities.
        without: spaces to leave out.
        commercial_only: only spaces whose licence permits commercial use.
        benchmarks: tables or data sets that the result is measured on.
        prompts: patterns for zero-shot classification of their items.
        stores: the folder whose rows are used and added to, by default `out`.
        settings: numbers.

    Raises:
        PoolError: no pools, a malformed one, a modality that nothing reads or nothing links, or a
            pool that is `out` itself.
        RecipeError: the backbone is not there, or a benchmark has a modality that is not bound.
        UnknownNameError: no such modality or space.
        SetupError: a benchmark that is not there, or of which nothing can be measured.
        TrainingError: numbers that nothing can be learned by.
    """
    home = stores or out
    by_modality = _by_modality(_pool(text, known, home) for text in pools)
    asked = dict(parse_link(text, by_modality) for text in links)
    spaces = _spaces(recipe, known, asked.values(), without, commercial_only=commercial_only)
    for modality in by_modality:
        if not any(modality in space.encoders for space in spaces.values()):
            raise PoolError(
                f"a pool of {modality} for the recipe {recipe.name!r}",
                found=f"spaces {', '.join(spaces)}, none of which reads {modality}",
                next_step="leave it out, or install a space that reads it and name it with --link",
            )
    settings = settings or Settings()
    numbers = (settings.heads, settings.routers, settings.near_duplicate)
    refuse_numbers(*numbers, recipe, spaces, by_modality)
    refuse_benchmarks(benchmarks, prompts, recipe, spaces, known)
    modalities = [known.modalities[name] for name in by_modality]
    return Plan(
        recipe=recipe,
        spaces=spaces,
        pools=by_modality,
        exclude=_by_modality(
            replace(pool, apart=home)
            for text in exclude
            for pool in _benchmark(text, modalities, known)
        ),
        links=plan_links(recipe, spaces, list(by_modality), asked),
        out=out,
        engine=engine,
        known=known,
        settings=settings,
        benchmarks=tuple(benchmarks),
        prompts=tuple(prompts),
        stores=stores,
    )


def _by_modality(pools: Iterable[Pool]) -> dict[str, tuple[Pool, ...]]:
    found: dict[str, tuple[Pool, ...]] = {}
    for pool in pools:
        found[pool.modality.name] = (*found.get(pool.modality.name, ()), pool)
    return dict(sorted(found.items()))


def _pool(text: str, known: Registry, home: Path) -> Pool:
    pool = parse_pool(text, known.modalities)
    if Path(pool.where).expanduser().resolve() == home.resolve():
        raise PoolError(
            f"to bind into {home}",
            found=f"it is the pool itself: {text}",
            next_step="choose another folder: models and reports that lie there would become items",
        )
    return replace(pool, apart=home)


def _benchmark(text: str, modalities: Sequence[Modality], known: Registry) -> list[Pool]:
    name, equals, _ = text.partition("=")
    if equals and name in known.modalities and not Path(text).exists():
        if name not in {modality.name for modality in modalities}:
            raise PoolError(
                f"to exclude {text}",
                found=f"pools of {', '.join(modality.name for modality in modalities)}",
                next_step=f"leave it out: without a pool of {name} there is nothing to exclude",
            )
        return [parse_pool(text, known.modalities)]
    return [Pool(modality=modality, where=text, mixed=True) for modality in modalities]


def _refuse_empty(where: str, exclude: Mapping[str, tuple[Pool, ...]]) -> None:
    here = [pool for pools in exclude.values() for pool in pools if pool.where == where]
    if not any(True for pool in here for _ in pool.items()):
        raise PoolError(
            f"benchmark items to exclude: {where}",
            found=f"no {' or '.join(pool.modality.name for pool in here)} items there",
            next_step="correct --exclude: a folder, or a table with a column path or text",
        )


def _spaces(
    recipe: Recipe,
    known: Registry,
    linking: Iterable[str],
    without: Sequence[str],
    *,
    commercial_only: bool,
) -> dict[str, SpaceSpec]:
    for name in (*linking, *without):
        known.space(name)
    named = [n for n in dict.fromkeys([*recipe.spaces, recipe.backbone, *linking])
             if n not in without]  # fmt: skip
    missing = [name for name in named if name not in known.spaces]
    spaces = {name: known.spaces[name] for name in named if name in known.spaces}
    if commercial_only:
        spaces = {name: card for name, card in spaces.items() if card.commercial_use}
    if recipe.backbone not in spaces:
        raise RecipeError(
            f"the backbone {recipe.backbone!r} of the recipe {recipe.name!r}",
            found=f"spaces {', '.join(spaces) or 'none'}: it is not installed, or was left out",
            next_step="install its plugin; nothing can be bound without the coordinates it gives",
        )
    if missing:
        warnings.warn(f"not installed, left out: {', '.join(missing)}", stacklevel=3)
    return spaces
