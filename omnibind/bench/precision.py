"""How near rows of narrower numbers are to those of float32: the cosine, item by item."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnibind.bench.media import Media
from omnibind.engine import float8
from omnibind.engine.finishing import finishes_early, sample_of
from omnibind.engine.forward import run_batch
from omnibind.engine.precision import Numbers, build
from omnibind.errors import SetupError, UnknownNameError
from omnibind.plugins import Registry
from omnibind.specs import EncoderSpec, Size, resolve
from omnibind.weights.build import Weights

__all__ = ["APART", "LEAST", "Likeness", "encoders", "measure"]

LEAST = 0.999
"""Cosine below which an encoder stays float32 (ours)."""
APART = 0.99
"""Where two items' rows have a higher cosine, that of two number types says nothing (ours)."""
Sample = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """One encoder in one kind of number.

    Attributes:
        encoder: its key.
        numbers: what it computed in.
        against: what it is compared with.
        items: how many.
        least, median: cosine of a row with the same item's in the other numbers.
        others: the median cosine of two different items' rows, without which the one before says
            little: a network with random weights gives rows that are near each other. None of a
            single item.
        seconds: of the forwards of all items.
        ratio: how many times faster than the other.
        bytes: of the weights, over those of the other.
        on_card: what the card says that it bears.
    """

    encoder: str
    numbers: Numbers
    against: Numbers
    items: int
    least: float
    median: float
    others: float | None
    seconds: float
    ratio: float
    bytes: float
    on_card: str

    @property
    def verdict(self) -> str:
        """Whether it bears these numbers, as far as these weights can tell."""
        if self.least < LEAST:
            return "no"
        return "yes" if self.others is not None and self.others <= APART else "cannot tell"


def encoders(known: Registry, names: Sequence[str] = ()) -> list[EncoderSpec]:
    """The cards of recipes, spaces and encoders by name; all that are installed without a name.

    Raises:
        UnknownNameError: none of the three has this name.
    """
    every = {card.key: card for space in known.spaces.values() for card in space.encoders.values()}
    spaces = {name: list(space.encoders.values()) for name, space in known.spaces.items()}
    spaces |= {
        name: [card for one in recipe.spaces for card in spaces.get(one, ())]
        for name, recipe in known.recipes.items()
    }
    found: dict[str, EncoderSpec] = {}
    for name in names:
        if name not in every.keys() | spaces.keys():
            listed = [*known.recipes, *known.spaces, *every]
            raise UnknownNameError("recipe, space or encoder", name, listed, next_step="correct it")
        cards = [every[name]] if name in every else spaces[name]
        found |= {card.key: card for card in cards}
    return list((found if names else every).values())


def measure(
    spec: EncoderSpec,
    media: Media,
    known: Registry,
    *,
    numbers: Sequence[Numbers] = ("bfloat16", "float8"),
    size: Size = "full",
    weights: Weights = "official",
    device: torch.device | str = "cpu",
) -> Iterator[Likeness]:
    """Compares bfloat16 with float32, and float8 with bfloat16; the card is not asked.

    Args:
        spec: the encoder.
        media: modality -> items.
        known: says how a modality is decoded.
        numbers: which to measure.
        size, weights: see `omnibind.weights.build_encoder`.
        device: where it runs.

    Raises:
        SetupError: no media of its modality, or float8 where torch does not multiply it: then
            bfloat16, if it is wanted too, has come before.
    """
    sources, where = media.get(spec.modality, ()), torch.device(device)
    if not sources:
        raise SetupError(
            f"the cosine of {spec.key!r}",
            found=f"no media of {spec.modality!r}",
            next_step=f"name a folder that has some: --media <folder> --items {spec.modality}=N",
        )
    if "bfloat16" not in numbers:
        float8.refuse(where)
    wanted: list[Numbers] = ["float32", "bfloat16", *(["float8"] if "float8" in numbers else [])]
    load = resolve(known.modality(spec.modality).load)
    samples: list[Sample] = []
    seen: dict[Numbers, _Run] = {}
    for kind in wanted:
        if kind == "float8":
            float8.refuse(where)
        module = build(spec, kind, size=size, weights=weights, device=where)
        samples = samples or [
            sample_of(module, load(source), early=finishes_early([where])) for source in sources
        ]
        seen[kind] = _run(spec, module, samples, where, kind)
        del module
        if kind in numbers:
            against: Numbers = "bfloat16" if kind == "float8" else "float32"
            yield _likeness(spec, kind, seen[kind], against, seen[against])


@dataclass(frozen=True, kw_only=True)
class _Run:
    rows: Tensor
    seconds: float
    nbytes: int


def _run(
    spec: EncoderSpec,
    module: nn.Module,
    samples: Sequence[Sample],
    device: torch.device,
    numbers: Numbers,
) -> _Run:
    """Items one by one; the first goes through once before, for kernels to be chosen."""
    run = partial(
        run_batch, spec, module, device=device, numbers=numbers, early=finishes_early([device])
    )
    run(samples[:1])
    began = time.perf_counter()
    rows = torch.cat([run([one]) for one in samples])
    return _Run(
        rows=rows,
        seconds=time.perf_counter() - began,
        nbytes=sum(t.nbytes for t in (*module.parameters(), *module.buffers())),
    )


def _likeness(
    spec: EncoderSpec, numbers: Numbers, one: _Run, against: Numbers, other: _Run
) -> Likeness:
    cosine = torch.cosine_similarity(one.rows.double(), other.rows.double())
    return Likeness(
        encoder=spec.key,
        numbers=numbers,
        against=against,
        items=len(cosine),
        least=float(cosine.min()),
        median=float(cosine.median()),
        others=_others(other.rows),
        seconds=one.seconds,
        ratio=other.seconds / one.seconds,
        bytes=one.nbytes / other.nbytes,
        on_card=spec.precision,
    )


def _others(rows: Tensor) -> float | None:
    apart = ~torch.eye(len(rows), dtype=torch.bool)
    rows = functional.normalize(rows.double(), dim=1)
    return float((rows @ rows.T)[apart].median()) if len(rows) > 1 else None
