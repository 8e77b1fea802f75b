"""Numbers that nothing can be learned by are refused before anything is encoded."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from omnibind.errors import TrainingError
from omnibind.specs import Recipe, SpaceSpec
from omnibind.training.heads import HeadSettings, share
from omnibind.training.routers import RouterSettings

__all__ = ["refuse_numbers"]

SEEDS = range(-(2**63), 2**63)


def refuse_numbers(
    heads: HeadSettings,
    routers: RouterSettings,
    near_duplicate: float,
    recipe: Recipe,
    spaces: Mapping[str, SpaceSpec],
    pools: Collection[str],
) -> None:
    """Checks what an option may change.

    Args:
        heads, routers: of the two trainings.
        near_duplicate: cosine from which on a pool item counts as a benchmark's.
        recipe: what is bound.
        spaces: cards of its spaces that are there.
        pools: modalities that there are pools of.

    Raises:
        TrainingError: a rate or temperature that is not above 0, a cosine that is none, a seed
            beyond 64 bits, or a batch that cannot be shared out.
    """
    for descent in (heads.descent, routers.descent):
        _refuse_unless(_above_0(descent.rate), "a learning rate of", descent.rate, "above 0")
        seed, said = descent.seed, "between -2^63 and 2^63 - 1"
        _refuse_unless(seed in SEEDS, "draws by the seed", seed, said)
    for temperature in (heads.temperature, routers.temperature):
        _refuse_unless(_above_0(temperature), "a contrast at temperature", temperature, "above 0")
    cosine = -1 <= near_duplicate <= 1
    _refuse_unless(cosine, "near-duplicates from the cosine", near_duplicate, "between -1 and 1")
    for name in recipe.spaces:
        read = [m for m in pools if name in spaces and m in spaces[name].encoders]
        if read and name not in recipe.headless:
            share(heads.batch, sorted(read))


def _above_0(number: float | int) -> bool:
    return math.isfinite(number) and number > 0


def _refuse_unless(fine: bool, asked: str, number: float | int, said: str) -> None:
    if not fine:
        raise TrainingError(
            f"{asked} {number:g}" if isinstance(number, float) else f"{asked} {number}",
            found="a number that nothing can be learned by",
            next_step=f"choose one {said}",
        )
