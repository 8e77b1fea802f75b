"""Floating-point operations that an item costs: by the cards at full size, counted at others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from omnibind.bench.bare import Sample
from omnibind.bench.setting import Cards, Networks
from omnibind.specs import Modality, resolve

__all__ = ["per_item"]


def per_item(
    modality: Modality, cards: Cards, networks: Networks, sources: Sequence[Path | str]
) -> float:
    """Operations (2 x multiply-add) of one item in all networks of its modality, each once.

    Cards hold for full size. At toy width torch counts products, convolutions and attention while
    the first item is encoded.
    """
    every = cards[modality.name].values()
    if networks.setting.size == "full":
        return sum(card.flops_per_item for card in every)
    media = resolve(modality.load)(sources[0])
    total = 0
    for card in every:
        encoder = networks.get(card)
        sample = encoder.preprocess(media)
        collate = getattr(encoder, "collate", _alone)
        batch = {name: tensor.to(networks.device) for name, tensor in collate([sample]).items()}
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            encoder(batch)
        total += cast("Any", counter).get_total_flops()
    return float(total)


def _alone(samples: list[Sample]) -> Sample:
    return {name: tensor.unsqueeze(0) for name, tensor in samples[0].items()}
