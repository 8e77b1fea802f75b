"""Operations of an item: what torch counts at toy width, attention among it."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from omnibind.bench.flops import per_item
from omnibind.bench.networks import Networks
from omnibind.bench.setting import Setting
from omnibind.plugins import load_registry

KNOWN = load_registry()


def test_attention_counts(tmp_path: Path) -> None:
    setting = Setting(recipe="base", size="tiny", weights="random")
    card = KNOWN.spaces["eva02-b16"].encoders["image"]
    networks = Networks(setting, torch.device("cpu"))
    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")
    cards = {"image": {card.key: card}}
    found = per_item(KNOWN.modality("image"), cards, networks, [tmp_path / "black.png"])
    encoder = networks.get(card, published=True)
    batch = {"pixels": torch.zeros(1, 3, encoder.side, encoder.side)}
    with torch.no_grad(), FlopCounterMode(display=False) as torchs:  # leaves attention out
        encoder(batch)
    width, tokens = encoder.trunk.embed_dim, encoder.trunk.pos_embed.shape[1]
    assert found == torchs.get_total_flops() + len(encoder.trunk.blocks) * 4 * tokens**2 * width
