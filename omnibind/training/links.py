"""Which space links two modalities, and by way of which third one where no space has both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from omnibind.errors import PoolError, UnknownNameError
from omnibind.specs import Recipe, SpaceSpec

__all__ = ["Links", "Pair", "hops", "parse_link", "plan_links"]

Pair = tuple[str, str]
"""Two modalities, sorted."""


@dataclass(frozen=True, kw_only=True)
class Links:
    """How items of every two modalities are paired.

    Attributes:
        spaces: pair -> the space by whose rows it is linked.
        others: pair -> further spaces that have both, in the recipe's order.
        chains: pair -> the modalities on the way from the first to the second, both included.
    """

    spaces: Mapping[Pair, str]
    others: Mapping[Pair, tuple[str, ...]]
    chains: Mapping[Pair, tuple[str, ...]]

    def space(self, asked: str, searched: str) -> str:
        """The linking space of two modalities that are linked directly."""
        return self.spaces[_pair(asked, searched)]

    def way(self, asked: str, searched: str) -> tuple[str, ...]:
        """Modalities from the query to the target, both included."""
        pair = _pair(asked, searched)
        way = self.chains.get(pair, pair)
        return way if way[0] == asked else way[::-1]

    def to_json(self) -> dict[str, dict[str, object]]:
        """For reports: `"audio-text" -> {"space": ...}` or `{"chain": [...]}`."""
        found: dict[str, dict[str, object]] = {}
        for pair, space in self.spaces.items():
            found["-".join(pair)] = {"space": space}
        for pair, way in self.chains.items():
            found["-".join(pair)] = {"chain": list(way)}
        return found

    def said(self) -> list[str]:
        """Sentences for people: which space links what, and what is only chained."""
        lines = [f"{a} and {b} are paired by {space}" for (a, b), space in self.spaces.items()]
        for (a, b), way in self.chains.items():
            lines.append(f"no space has {a} and {b}: they are paired by way of {' -> '.join(way)}")
        return lines


def parse_link(text: str, modalities: Iterable[str]) -> tuple[Pair, str]:
    """Reads `audio-text=wavcaps-pt`.

    Raises:
        PoolError: it is not of that form, or names no two of the modalities.
    """
    names, equals, space = text.partition("=")
    for pair in combinations(sorted(modalities), 2):
        if equals and space and names in ("-".join(pair), "-".join(pair[::-1])):
            return pair, space
    raise PoolError(
        f"the link {text!r}",
        found=f"pools of {', '.join(sorted(modalities))}",
        next_step="write MODALITY-MODALITY=SPACE, for example audio-text=wavcaps-pt",
    )


def plan_links(
    recipe: Recipe,
    spaces: Mapping[str, SpaceSpec],
    modalities: Sequence[str],
    asked: Mapping[Pair, str] | None = None,
) -> Links:
    """Decides how modalities are linked: as asked, else as the recipe says, else by any space.

    Where nobody says, the backbone is taken if it has both, else the recipe's first space that has.

    Raises:
        UnknownNameError: a linking space that was asked for is not there.
        PoolError: one modality alone, a named space that lacks one of its two, or a modality that
            nothing links with the others.
    """
    if len(modalities) < 2:
        raise PoolError(
            "pools of at least two modalities",
            found=f"{', '.join(modalities) or 'none'}",
            next_step="add another: --pool MODALITY=WHERE",
        )
    named = {pair: recipe.links[name] for pair in combinations(sorted(modalities), 2)
             for name in ("-".join(pair), "-".join(pair[::-1])) if name in recipe.links
             and recipe.links[name] in spaces}  # fmt: skip
    named |= asked or {}
    chosen: dict[Pair, str] = {}
    others: dict[Pair, tuple[str, ...]] = {}
    for pair in combinations(sorted(modalities), 2):
        fit = [name for name in _preferred(recipe, spaces) if _has(spaces[name], pair)]
        if pair in named:
            _refuse_unfit(named[pair], pair, spaces)
            fit = [named[pair], *(name for name in fit if name != named[pair])]
        if fit:
            chosen[pair], others[pair] = fit[0], tuple(fit[1:])
    return Links(spaces=chosen, others=others, chains=_chains(recipe, modalities, chosen))


def _preferred(recipe: Recipe, spaces: Mapping[str, SpaceSpec]) -> list[str]:
    named = dict.fromkeys([recipe.backbone, *recipe.spaces, *spaces])
    return [name for name in named if name in spaces]


def _has(space: SpaceSpec, pair: Pair) -> bool:
    return all(modality in space.encoders for modality in pair)


def _refuse_unfit(name: str, pair: Pair, spaces: Mapping[str, SpaceSpec]) -> None:
    if name not in spaces:
        raise UnknownNameError(
            "linking space", name, spaces, next_step="install its plugin, or name another"
        )
    if not _has(spaces[name], pair):
        raise PoolError(
            f"to link {pair[0]} and {pair[1]} by the space {name!r}",
            found=f"it reads {', '.join(spaces[name].encoders)}",
            next_step="name a space that reads both, or none: they are chained then",
        )


def _chains(
    recipe: Recipe, modalities: Sequence[str], linked: Mapping[Pair, str]
) -> dict[Pair, tuple[str, ...]]:
    """Shortest ways; of several, the one by way of text, for captions say most."""
    chains: dict[Pair, tuple[str, ...]] = {}
    for pair in combinations(sorted(modalities), 2):
        if pair not in linked:
            way = _way(*pair, sorted(modalities, key=lambda name: (name != "text", name)), linked)
            if way is None:
                raise _unlinked(recipe, pair, linked)
            chains[pair] = way
    return chains


def _way(
    start: str, end: str, modalities: Sequence[str], linked: Mapping[Pair, str]
) -> tuple[str, ...] | None:
    ways = [(start,)]
    while ways:
        for way in ways:
            if way[-1] == end:
                return way
        ways = [
            (*way, name)
            for way in ways
            for name in modalities
            if name not in way and _pair(way[-1], name) in linked
        ]
    return None


def _unlinked(recipe: Recipe, pair: Pair, linked: Mapping[Pair, str]) -> PoolError:
    alone = next((name for name in pair if all(name not in other for other in linked)), pair[0])
    return PoolError(
        f"to pair items of {alone!r} with those of the other pools, for the recipe {recipe.name!r}",
        found=[
            f"no space of it reads {alone} and another of the modalities",
            f"linked are {', '.join(f'{a}-{b}' for a, b in linked) or 'none'}",
        ],
        next_step=f"install a space that reads {alone} and another one and name it: "
        f"--link {alone}-MODALITY=SPACE; or leave the pool out",
    )


def _pair(a: str, b: str) -> Pair:
    return (a, b) if a <= b else (b, a)


def hops(way: Sequence[str]) -> list[Pair]:
    """The steps of a way, each from query to target."""
    return list(pairwise(way))
