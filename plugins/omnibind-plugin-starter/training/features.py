"""What the frozen networks see in training items: computed once, kept in DATA/features.

Nothing is learned here. A file of features is made again when the items behind it change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from omnibind_plugin_starter import cards
from safetensors.torch import load_file, save_file
from torch import Tensor

from omnibind.engine.finishing import collated
from omnibind.engine.forward import run_batch
from omnibind.specs import EncoderSpec
from omnibind.weights import build_encoder

__all__ = ["Features", "file_of"]

BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Features:
    """Runs frozen networks over items, or reads what they gave the last time.

    Attributes:
        folder: where it is kept.
    """

    folder: Path

    def of(
        self,
        spec: EncoderSpec,
        named: Sequence[str],
        load: Callable[[int], Any],
        tap: Callable[[Any, dict[str, Tensor]], Tensor | tuple[Tensor, Tensor]],
    ) -> list[Tensor]:
        """Tensors `[item, width]` of a network, before this plugin's own layers.

        Args:
            spec: whose network.
            named: one name an item: what they are kept under.
            load: the media of an item, by position.
            tap: the encoder and a batch -> what to keep.
        """
        return self._kept(spec, named, lambda: _run(_published(spec), len(named), load, tap))

    def texts(self, spec: EncoderSpec, texts: Sequence[str]) -> Tensor:
        """Unit rows `[item, dim]` of texts, neither centred nor whitened."""
        (rows,) = self._kept(spec, texts, lambda: [_rows(spec, texts)])
        return rows

    def _kept(
        self, spec: EncoderSpec, named: Sequence[str], make: Callable[[], list[Tensor]]
    ) -> list[Tensor]:
        digest = hashlib.sha256("\n".join(named).encode()).hexdigest()[:12]
        path = self.folder / f"{spec.key}-{spec.revision}-{digest}.safetensors"
        if not path.exists():
            print(f"{spec.key}: {len(named)} items")
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file({str(k): tensor.contiguous() for k, tensor in enumerate(make())}, path)
        state = load_file(path)
        return [state[str(k)] for k in range(len(state))]


def file_of(spec: EncoderSpec) -> str:
    """The name of the file that this plugin ships for an encoder."""
    (own,) = (w for w in spec.weights if w.startswith(cards.OWN))
    return own.rpartition("/")[2]


def _run(encoder: Any, items: int, load: Callable[[int], Any], tap: Callable[..., Any]) -> Any:
    found: list[tuple[Tensor, ...]] = []
    for start in range(0, items, BATCH):
        samples = [encoder.preprocess(load(k)) for k in range(start, min(items, start + BATCH))]
        with torch.inference_mode():
            seen = tap(encoder, collated(encoder, samples))
        found.append(seen if isinstance(seen, tuple) else (seen,))
        print(f"  {start + len(samples)}", end="\r", flush=True)
    return [torch.cat(parts).clone() for parts in zip(*found, strict=True)]


def _rows(spec: EncoderSpec, texts: Sequence[str]) -> Tensor:
    encoder = cast("Any", _published(spec))
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    prepared = ([encoder.preprocess(text) for text in batch] for batch in batches)
    return torch.cat([run_batch(spec, encoder, b, torch.device("cpu")) for b in prepared])


def _published(spec: EncoderSpec) -> Any:
    """The encoder as if this plugin's own file did nothing."""
    published = tuple(w for w in spec.weights if not w.startswith(cards.OWN))
    keys = ("centre", "middle", "adapter.", "concepts.")
    state = build_encoder(spec, weights="random").state_dict()
    own = {k: torch.zeros_like(v) for k, v in state.items() if k.startswith(keys)}
    own |= {k: torch.eye(len(v)) for k, v in state.items() if k == "whitening"}
    with TemporaryDirectory() as folder:
        blank = Path(folder) / "blank.safetensors"
        save_file(own, blank)
        return build_encoder(replace(spec, weights=(*published, f"file:{blank}")))
