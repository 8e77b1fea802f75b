"""What a checkpoint was asked for, in `DIR/asked.json`: a space that is added later needs the same.

It is written with the checkpoint: a command that was refused, or a stage that ran alone, changes
nothing about what was bound.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from omnibind.training.plan import Plan
from omnibind.training.pools import Pool
from omnibind.writing import write_text

__all__ = ["Asked", "read_asked", "write_asked"]

NAME = "asked.json"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options as on the command line; paths are absolute, so that they hold from anywhere.

    Attributes:
        pools: `MODALITY=WHERE` each.
        exclude: the same, or only `WHERE`.
        links: `MODALITY-MODALITY=SPACE` each, those that were not asked for too.
        batch_items, exact_below, min_pairs, near_duplicate: see `omnibind.training.plan.Settings`.
    """

    pools: tuple[str, ...]
    exclude: tuple[str, ...]
    links: tuple[str, ...]
    batch_items: int
    exact_below: int
    min_pairs: int
    near_duplicate: float


def write_asked(plan: Plan) -> None:
    """Keeps what a plan was asked for."""
    numbers = plan.settings
    links = tuple(f"{a}-{b}={space}" for (a, b), space in plan.links.spaces.items())
    asked = Asked(
        pools=tuple(_said(pool) for pools in plan.pools.values() for pool in pools),
        exclude=tuple(
            dict.fromkeys(_said(pool) for pools in plan.exclude.values() for pool in pools)
        ),
        links=links,
        batch_items=numbers.batch_items,
        exact_below=numbers.exact_below,
        min_pairs=numbers.min_pairs,
        near_duplicate=numbers.near_duplicate,
    )
    write_text(plan.out / NAME, json.dumps(asdict(asked), indent=1))


def read_asked(out: Path) -> Asked | None:
    """Reads it; None where nothing was bound."""
    try:
        content = json.loads((out / NAME).read_text(encoding="utf-8"))
        return Asked(**{k: _tuple(v) for k, v in content.items()})
    except (OSError, ValueError, TypeError):
        return None


def _said(pool: Pool) -> str:
    where = str(Path(pool.where).expanduser().absolute())
    return where if pool.mixed else f"{pool.modality.name}={where}"


def _tuple(value: Any) -> Any:
    return tuple(cast("list[str]", value)) if isinstance(value, list) else value
