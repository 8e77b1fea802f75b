"""What makes the rows of two runs comparable: the same recipe, spaces, weights and projectors."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnibind.errors import SetupError

if TYPE_CHECKING:
    from omnibind.embedder import Embedder

__all__ = ["Binding", "binding_of", "refuse_other"]


@dataclass(frozen=True, kw_only=True)
class Binding:
    """Everything that joint rows depend on, besides the item.

    Attributes:
        recipe: its name.
        joint_dim: width of a row.
        spaces: those that took part, sorted.
        size, weights: how the encoders were built.
        long: what became of media longer than an encoder's clip.
        dtype: what the encoders compute in, each kind of number once.
        digest: over the encoders' weights references and revisions, the recipe's slots, and every
            number of projectors and routers.
    """

    recipe: str
    joint_dim: int
    spaces: tuple[str, ...]
    size: str
    weights: str
    digest: str
    long: str = "windows"
    dtype: str = "float32"


def binding_of(model: Embedder) -> Binding:
    """The binding of a model; reads all its projectors once."""
    networks = model.engine.networks
    digest = hashlib.blake2b(digest_size=16)
    card = dataclasses.asdict(model.recipe)
    del card["links"]  # only training depends on them
    digest.update(json.dumps(card, sort_keys=True).encode())
    digest.update(json.dumps(model.binder.priors, sort_keys=True, default=dict).encode())
    numbers = set[str]()
    for name in sorted(model.spaces):
        for modality, encoder in sorted(model.spaces[name].encoders.items()):
            numbers.add(networks.numbers(encoder))
            digest.update(f"{name} {modality} {networks.identity(encoder)}\n".encode())
    for name, tensor in sorted(model.binder.state_dict().items()):
        digest.update(f"{name} {list(tensor.shape)}\n".encode())
        digest.update(memoryview(tensor.cpu().contiguous().numpy()).cast("B"))
    return Binding(
        recipe=model.recipe.name,
        joint_dim=model.recipe.joint_dim,
        spaces=tuple(sorted(model.spaces)),
        size=networks.size,
        weights=networks.weights,
        digest=digest.hexdigest(),
        long=networks.long,
        dtype=", ".join(sorted(numbers)),
    )


def refuse_other(asked: str, there: Binding, wanted: Binding, *, next_step: str) -> None:
    """Refuses rows that were made in another way.

    Args:
        asked: what the rows were wanted for, as a sentence.
        there: how the rows of the table were made.
        wanted: how the model at hand makes rows.

    Raises:
        SetupError: with every difference on a line of its own.
    """
    if there == wanted:
        return
    differences = [
        f"{field.name}: {_shown(getattr(there, field.name))} in the table, "
        f"{_shown(getattr(wanted, field.name))} asked for now"
        for field in dataclasses.fields(Binding)
        if field.name != "digest" and getattr(there, field.name) != getattr(wanted, field.name)
    ]
    if not differences:
        differences = ["encoders, projectors or routers have changed since the table was made"]
    raise SetupError(asked, found=differences, next_step=next_step)


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)  # pyright: ignore[reportUnknownArgumentType]
