"""Checks of `preprocess` and `finish`: threads, the CPU, what they are handed stays as it was."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from omnibind.engine.finishing import sample_of
from omnibind.media.audio import Audio
from omnibind.plugins import registry
from omnibind.specs import resolve
from omnibind.testing.subject import Fault, Sample, Subject, preprocess, same

__all__ = [
    "apart_from_the_network",
    "finishes_anywhere",
    "leaves_the_item_alone",
    "makes_cpu_tensors",
    "thread_safe",
]

THREADS = 8


def makes_cpu_tensors(subject: Subject) -> Iterator[Fault]:
    """A dictionary of tensors on the CPU, outside any graph."""
    for number, item in enumerate(subject.media):
        made = preprocess(subject.encoder, item)
        if not isinstance(made, dict) or not made or not all(map(_is_plain, made.values())):
            yield subject.fault(
                "preprocess makes a dictionary of CPU tensors without gradients",
                f"for item {number}: {_described(made)}",
                "return {'name': tensor, ...}, one item without a batch axis; the engine moves it",
            )


def thread_safe(subject: Subject) -> Iterator[Fault]:
    """Eight threads that share a fresh encoder make what one makes."""
    serial = subject.samples()
    fresh = subject.another()
    items = [*subject.media] * THREADS
    with _eager_switching(), ThreadPoolExecutor(THREADS) as pool:
        made = list(pool.map(partial(preprocess, fresh), items))
    count = len(serial)
    wrong = {k % count for k, one in enumerate(made) if not same(serial[k % count], one)}
    if wrong:
        yield subject.fault(
            f"preprocess in {THREADS} threads makes what one thread makes",
            f"other tensors for items {sorted(wrong)}",
            "keep nothing on self while preprocessing; make what is shared in __init__",
        )


def leaves_the_item_alone(subject: Subject) -> Iterator[Fault]:
    """The item, and the resampled sound that encoders share, are not written to."""
    modality = registry().modalities.get(subject.spec.modality)
    if modality is None:
        yield subject.fault(
            "its modality is there",
            f"no installed plugin provides {subject.spec.modality!r}",
            "pip install -e . the plugin that brings it in provide_modalities",
        )
        return
    digest = resolve(modality.digest)
    for number, item in enumerate(subject.media):
        watched = item
        if isinstance(item, Audio):
            watched = _Watched(item.waveform, item.rate, item.starts, item.whole)
        before = digest(watched)
        preprocess(subject.encoder, watched)
        handed = watched.handed if isinstance(watched, _Watched) else []
        intact = all(torch.equal(tensor, copy) for tensor, copy in handed)
        if not intact or digest(watched) != before:
            yield subject.fault(
                "preprocess changes nothing in the item, which other encoders read too",
                f"item {number} is another one afterwards",
                "no in-place operations (`x -= y`, `x.clamp_()`): `x = x - y`, or clone first",
            )


def apart_from_the_network(subject: Subject) -> Iterator[Fault]:
    """Preprocess reads no parameter or buffer: those live on the engine's device."""
    moved = subject.another().to("meta")
    for number, item in enumerate(subject.media):
        try:
            made = preprocess(moved, item)
            apart = same(made, preprocess(subject.encoder, item))
            found = f"other tensors for item {number} once the network has moved"
        except (RuntimeError, NotImplementedError) as error:
            apart, found = False, f"for item {number}, {type(error).__name__}: {error}"
        if not apart:
            yield subject.fault(
                "preprocess does not touch the network's tensors, which may be on a GPU",
                found,
                "keep what preprocess needs as a plain attribute, or do this step in finish",
            )
            return


def finishes_anywhere(subject: Subject) -> Iterator[Fault]:
    """`finish` makes the same of each sample alone and of their batch, and writes into neither."""
    if not hasattr(subject.encoder, "finish"):
        return
    samples = subject.samples()
    kept = [{name: tensor.clone() for name, tensor in sample.items()} for sample in samples]
    early = [sample_of(subject.encoder, item, early=True) for item in subject.media]
    one_by_one, together = subject.batch(early, early=True), subject.batch(samples)
    cast("Any", subject.encoder).finish(samples[0])
    if not all(map(same, samples, kept)):
        yield subject.fault(
            "finish leaves the tensors that it is handed as they were",
            "a sample is another one afterwards, which other encoders read too",
            "no in-place operations on them: `x = x / 255`, not `x /= 255`",
        )
    if not _near(one_by_one, together, subject.atol):
        yield subject.fault(
            "finish makes the same of a sample and of a batch",
            f"{_shapes(one_by_one)} item by item, {_shapes(together)} in a batch, or other numbers",
            "count axes from the end (x.shape[-1], dim=-3); no statistics over the batch",
        )


def _near(left: Sample, right: Sample, atol: float) -> bool:
    """The same tensors but for rounding, which goes with the largest number."""
    if _shapes(left) != _shapes(right):
        return False
    pairs = [(left[name].double(), right[name].double()) for name in left if left[name].numel()]
    return all((a - b).abs().max() <= atol * (1 + b.abs().max()) for a, b in pairs)


def _shapes(made: Sample) -> str:
    return ", ".join(f"{name} {list(t.shape)} {t.dtype}" for name, t in sorted(made.items()))


class _Watched(Audio):
    """A sound that remembers what it handed out, each with a copy."""

    @property
    def handed(self) -> list[tuple[Tensor, Tensor]]:
        return self.__dict__.setdefault("_handed", [])

    def mono(self, rate: int) -> Tensor:
        wave = super().mono(rate)
        self.handed.append((wave, wave.clone()))
        return wave


def _is_plain(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == "cpu" and not value.requires_grad


def _described(made: Any) -> str:
    if not isinstance(made, dict):
        return type(made).__name__
    facts = {
        key: f"{value.device.type} tensor{', with gradients' if value.requires_grad else ''}"
        if isinstance(value, Tensor)
        else type(value).__name__
        for key, value in made.items()
    }
    return str(facts)


@contextmanager
def _eager_switching() -> Generator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
