"""BirdNET 2.4 in torch: the published graph, layer by layer, read from its TensorFlow Lite file."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, pad, silu

from omnibind.errors import WeightsError
from omnibind_plugin_starter.tflite import Layer, layers

__all__ = ["RATE", "WINDOW", "BirdNet", "state_of_tflite"]

RATE, WINDOW = 48_000, 144_000
MELS = 96
# channels, blocks, inner channels, channels of the squeeze (0: none)
STAGES = ((36, 3, 72, 0), (72, 4, 288, 18), (108, 5, 864, 27), (192, 4, 1536, 48))
TINY_STAGES = ((4, 1, 8, 0), (6, 2, 12, 2))
MULTIPLY, CONVOLVE, DEPTHWISE, DENSE, POWER, ADD = 18, 3, 4, 9, 78, 0


class MelPicture(nn.Module):
    """One of the two spectrograms: real part of the Fourier transform, 96 mel bands, a power.

    Shape:
        `[window, time]` -> `[window, 96, frame]`, high frequencies first.
    """

    def __init__(self, length: int, hop: int) -> None:
        super().__init__()
        self.length, self.hop = length, hop
        self.register_buffer("taper", torch.hann_window(length))
        self.register_buffer("mel", torch.rand(MELS, length // 2 + 1) / length)
        self.register_buffer("power", torch.tensor(0.2))

    def forward(self, sound: Tensor) -> Tensor:
        """In float32 whatever the network runs in: half precision has no Fourier transform."""
        with torch.autocast(sound.device.type, enabled=False):
            frames = sound.float().unfold(-1, self.length, self.hop) * self.taper.float()
            bands = torch.fft.rfft(frames).real @ self.mel.float().T
            return bands.square().pow(self.power.float()).flip(-1).transpose(1, 2)


class Block(nn.Module):
    """Widen, look around, squeeze, narrow; added to what came in, except where it halves."""

    def __init__(self, before: int, after: int, inner: int, squeeze: int, *, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.widen = nn.Conv2d(before, inner, 1)
        self.look = nn.Conv2d(inner, inner, 3, 2 if halve else 1, 1, groups=inner)
        if squeeze:
            self.squeeze = nn.Conv2d(inner, squeeze, 1)
            self.excite = nn.Conv2d(squeeze, inner, 1)
        self.narrow = nn.Conv2d(inner, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[window, before, height, width]` -> `[window, after, ...]`."""
        inner = silu(self.look(silu(self.widen(x))))
        if hasattr(self, "squeeze"):
            pooled = inner.mean((2, 3), keepdim=True)
            inner = inner * self.excite(silu(self.squeeze(pooled))).sigmoid()
        return self.narrow(inner) if self.halve else x + self.narrow(inner)


class BirdNet(nn.Module):
    """BirdNET 2.4: two spectrograms of 3 s as the channels of a picture, a small EfficientNet.

    Shape:
        `[window, 144000]` at 48 kHz -> features `[window, 1024]`, species logits `[window, 6522]`.
    Source:
        Kahl et al. 2021, Ecological Informatics 61; weights CC BY-NC-SA 4.0. Written from the
        published graph; equal to it within float32 rounding (see the tests).
    """

    def __init__(self, *, tiny: bool = False) -> None:
        super().__init__()
        stem, wide, species = (4, 16, 20) if tiny else (24, 1024, 6522)
        self.spectra = nn.ModuleList([MelPicture(2048, 278), MelPicture(1024, 280)])
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("shift", torch.zeros(2))
        self.stem = nn.Conv2d(2, stem, (4, 8), 2)
        self.mix = nn.Conv2d(2 * stem, stem, 1)
        channels, blocks = stem, []
        for after, count, inner, squeeze in TINY_STAGES if tiny else STAGES:
            for place in range(count):
                blocks.append(Block(channels, after, inner, squeeze, halve=place == 0))
                channels = after
        self.blocks = nn.Sequential(*blocks)
        self.last_scale = nn.Parameter(torch.ones(channels))
        self.last_shift = nn.Parameter(torch.zeros(channels))
        self.last = nn.Conv2d(channels, wide, 3)
        self.species = nn.Linear(wide, species)

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features and species logits."""
        windows = windows - windows.amin(1, keepdim=True)
        windows = (windows / (windows.amax(1, keepdim=True) + 1e-6) - 0.5) * 2
        picture = torch.stack([spectrum(windows) for spectrum in self.spectra], 1)
        picture = picture.to(self.scale.dtype)
        picture = picture * self.scale[:, None, None] + self.shift[:, None, None]
        x = self.stem(pad(picture, (3, 4, 1, 1))).relu()
        x = self.mix(torch.cat([max_pool2d(x, (1, 2)), avg_pool2d(x, (1, 2))], 1))
        x = self.blocks(x)
        x = (x * self.last_scale[:, None, None] + self.last_shift[:, None, None]).relu()
        features = self.last(x).relu().mean((2, 3))
        return features, self.species(features)


def state_of_tflite(data: bytes, network: BirdNet) -> dict[str, Tensor]:
    """The constants of the published graph by the keys of `BirdNet`, in running order.

    Raises:
        WeightsError: the graph has other layers than the network.
    """
    steps = [step for step in layers(data) if _carries_weights(step)]
    expected = list(_expected(network))
    if len(steps) != len(expected):
        raise WeightsError(
            f"BirdNET's graph with {len(expected)} layers that carry numbers",
            found=f"{len(steps)} of them",
            next_step="this plugin reads BirdNET 2.4 (FP32); another version needs another plugin",
        )
    state: dict[str, Tensor] = {}
    for step, names in zip(steps, expected, strict=True):
        for name, values in zip(names, step.constants, strict=True):
            state[name] = _in_torch_order(step, values)
    return state


def _carries_weights(step: Layer) -> bool:
    real = [values for values in step.constants if values.dtype == np.float32]
    plain = len(real) == 1 and len(step.constants) == 1
    vector = step.kind in (MULTIPLY, ADD) and plain and real[0].size > 1
    return step.kind in (CONVOLVE, DEPTHWISE, DENSE, POWER) or vector


def _expected(network: BirdNet) -> list[tuple[str, ...]]:
    names: list[tuple[str, ...]] = []
    for number in range(len(network.spectra)):
        names += [(f"spectra.{number}.{part}",) for part in ("taper", "mel", "power")]
    names += [("scale",), ("shift",)]
    convolutions = [
        name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)
    ]
    names += [(f"{name}.weight", f"{name}.bias") for name in convolutions]
    names[-1:-1] = [("last_scale",), ("last_shift",)]
    return [*names, ("species.weight", "species.bias")]


def _in_torch_order(step: Layer, values: np.ndarray) -> Tensor:
    """Kernels are `[out, height, width, in]` there (`[1, height, width, out]` depthwise)."""
    if values.ndim != 4:
        return torch.from_numpy(values.copy())
    order = (3, 0, 1, 2) if step.kind == DEPTHWISE else (0, 3, 1, 2)
    return torch.from_numpy(values.transpose(order).copy())
