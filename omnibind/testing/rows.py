"""Checks of rows: their shape, norm and numbers, and that nothing but the item decides them."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from omnibind.testing.subject import Fault, Subject, preprocess, same

__all__ = [
    "COARSE",
    "independent_of_the_batch",
    "repeatable",
    "same_seed_same_weights",
    "shaped",
    "unit",
]

UNIT = {torch.float64: 1e-5, torch.float32: 1e-4}
COARSE = 5e-3  # half precision


def shaped(subject: Subject) -> Iterator[Fault]:
    """`[item, dim]`, floating point, finite."""
    rows = subject.rows(subject.samples())
    wanted = (len(subject.media), subject.spec.dim)
    if tuple(rows.shape) != wanted:
        yield subject.fault(
            f"rows [item, dim] = {list(wanted)}",
            f"{list(rows.shape)}",
            "pool to one row an item; `dim` on the card is its width, at tiny size too",
        )
    if not rows.is_floating_point():
        yield subject.fault("rows of a floating-point type", f"{rows.dtype}", "return floats")
    elif not rows.isfinite().all():
        yield subject.fault(
            "finite numbers in every row",
            f"NaN or infinity for items {(~rows.isfinite()).flatten(1).any(1).nonzero().tolist()}",
            "guard divisions, logarithms and softmax over an empty mask",
        )


def unit(subject: Subject) -> Iterator[Fault]:
    """Every row has norm 1."""
    rows = subject.rows(subject.samples())
    norms = rows.double().norm(dim=-1)
    if not ((norms - 1).abs() <= UNIT.get(rows.dtype, COARSE)).all():
        yield subject.fault(
            "rows of unit norm",
            f"norms from {norms.min():.6g} to {norms.max():.6g}",
            "end forward with torch.nn.functional.normalize(rows, dim=-1)",
        )


def repeatable(subject: Subject) -> Iterator[Fault]:
    """The same item twice gives the same tensors and the same row, bit for bit."""
    for number, item in enumerate(subject.media):
        first, second = preprocess(subject.encoder, item), preprocess(subject.encoder, item)
        if not same(first, second):
            yield subject.fault(
                "preprocess gives the same tensors for the same item",
                f"item {number} differs when it is preprocessed again",
                "no random crops or shuffles: take the centre, or seed a generator of your own",
            )
        elif not torch.equal(subject.rows([first]), subject.rows([first])):
            yield subject.fault(
                "forward gives the same row for the same item",
                f"item {number} differs when it is encoded again",
                "no sampling in forward; dropout as nn.Dropout, which eval() turns off",
            )


def same_seed_same_weights(subject: Subject) -> Iterator[Fault]:
    """Two builds hold the same tensors and give the same row."""
    ours, other = subject.encoder, subject.another()
    if not same(ours.state_dict(), other.state_dict()):
        yield subject.fault(
            "two builds with one seed have the same weights",
            "they differ",
            "initialise with torch's own generator: no numpy or `random`, no torch.empty left over",
        )
    elif not all(
        same(preprocess(ours, item), preprocess(other, item)) for item in subject.media[:1]
    ):
        yield subject.fault(
            "two builds with one seed preprocess alike",
            "they differ",
            "let nothing but the item and the card decide what preprocess makes",
        )


def independent_of_the_batch(subject: Subject) -> Iterator[Fault]:
    """A row alone equals the row in a batch with others, in any order."""
    samples = subject.samples()
    alone = torch.cat([subject.rows([sample]) for sample in samples]).double()
    together = subject.rows(samples).double()
    backwards = subject.rows(samples[::-1]).flip(0).double()
    apart = torch.maximum((together - alone).abs(), (backwards - alone).abs()).amax(-1)
    worst = int(apart.argmax())
    if not apart[worst] <= subject.atol:
        yield subject.fault(
            "a row does not depend on the other items of its batch",
            f"item {worst} is off by {apart[worst]:.2g} beside others (atol {subject.atol:g})",
            "mask the padding in attention and pooling; no statistics over the batch",
        )
