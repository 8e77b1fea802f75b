"""What the installed plugins provide, and which of them failed and why."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from omnibind.errors import PluginError, UnknownNameError
from omnibind.plugins import hooks
from omnibind.plugins.cards import check_cards
from omnibind.specs import Command, Dataset, EncoderSpec, Modality, Recipe, SpaceSpec

__all__ = ["Failure", "LoadedPlugin", "Registry", "load_registry", "registry"]

CARD_TYPES: Mapping[str, type] = {
    "provide_modalities": Modality,
    "provide_spaces": SpaceSpec,
    "provide_recipes": Recipe,
    "provide_datasets": Dataset,
    "add_commands": Command,
}
INSTALL_HINT = "pip install omnibind-plugin-<name>, then `omnibind spaces`"


@dataclass(frozen=True, kw_only=True)
class LoadedPlugin:
    """A plugin whose cards are in use."""

    name: str
    distribution: str
    version: str
    provides: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A plugin that was left out: at which stage, why, and the traceback."""

    name: str
    distribution: str
    stage: str
    reason: str
    traceback: str


@dataclass
class Registry:
    """Every card by kind and name, with the plugin that brought it."""

    plugins: list[LoadedPlugin] = field(default_factory=list[LoadedPlugin])
    failures: list[Failure] = field(default_factory=list[Failure])
    owners: dict[tuple[type, str], str] = field(default_factory=dict[tuple[type, str], str])
    _cards: dict[type, dict[str, Any]] = field(
        default_factory=lambda: {kind: {} for kind in CARD_TYPES.values()}
    )

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """Modalities by name."""
        return self._cards[Modality]

    @property
    def spaces(self) -> Mapping[str, SpaceSpec]:
        """Spaces by name."""
        return self._cards[SpaceSpec]

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """Recipes by name."""
        return self._cards[Recipe]

    @property
    def datasets(self) -> Mapping[str, Dataset]:
        """Data sets by name."""
        return self._cards[Dataset]

    @property
    def commands(self) -> Mapping[str, Command]:
        """Sub-commands by name."""
        return self._cards[Command]

    def modality(self, name: str) -> Modality:
        """The modality of this name, or UnknownNameError."""
        return self._find(Modality, "modality", name)

    def space(self, name: str) -> SpaceSpec:
        """The space of this name, or UnknownNameError."""
        return self._find(SpaceSpec, "space", name)

    def recipe(self, name: str) -> Recipe:
        """The recipe of this name, or UnknownNameError."""
        return self._find(Recipe, "recipe", name)

    def encoders(self) -> dict[str, EncoderSpec]:
        """Every encoder by key."""
        return {e.key: e for s in self.spaces.values() for e in s.encoders.values()}

    def add(self, plugin: LoadedPlugin, cards: Sequence[Any]) -> None:
        """Takes a plugin's cards, all or none.

        Raises:
            PluginError: a name or an encoder key is taken; names both plugins.
        """
        check_cards(plugin.name, cards, self.owners, self.encoders())
        for card in cards:
            self._cards[type(card)][card.name] = card
            self.owners[type(card), card.name] = plugin.name
        self.plugins.append(plugin)

    def _find(self, kind: type, word: str, name: str) -> Any:
        cards = self._cards[kind]
        if name not in cards:
            hint = INSTALL_HINT
            if self.failures:
                left_out = ", ".join(sorted(failure.name for failure in self.failures))
                hint += f"; plugins that failed to load: {left_out} (see `omnibind doctor`)"
            raise UnknownNameError(word, name, cards, next_step=hint)
        return cards[name]


