"""Items in, rows by encoder out: decode once, preprocess in workers, encode in batches."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from omnibind.engine.encoders import Residents, Sample, run_batch
from omnibind.engine.items import Item
from omnibind.engine.rowcache import RowCache
from omnibind.errors import ItemFailure, MediaError, SetupError
from omnibind.specs import EncoderSpec, Long, Size, resolve
from omnibind.weights import cache_folder
from omnibind.weights.build import Weights

__all__ = ["Encoded", "Engine", "shared_engine"]

EncodersByModality = Mapping[str, Sequence[EncoderSpec]]
OnDone = Callable[[Item], None]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Rows of the items that could be encoded.

    Attributes:
        rows: encoder key -> `[item, dim]`, in the order of `indices` of its modality.
        indices: modality -> positions of the good items in the caller's list.
        failures: the others, each with its stage and reason.
    """

    rows: Mapping[str, Tensor]
    indices: Mapping[str, tuple[int, ...]]
    failures: tuple[ItemFailure, ...]


class Engine:
    """Runs encoders over items. Each item is decoded once, each encoder key run once an item.

    Args:
        device: `auto` takes the first GPU, else the CPU.
        size: `full`, or `tiny` for tests.
        weights: `official`, or `random` (see `omnibind.weights.build_encoder`).
        seed: of random weights.
        long: what becomes of media longer than an encoder's clip (see `omnibind.specs.Long`).
        workers: threads that decode and preprocess; the number of processors by default.
        batch_size: items an encoder sees at once.
        cache: rows of content seen before; None keeps none.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        size: Size = "full",
        weights: Weights = "official",
        seed: int = 0,
        long: Long = "windows",
        workers: int | None = None,
        batch_size: int = 32,
        cache: RowCache | None = None,
    ) -> None:
        self.device = torch.device(_pick(device))
        self.encoders = Residents(self.device, size, weights, seed, long)
        self.batch_size = batch_size
        self.workers = workers or min(8, os.cpu_count() or 1)
        self.cache = cache
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="omnibind-prepare")

    def encode(
        self, items: Iterable[Item], encoders: EncodersByModality, on_done: OnDone | None = None
    ) -> Encoded:
        """Encodes items of any modalities.

        Args:
            items: each is prepared at most a few batches ahead of its turn.
            encoders: modality -> cards of the encoders to run; keys are run once.
            on_done: called once an item, when it is prepared or has failed.

        Raises:
            SetupError: an encoder cannot be built, or gives rows of the wrong shape.
        """
        job = _Job(self, {m: _by_key(specs) for m, specs in encoders.items()})
        waiting: deque[Future[_Prepared]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(self._prepare, item, job.encoders))
                if len(waiting) >= 2 * self.batch_size + self.workers:
                    job.take(waiting.popleft().result(), on_done)
            while waiting:
                job.take(waiting.popleft().result(), on_done)
            return job.finish()
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """Stops the workers."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _prepare(self, item: Item, encoders: Mapping[str, Mapping[str, EncoderSpec]]) -> _Prepared:
        """Decodes one item, looks its rows up, and preprocesses it for the encoders still due."""
        made = _Prepared(item=item)
        stage = "decode"
        try:
            media = resolve(item.modality.load)(item.source)
            digest = resolve(item.modality.digest)(media) if self.cache is not None else b""
            for key, spec in encoders.get(item.modality.name, {}).items():
                stage = f"preprocess for {key}"
                made.cache_keys[key] = RowCache.key(self.encoders.identity(spec), digest)
                row = self.cache.get(made.cache_keys[key]) if self.cache is not None else None
                if row is not None:
                    made.rows[key] = row
                else:
                    made.samples[key] = self.encoders.get(spec).preprocess(media)
        except SetupError:
            raise
        except Exception as error:  # noqa: BLE001 - a bad item never takes the others with it
            made.failure = _failure(item, stage, error)
        return made


@dataclass(kw_only=True)
class _Prepared:
    """One item after decoding: rows that were known, samples for the encoders still due."""

    item: Item
    rows: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    samples: dict[str, Sample] = field(default_factory=dict[str, Sample])
    cache_keys: dict[str, bytes] = field(default_factory=dict[str, bytes])
    failure: ItemFailure | None = None


