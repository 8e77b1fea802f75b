"""The sound encoders: aiSFX and BirdNET with an adapter into MiniLM's coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from omnibind.media.windows import every, joined, max_rows, mean_rows
from omnibind.specs import Size
from omnibind.weights import LoadReport, load_state
from omnibind_plugin_starter import aisfx, birdnet
from omnibind_plugin_starter.concepts import Concepts
from omnibind_plugin_starter.packed import unpacked

if TYPE_CHECKING:
    from omnibind.media.audio import Audio

__all__ = ["EffectSounds", "WildSounds", "aisfx_minilm", "birdnet_minilm"]

DIM = 384
MOST = 20  # windows of a sound that are read
BIRDNET_FILE = "BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"


class EffectSounds(nn.Module):
    """aiSFX, at home with sound effects and instruments: the mean over blocks of 2.3 s.

    Shape:
        `windows` `[window, 100, 96]`, `count` `[item]` -> `[item, 384]`.
    """

    def __init__(self, network: aisfx.AiSfx, width: int) -> None:
        super().__init__()
        self.network = network
        self.adapter = nn.Linear(width, DIM)
        self.middle = nn.Parameter(torch.zeros(DIM))

    def preprocess(self, media: Audio) -> dict[str, Tensor]:
        """Log-mel blocks every 1.2 s; a last block that is not full is left out, as published."""
        frames = aisfx.log_mel(media.mono(aisfx.RATE))
        blocks = every(frames, aisfx.BLOCK, aisfx.HOP, shortest=aisfx.BLOCK, most=MOST)
        return {"windows": blocks}

    def collate(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The windows of all sounds one after another."""
        return joined(items)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        return self.named(self.heard(batch))

    def named(self, features: Tensor) -> Tensor:
        """Unit rows `[item, dim]` of pooled features, less the mean of the training items."""
        return normalize(normalize(self.adapter(features), dim=-1) - self.middle, dim=-1)

    def heard(self, batch: dict[str, Tensor]) -> Tensor:
        """Pooled features `[item, 512]`: the mean over blocks."""
        return mean_rows(self.network(batch["windows"]), batch["count"])

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the embedding network; its nine classifiers have no use here."""
        published = "0.embedding_net."
        return load_state(
            self,
            unpacked(state),
            rename=lambda key: (
                f"network.{key.removeprefix(published)}" if key.startswith(published) else key
            ),
            dropped={"0.fc.*": "classifiers of the nine training sets, without class names"},
        )


class WildSounds(nn.Module):
    """BirdNET, at home with animals: a point among its species' names, and an adapter beside it.

    Shape:
        `windows` `[window, 144000]`, `count` `[item]` -> `[item, 384]`.
    """

    def __init__(self, network: birdnet.BirdNet) -> None:
        super().__init__()
        species, width = network.species.weight.shape
        self.network = network
        self.concepts = Concepts(species, width, DIM)

    def preprocess(self, media: Audio) -> dict[str, Tensor]:
        """Windows of 3 s at 48 kHz; a last one of less than 1.5 s is left out, as published."""
        sound = media.mono(birdnet.RATE)
        length = birdnet.WINDOW
        return {"windows": every(sound, length, length, shortest=length // 2, most=MOST)}

    def collate(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The windows of all sounds one after another."""
        return joined(items)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        return self.concepts(*self.heard(batch))

    def heard(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features `[item, 1024]` (mean over windows), posterior `[item, 6522]` (best window)."""
        features, logits = self.network(batch["windows"])
        count = batch["count"]
        return mean_rows(features, count), max_rows(logits, count).sigmoid()

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Reads the numbers out of the TensorFlow Lite file."""
        merged = {key: value for key, value in state.items() if key != BIRDNET_FILE}
        if BIRDNET_FILE in state:
            published = birdnet.state_of_tflite(state[BIRDNET_FILE].numpy().tobytes(), self.network)
            merged |= {f"network.{key}": value for key, value in published.items()}
        return load_state(self, unpacked(merged))


def aisfx_minilm(size: Size, assets: Mapping[str, Path]) -> EffectSounds:
    """aiSFX with its adapter; eight times thinner at the tiny size."""
    width = 8 if size == "tiny" else 64
    return EffectSounds(aisfx.AiSfx(width), 8 * width)


def birdnet_minilm(size: Size, assets: Mapping[str, Path]) -> WildSounds:
    """BirdNET and the names of its species; at the tiny size thinner, with the same windows."""
    return WildSounds(birdnet.BirdNet(tiny=size == "tiny"))