def load_registry(points: Iterable[EntryPoint] | None = None, *, strict: bool = False) -> Registry:
    """Loads every plugin on its own; one that fails is recorded and leaves nothing behind.

    `OMNIBIND_PLUGINS=a,b` loads only those (and the built-in modalities);
    `OMNIBIND_DISABLE_PLUGINS=a,b` leaves those out.

    Args:
        points: entry points to load; the installed ones of the group `omnibind` by default.
        strict: raise the first failure instead of recording it.

    Raises:
        PluginError: only when strict.
    """
    found = entry_points(group=hooks.GROUP) if points is None else points
    manager = pluggy.PluginManager(hooks.GROUP)
    manager.add_hookspecs(hooks)
    result = Registry()
    for point in sorted(found, key=_built_in_first):
        if not _wanted(point.name):
            continue
        try:
            _load_one(manager, result, point)
        except (Exception, SystemExit) as error:
            failure = _failure(point, error)
            if strict:
                raise PluginError(
                    f"the plugin {point.name!r} ({failure.distribution}) failed at "
                    f"{failure.stage}, and --strict was asked for",
                    found=failure.reason,
                    next_step="mend or uninstall it; `omnibind doctor` shows the traceback",
                ) from error
            result.failures.append(failure)
    return result


@cache
def registry() -> Registry:
    """The registry of this process, loaded once."""
    return load_registry(strict=os.environ.get("OMNIBIND_STRICT") == "1")


def _load_one(manager: pluggy.PluginManager, result: Registry, point: EntryPoint) -> None:
    module = _stage("import", point.load)
    _stage("register", lambda: manager.register(module, name=point.name))
    try:
        _stage("register", lambda: _refuse_unknown_hooks(manager, module))
        others = [p for p in manager.get_plugins() if p is not module]
        cards = _stage("hooks", lambda: _collect(manager, others, point.name))
        _stage("cards", lambda: result.add(_describe(point, cards), cards))
    except BaseException:
        manager.unregister(module)
        raise


def _collect(manager: pluggy.PluginManager, others: list[Any], name: str) -> list[Any]:
    cards: list[Any] = []
    for hook, card_type in CARD_TYPES.items():
        for provided in manager.subset_hook_caller(hook, remove_plugins=others)():
            for card in provided:
                if not isinstance(card, card_type):
                    raise PluginError(
                        f"the plugin {name!r} answered {hook}()",
                        found=f"{type(card).__name__} where {card_type.__name__} cards belong",
                        next_step=f"return a list of omnibind.specs.{card_type.__name__}",
                    )
                cards.append(card)
    return cards


def _refuse_unknown_hooks(manager: pluggy.PluginManager, module: Any) -> None:
    for caller in manager.get_hookcallers(module) or ():
        if not caller.has_spec():
            raise PluginError(
                f"the plugin implements a hook named {caller.name!r}",
                found=f"hooks: {', '.join(hooks.HOOKS)}",
                next_step="correct the name, or update omnibind",
            )


def _describe(point: EntryPoint, cards: Sequence[Any]) -> LoadedPlugin:
    names: dict[str, list[str]] = {}
    for card in cards:
        names.setdefault(type(card).__name__, []).append(card.name)
    return LoadedPlugin(
        name=point.name,
        distribution=point.dist.name if point.dist else "unknown",
        version=point.dist.version if point.dist else "?",
        provides={kind: tuple(of_kind) for kind, of_kind in names.items()},
    )


def _stage(stage: str, step: Any) -> Any:
    try:
        return step()
    except BaseException as error:
        if not hasattr(error, "omnibind_stage"):
            error.omnibind_stage = stage  # type: ignore[attr-defined]
        raise


def _failure(point: EntryPoint, error: BaseException) -> Failure:
    return Failure(
        name=point.name,
        distribution=point.dist.name if point.dist else "unknown",
        stage=getattr(error, "omnibind_stage", "import"),
        reason=f"{type(error).__name__}: {error}",
        traceback="".join(traceback.format_exception(error)),
    )


def _wanted(name: str) -> bool:
    only = _names("OMNIBIND_PLUGINS")
    return name == "builtin" or (
        (not only or name in only) and name not in _names("OMNIBIND_DISABLE_PLUGINS")
    )


def _names(variable: str) -> set[str]:
    return {name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()}


def _built_in_first(point: EntryPoint) -> tuple[bool, str]:
    return point.name != "builtin", point.name
