"""One item before its encoders: decoded once, known rows looked up, preprocessed for the others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from omnibind.engine.finishing import sample_of
from omnibind.engine.items import Item
from omnibind.engine.networks import Networks
from omnibind.engine.requests import Sample
from omnibind.engine.rowcache import RowCache
from omnibind.errors import ItemFailure, MediaError, SetupError
from omnibind.specs import EncoderSpec, resolve

__all__ = ["Prepared", "Preparer", "failure_of"]


@dataclass(kw_only=True)
class Prepared:
    """What an item has become.

    Attributes:
        rows: known rows by encoder key.
        samples: for the encoders still due.
        cache_keys: under which their rows are remembered; none where nothing is.
        failure: why it has become nothing.
        decoding: seconds spent on decoding.
        preprocessing: seconds spent on preprocessing for all encoders.
    """

    rows: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    samples: dict[str, Sample] = field(default_factory=dict[str, Sample])
    cache_keys: dict[str, bytes] = field(default_factory=dict[str, bytes])
    failure: ItemFailure | None = None
    decoding: float = 0.0
    preprocessing: float = 0.0


@dataclass(frozen=True)
class Preparer:
    """Decodes and preprocesses; any number of threads may call it.

    Attributes:
        networks: have the encoders' `preprocess` and `finish`.
        cache: of rows; None keeps none.
        early: whether samples are finished here (see `omnibind.engine.finishing`).
    """

    networks: Networks
    cache: RowCache | None
    early: bool = False

    def __call__(self, item: Item, specs: Sequence[EncoderSpec]) -> Prepared:
        """Prepares an item for some encoders of its modality.

        Raises:
            SetupError: an encoder cannot be laid out, or its `preprocess` gives no tensors by name.
                What is wrong with the item is in `failure`.
        """
        made, samples = Prepared(), dict[str, Sample]()
        stage = "decode"
        began = time.monotonic()
        try:
            media = resolve(item.modality.load)(item.source)
            made.decoding = time.monotonic() - began
            digest = resolve(item.modality.digest)(media) if self.cache is not None else b""
            for spec in specs:
                stage = f"preprocess for {spec.key}"
                if self.cache is not None:
                    key = RowCache.key(self.networks.identity(spec), digest)
                    made.cache_keys[spec.key] = key
                    row = self.cache.get(key)
                    if row is not None:
                        made.rows[spec.key] = row
                        continue
                name = spec.sample or spec.key
                if name not in samples:
                    encoder = self.networks.preparing(spec)
                    samples[name] = sample_of(encoder, media, early=self.early, key=spec.key)
                made.samples[spec.key] = samples[name]
        except SetupError:
            raise
        except BaseException as error:  # noqa: BLE001 - a bad item, even one that makes a plugin
            # call sys.exit or panic in Rust, never takes the others with it
            made.failure = failure_of(item, stage, error)
        made.preprocessing = time.monotonic() - began - made.decoding
        return made


def failure_of(item: Item, stage: str, error: BaseException, note: str = "") -> ItemFailure:
    """An error as a caller is told of it."""
    reason = str(error) if isinstance(error, MediaError) else f"{type(error).__name__}: {error}"
    return ItemFailure(index=item.index, item=item.name, stage=stage, reason=reason + note)
