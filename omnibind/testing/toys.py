"""Toy spaces: real small networks on real media, for tests that need rows but not meaning.

`toy_space("a", dim=8)` has a space of every built-in modality; a builder is named by its modality
and width, as in `"omnibind.testing.toys:image_8"`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnibind.plugins import LoadedPlugin, Registry, load_registry
from omnibind.specs import EncoderSpec, Recipe, Size, Slot, SpaceSpec
from omnibind.weights import LoadReport, load_state

__all__ = ["MODALITIES", "Toy", "toy_recipe", "toy_registry", "toy_space"]

MODALITIES = ("text", "image", "audio", "points")
BUCKETS = 64
RATE = 8_000


def _words(media: str) -> Tensor:
    ids = torch.tensor([zlib.crc32(word.lower().encode()) % BUCKETS for word in media.split()])
    return torch.bincount(ids, minlength=BUCKETS).float()


def _colours(media: Any) -> Tensor:
    small = media.resize((4, 4), resample=2)
    return torch.tensor(list(small.tobytes())).float() / 255 - 0.5


def _spectrum(media: Any) -> Tensor:
    wave = media.mono(RATE)
    padded = F.pad(wave, (0, max(0, 128 - len(wave))))
    power = torch.stft(padded, 126, window=torch.hann_window(126), return_complex=True).abs()
    return torch.log1p(power.mean(dim=-1))


def _moments(media: Any) -> Tensor:
    xyz, rgb = media.sample(256)
    colour = rgb.mean(dim=0) if rgb is not None else torch.zeros(3)
    return torch.cat([xyz.mean(dim=0), xyz.std(dim=0), xyz.abs().amax(dim=0), colour])


FEATURES: Mapping[str, tuple[int, Callable[[Any], Tensor]]] = {
    "text": (BUCKETS, _words),
    "image": (48, _colours),
    "audio": (64, _spectrum),
    "points": (12, _moments),
}


class Toy(nn.Module):
    """Features of an item, a linear layer, unit rows `[item, dim]`."""

    def __init__(self, modality: str, dim: int) -> None:
        super().__init__()
        width, self.features = FEATURES[modality]
        self.out = nn.Linear(width, dim)

    def preprocess(self, media: Any) -> dict[str, Tensor]:
        """The item's features, `[feature]`."""
        return {"features": self.features(media)}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows."""
        return F.normalize(self.out(batch["features"]), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes a checkpoint of its own layout."""
        return load_state(self, state)


def __getattr__(name: str) -> Callable[[Size, Mapping[str, Path]], Toy]:
    modality, _, dim = name.partition("_")
    if modality not in FEATURES or not dim.isdigit():
        raise AttributeError(name)
    return lambda size, assets: Toy(modality, int(dim))


def toy_space(
    name: str,
    *,
    dim: int = 8,
    modalities: Iterable[str] = MODALITIES,
    commercial_use: bool | None = True,
    keys: Mapping[str, str] | None = None,
) -> SpaceSpec:
    """A space of toy encoders.

    Args:
        name: of the space.
        dim: width of its rows.
        modalities: what it reads.
        commercial_use: as on a real card.
        keys: modality -> encoder key, to share an encoder with another toy space.
    """
    encoders = {m: _toy_encoder((keys or {}).get(m, f"{name}-{m}"), m, dim) for m in modalities}
    return SpaceSpec(
        name=name,
        dim=dim,
        encoders=encoders,
        licence="Apache-2.0",
        commercial_use=commercial_use,
        revision="1",
        training_data="none: seeded random weights",
    )


def toy_recipe(
    name: str, spaces: Iterable[SpaceSpec], *, backbone: str | None = None
) -> Recipe:
    """A recipe without routers: every space is a slot of each modality it reads.

    Args:
        name: of the recipe.
        spaces: the backbone among them; spaces of another width drop out for want of projectors.
        backbone: the first space by default.
    """
    listed = list(spaces)
    chosen = next(s for s in listed if s.name == (backbone or listed[0].name))
    slots = {
        modality: tuple(Slot.of(space.name) for space in listed if modality in space.encoders)
        for modality in dict.fromkeys(m for space in listed for m in space.encoders)
    }
    return Recipe(name=name, backbone=chosen.name, joint_dim=chosen.dim, slots=slots)


def toy_registry(*cards: Any) -> Registry:
    """A registry of the built-in modalities and these cards, as if a plugin had brought them."""
    built_in = EntryPoint(name="builtin", value="omnibind.plugins.builtin", group="omnibind")
    known = load_registry([built_in])
    plugin = LoadedPlugin(name="toys", distribution="toys", version="0", provides={})
    known.add(plugin, cards)
    return known


def _toy_encoder(key: str, modality: str, dim: int) -> EncoderSpec:
    width = FEATURES[modality][0]
    return EncoderSpec(
        key=key,
        modality=modality,
        dim=dim,
        params=(width + 1) * dim,
        flops_per_item=2.0 * width * dim,
        build=f"{__name__}:{modality}_{dim}",
        weights=(),
    )

