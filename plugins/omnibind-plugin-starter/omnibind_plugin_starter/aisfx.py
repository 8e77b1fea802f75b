"""aiSFX in torch: log-mel blocks of 100 frames and eight convolutions, written anew."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

__all__ = ["BLOCK", "HOP", "RATE", "AiSfx", "log_mel"]

RATE = 44_100
BLOCK, HOP = 100, 50
FRAME, STEP, MELS = 2048, 1024, 96
LOUDEST = 9.457798957824707  # of the published training set; scales log-mel to [0, 1]


class ConvPair(nn.Module):
    """Two 3 x 3 convolutions with batch norm and ReLU."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.bn2 = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        """Same height and width, other channels."""
        x = self.bn1(self.conv1(x)).relu()
        return self.bn2(self.conv2(x)).relu()


class AiSfx(nn.Module):
    """X-Sequential-CE, trained on nine libraries of sound effects: one row a block of 2.3 s.

    Shape:
        `[window, 100, 96]` log-mel in [0, 1] -> `[window, 512]`: maximum over time of the mean
        over frequency.
    Source:
        Ma and Lerch, ISMIR 2022; weights CC BY 4.0. Written from the paper's and the checkpoint's
        layer list.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = (1, width, 2 * width, 4 * width, 8 * width)
        for number, (before, after) in enumerate(pairwise(widths), start=1):
            self.add_module(f"conv_block{number}", ConvPair(before, after))

    def forward(self, blocks: Tensor) -> Tensor:
        """One feature vector a block."""
        x = blocks.to(self.conv_block1.conv1.weight.dtype).unsqueeze(1)
        for pair in (self.conv_block1, self.conv_block2, self.conv_block3):
            x = max_pool2d(pair(x), 2)
        return self.conv_block4(x).mean(3).amax(2)


def log_mel(sound: Tensor) -> Tensor:
    """Log-mel spectrogram of mono sound at 44.1 kHz: `[time]` -> `[frame, 96]`, loudest 1.

    Hann frames of 2,048 samples every 1,024, power, 96 HTK mel triangles of unit sum up to
    22,050 Hz, log10(10000 x + 1): the published settings.
    """
    spectrum = torch.stft(
        sound,
        FRAME,
        STEP,
        window=torch.hann_window(FRAME, periodic=False),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    bands = spectrum.abs().square().T @ mel_triangles()
    return torch.log10(1e4 * bands + 1) / LOUDEST


@cache
def mel_triangles() -> Tensor:
    """Weights of the FFT bins in each band, triangular on the mel axis: `[1025, 96]`."""
    bins = mel(torch.linspace(0, RATE / 2, FRAME // 2 + 1))
    edges = torch.linspace(0, float(mel(torch.tensor(RATE / 2))), MELS + 2)
    step = edges[1] - edges[0]
    weights = (1 - (bins[:, None] - edges[1:-1]).abs() / step).clamp(min=0)
    return weights / weights.sum(0).clamp(min=1e-9)


def mel(hertz: Tensor) -> Tensor:
    """Hz -> mel, HTK's formula."""
    return 1127.01048 * torch.log1p(hertz / 700)
