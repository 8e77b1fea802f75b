"""Every error that omnibind raises: what was asked, what was found, what to do next.

OmnibindError
├── SetupError          nothing can start: exit code 2
│   ├── UnknownNameError    a space, recipe, modality or encoder that nobody provides
│   ├── PluginError         a plugin failed, clashed or returned something that is no card
│   ├── WeightsError        a weights reference cannot be found, verified or loaded
│   ├── RecipeError         a recipe that cannot be put together
│   ├── CheckpointError     a bound checkpoint that cannot be read or does not fit
│   ├── PoolError           a pool, or pairs made of pools, that nothing can be learned from
│   ├── StoreError          a store that cannot be read, written or does not fit
│   ├── TrainingError       training that cannot start, or had to stop
│   ├── NoRoomError         a file for which the disk has no room
│   └── Closed              an engine that was closed (in `omnibind.engine`)
├── ItemError           one item cannot become a row: exit code 1
│   └── MediaError          it cannot be read or decoded
└── ShapeError          rows of the wrong width
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

__all__ = [
    "CheckpointError",
    "ItemError",
    "ItemFailure",
    "MediaError",
    "NoRoomError",
    "OmnibindError",
    "PluginError",
    "PoolError",
    "RecipeError",
    "SetupError",
    "ShapeError",
    "StoreError",
    "TrainingError",
    "UnknownNameError",
    "WeightsError",
]


class OmnibindError(Exception):
    """An error with three parts, each printed on a line of its own.

    Attributes:
        asked: what the caller wanted, as one sentence.
        found: what was there instead; one string or several `label: text` lines.
        next_step: the command or change that helps.
    """

    def __init__(self, asked: str, *, found: str | Iterable[str] = (), next_step: str = "") -> None:
        self.asked = asked
        self.found = (found,) if isinstance(found, str) and found else tuple(found)
        self.next_step = next_step
        lines = [asked, *(f"  found:  {line}" for line in self.found)]
        if next_step:
            lines.append(f"  next:   {next_step}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels from a worker process as it is, whatever its constructor asks for."""
        return _again, (type(self), self.args, self.__dict__)


class SetupError(OmnibindError):
    """Nothing can start until this is mended."""


class UnknownNameError(SetupError):
    """A name that no installed plugin provides."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, next_step: str) -> None:
        known = sorted(known)
        near = get_close_matches(name, known, n=1, cutoff=0.6)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(
            f"no installed plugin provides the {kind} {name!r}.{hint}",
            found=f"installed: {', '.join(known) or 'none'}",
            next_step=next_step,
        )
        self.kind, self.name, self.known = kind, name, tuple(known)


class PluginError(SetupError):
    """A plugin failed to load, claims a taken name or returned something that is no card."""


class WeightsError(SetupError):
    """Weights that cannot be found, verified, read or fitted to a network."""


class RecipeError(SetupError):
    """A recipe that cannot be put together from the spaces at hand."""


class CheckpointError(SetupError):
    """A bound checkpoint that cannot be read or does not fit its recipe."""


class PoolError(SetupError):
    """A pool that cannot be read, is empty, or gives too few pairs to learn from."""


class StoreError(SetupError):
    """A store of rows that cannot be read or written, or was made by other encoders."""


class TrainingError(SetupError):
    """Training that cannot start, or that stopped before its numbers became worthless."""


class NoRoomError(SetupError):
    """A file that cannot be written because the disk is full."""


class ItemError(OmnibindError):
    """One item that cannot become a row; the others are unharmed."""


class MediaError(ItemError):
    """An item that cannot be read or decoded."""


class ShapeError(OmnibindError, ValueError):
    """A tensor whose axes are not the ones that were asked for."""


def _again(
    kind: type[OmnibindError], args: tuple[Any, ...], state: dict[str, Any]
) -> OmnibindError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


@dataclass(frozen=True, kw_only=True)
class ItemFailure:
    """Why one item of a call has no row.

    Attributes:
        index: position in the list that was given.
        item: a short name of the item (path, start of a text, type of an object).
        stage: `recognise`, `decode`, `preprocess` or `encode`.
        reason: the full message, with the next step.
    """

    index: int
    item: str
    stage: str
    reason: str
