"""Pictures travel as bytes, and become the numbers that torchvision makes of them."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import functional as transforms

from omnibind.media.pixels import levels, middle, standardised, stout

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
PICTURE = Image.fromarray(NOISE)


def test_bytes_are_the_pictures_own() -> None:
    made = levels(PICTURE)
    assert made.dtype == torch.uint8
    assert np.array_equal(made.permute(1, 2, 0).numpy(), NOISE)


def test_numbers_are_torchvisions_in_every_bit() -> None:
    wanted = transforms.normalize(transforms.to_tensor(PICTURE), MEAN, STD)
    assert torch.equal(standardised(levels(PICTURE), MEAN, STD), wanted)
    both = torch.stack([levels(PICTURE)] * 2)
    assert torch.equal(standardised(both, MEAN, STD), torch.stack([wanted] * 2))


def test_bytes_stay_as_they_were() -> None:
    made = levels(PICTURE)
    standardised(made, MEAN, STD)
    assert torch.equal(made, levels(PICTURE))


def test_the_middle_is_a_square_of_what_the_shorter_edge_spans() -> None:
    halves = Image.new("RGB", (300, 100), "black")
    halves.paste("white", (100, 0, 200, 100))
    assert middle(halves, 50).size == (50, 50)
    assert np.asarray(middle(halves, 50))[:, 5:-5].min() == 255


def test_slim_pictures_lose_their_ends() -> None:
    assert stout(Image.new("RGB", (2, 4000))).size == (2, 64)
    assert stout(PICTURE) is PICTURE
