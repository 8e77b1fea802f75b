"""What the published code does, written from its description: every space on its own.

Each space decodes every item anew, preprocesses and encodes it, one space after another, in
float32, sounds one by one; a network that several spaces share runs again for each of them.

Ours, and never to its disadvantage: networks in eval mode, the heads of all projectors as one
product, no tower that runs on a dummy, shapes as well (on which the published code fails), and
lists of at most a batch at once, so that any number of items fits. Where its networks do not fit
together, which it asks for, each space brings its own and takes it away; that is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from omnibind.bench.bare import chunks, forward
from omnibind.bench.networks import Networks
from omnibind.bench.setting import spaces_of
from omnibind.embedder import Embedder
from omnibind.engine.finishing import finishes_early, sample_of
from omnibind.specs import EncoderSpec, Modality, resolve

__all__ = ["Naive"]


@dataclass
class Naive:
    """Joint rows the long way.

    Attributes:
        model: whose recipe, spaces and binder are used, and nothing of its engine.
        networks: are asked for those of the published code.
        batch: items of a list that is encoded at once; sounds go one by one.
        decoded: items that have been decoded so far, each time counted.
        forwards: batches that have been encoded so far.
    """

    model: Embedder
    networks: Networks
    batch: int
    decoded: int = 0
    forwards: int = 0

    def embed(self, modality: str, sources: Sequence[Path | str]) -> Tensor:
        """Joint rows of items of one modality, `[item, joint]`."""
        rows = self.encode(modality, sources)
        with torch.no_grad():
            return self.model.binder(modality, rows).rows.float()

    def encode(self, modality: str, sources: Sequence[Path | str]) -> dict[str, Tensor]:
        """Rows by space, `[item, dim]`."""
        card = self.model.known.modality(modality)
        size = 1 if modality == "audio" else self.batch
        return {
            space.name: torch.cat(
                [
                    self._encode(card, space.encoders[modality], chunk)
                    for chunk in chunks(sources, size)
                ]
            )
            for space in spaces_of(self.model, modality)
        }

    def _encode(self, card: Modality, spec: EncoderSpec, sources: Sequence[Path | str]) -> Tensor:
        encoder, load = self.networks.get(spec, published=True), resolve(card.load)
        early = finishes_early([self.networks.device])
        samples = [sample_of(encoder, load(source), early=early) for source in sources]
        self.decoded += len(samples)
        self.forwards += 1
        return forward(encoder, samples, self.networks.device)
