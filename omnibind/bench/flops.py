"""Floating-point operations that an item costs: by the cards at full size, counted at others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from omnibind.bench.networks import Networks
from omnibind.bench.setting import Cards
from omnibind.engine.finishing import batch_of
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
        encoder = networks.get(card, published=True)  # torch counts the products of its own
        batch = batch_of(encoder, [encoder.preprocess(media)], networks.device)
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=ON_A_CPU) as counter:
            encoder(batch)
        total += cast("Any", counter).get_total_flops()
    return float(total)


def _attention(query: Size, key: Size, value: Size, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


Size = tuple[int, ...]
ON_A_CPU = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
"""What torch's counter leaves out."""