class _Job:
    """One call of `encode`: fills batches by encoder, keeps rows by encoder and item."""

    def __init__(self, engine: Engine, encoders: Mapping[str, Mapping[str, EncoderSpec]]) -> None:
        self.engine, self.encoders = engine, encoders
        self.specs = {key: spec for by_key in encoders.values() for key, spec in by_key.items()}
        self.rows: dict[str, dict[int, Tensor]] = {key: {} for key in self.specs}
        self.due: dict[str, list[_Prepared]] = {key: [] for key in self.specs}
        self.items: dict[int, Item] = {}
        self.failures: dict[int, ItemFailure] = {}

    def take(self, prepared: _Prepared, on_done: OnDone | None) -> None:
        index = prepared.item.index
        self.items[index] = prepared.item
        if prepared.failure:
            self.failures[index] = prepared.failure
        else:
            for key, row in prepared.rows.items():
                self.rows[key][index] = row
            for key in list(prepared.samples):
                self.due[key].append(prepared)
                if len(self.due[key]) >= self.engine.batch_size:
                    self._run(key)
        if on_done:
            on_done(prepared.item)

    def finish(self) -> Encoded:
        for key in self.due:
            self._run(key)
        good: dict[str, list[int]] = {modality: [] for modality in self.encoders}
        for index in sorted(self.items.keys() - self.failures.keys()):
            good[self.items[index].modality.name].append(index)
        rows = {
            key: _stacked([self.rows[key][i] for i in good[modality]], spec.dim)
            for modality, by_key in self.encoders.items()
            for key, spec in by_key.items()
        }
        return Encoded(
            rows=rows,
            indices={modality: tuple(indices) for modality, indices in good.items()},
            failures=tuple(self.failures[i] for i in sorted(self.failures)),
        )

    def _run(self, key: str) -> None:
        """Encodes what is due for one encoder; a batch that fails is tried item by item."""
        batch = [p for p in self.due[key] if p.item.index not in self.failures]
        self.due[key] = []
        if not batch:
            return
        samples = [prepared.samples.pop(key) for prepared in batch]
        try:
            self._keep(key, batch, self._encode(key, samples))
        except SetupError:
            raise
        except Exception:  # noqa: BLE001 - one of them is bad; which one shows below
            for prepared, sample in zip(batch, samples, strict=True):
                try:
                    self._keep(key, [prepared], self._encode(key, [sample]))
                except SetupError:
                    raise
                except Exception as error:  # noqa: BLE001
                    self._fail(prepared.item, f"encode by {key}", error)

    def _encode(self, key: str, samples: list[Sample]) -> Tensor:
        spec = self.specs[key]
        return run_batch(spec, self.engine.encoders.get(spec), samples, self.engine.device)

    def _keep(self, key: str, batch: list[_Prepared], rows: Tensor) -> None:
        fresh: dict[bytes, Tensor] = {}
        for prepared, row in zip(batch, rows, strict=True):
            if not torch.isfinite(row).all():
                reason = ValueError("the encoder gave a row with NaN or infinity")
                self._fail(prepared.item, f"encode by {key}", reason)
                continue
            self.rows[key][prepared.item.index] = row
            fresh[prepared.cache_keys[key]] = row
        if self.engine.cache is not None:
            self.engine.cache.put(fresh)

    def _fail(self, item: Item, stage: str, error: Exception) -> None:
        self.failures[item.index] = _failure(item, stage, error)


@cache
def shared_engine(
    *,
    device: str = "auto",
    size: Size = "full",
    weights: Weights = "official",
    long: Long = "windows",
    cached: bool = True,
) -> Engine:
    """The engine of this process for one way of building encoders; every caller shares it."""
    rows = RowCache(cache_folder() / "rows.sqlite") if cached else None
    return Engine(device=device, size=size, weights=weights, long=long, cache=rows)


def _by_key(specs: Iterable[EncoderSpec]) -> dict[str, EncoderSpec]:
    return {spec.key: spec for spec in specs}


def _stacked(rows: list[Tensor], dim: int) -> Tensor:
    return torch.stack(rows) if rows else torch.empty(0, dim)


def _failure(item: Item, stage: str, error: Any) -> ItemFailure:
    reason = str(error) if isinstance(error, MediaError) else f"{type(error).__name__}: {error}"
    return ItemFailure(index=item.index, item=item.name, stage=stage, reason=reason)


def _pick(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
