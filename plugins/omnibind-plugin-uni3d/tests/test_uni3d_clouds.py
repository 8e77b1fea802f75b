"""Clouds of every size and kind become rows, the same ones every time."""

from __future__ import annotations

import pytest
import torch
from omnibind_plugin_uni3d import points
from omnibind_plugin_uni3d.clouds import GREY, farthest, nearest, normalised
from omnibind_plugin_uni3d.points import Uni3DPoints, network
from torch import Tensor

from omnibind.media.points import Points, load


def full_sampling() -> Uni3DPoints:
    """Narrow layers and fewer groups, but points and the size of a group as published."""
    torch.manual_seed(0)
    sizes = {**points.FULL, "group": 48, "channels": 16, "dim": 32}
    return Uni3DPoints(network("g", **points.NARROW), **sizes).eval()


def cloud(count: int, *, coloured: bool = True) -> Points:
    generator = torch.Generator().manual_seed(count)
    xyz, rgb = torch.rand(2, count, 3, generator=generator)
    return Points(xyz, rgb if coloured else None)


def row(encoder: Uni3DPoints, item: Points) -> Tensor:
    sample = encoder.preprocess(item)
    with torch.inference_mode():
        return encoder({name: tensor[None] for name, tensor in sample.items()})[0]


@pytest.mark.parametrize(
    "item",
    [
        cloud(1),
        cloud(63),
        cloud(511),
        cloud(10_000),
        cloud(10_000_000),
        cloud(2000, coloured=False),
        Points(torch.full((700, 3), 0.1), None),
        Points(torch.full((700, 3), 1e15), torch.rand(700, 3)),
        Points(cloud(900).xyz * 1e-20, None),
        Points(cloud(900).xyz * torch.tensor([1.0, 0, 0]), None),
    ],
    ids=["1", "63", "511", "10,000", "10 million", "grey", "one place", "far", "minute", "line"],
)
def test_any_cloud_becomes_one_unit_row(item: Points) -> None:
    encoder = full_sampling()
    sample = encoder.preprocess(item)
    assert sample["xyz"].shape == sample["rgb"].shape == (10_000, 3)
    assert row(encoder, item).norm().item() == pytest.approx(1, abs=1e-5)


def test_exactly_enough_points_keep_their_order() -> None:
    item = cloud(10_000)
    sample = full_sampling().preprocess(item)
    assert torch.equal(sample["rgb"], item.rgb)
    torch.testing.assert_close(sample["xyz"], normalised(item.xyz))


def test_a_cloud_without_colour_is_grey() -> None:
    sample = full_sampling().preprocess(cloud(100, coloured=False))
    assert (sample["rgb"] == GREY).all()


def test_y_is_up_as_in_training_and_nothing_is_turned_unasked() -> None:
    upright = cloud(10_000)
    x, y, z = upright.xyz.unbind(-1)
    lying = (torch.stack([x, -z, y], dim=-1), upright.rgb)
    wanted = full_sampling().preprocess(upright)["xyz"]
    assert not torch.allclose(full_sampling().preprocess(load(lying))["xyz"], wanted, atol=0.1)
    turned = full_sampling().preprocess(load(lying, up_axis="z"))["xyz"]
    torch.testing.assert_close(turned, wanted)


def test_coordinates_stay_float32_in_a_network_of_half_precision() -> None:
    encoder, item = full_sampling(), cloud(5000)
    whole = row(encoder, item)
    sample = encoder.bfloat16().preprocess(item)
    assert {tensor.dtype for tensor in sample.values()} == {torch.float32}
    assert torch.allclose(row(encoder, item), whole, atol=3e-2)
    with pytest.raises(TypeError, match="float32"):
        encoder({name: tensor[None].bfloat16() for name, tensor in sample.items()})


def test_normalising_puts_the_mean_at_the_origin_and_the_farthest_point_at_one() -> None:
    made = normalised(cloud(500).xyz * 1000 + 5e4)
    torch.testing.assert_close(made.mean(0), torch.zeros(3), rtol=0, atol=1e-6)
    assert made.norm(dim=-1).max().item() == pytest.approx(1)


def test_points_at_one_place_go_to_the_origin_whatever_rounding_says() -> None:
    assert not normalised(torch.full((10_000, 3), 0.1)).any()


def test_centres_start_at_the_first_point_and_skip_what_is_near_the_origin() -> None:
    xyz = torch.tensor([[[0.0, 0, 0], [0.03, 0, 0], [0.4, 0, 0], [-1, 0, 0], [0, 1, 0]]])
    assert farthest(xyz, 4).tolist() == [[0, 3, 4, 2]]


def test_of_points_equally_far_the_first_is_taken() -> None:
    xyz = torch.tensor([[[1.0, 0, 0], [-1, 0, 0], [-1, 0, 0], [0, 0, 0]]])
    assert farthest(xyz, 4).tolist() == [[0, 1, 0, 0]]


def test_where_only_the_origin_is_left_the_first_point_is_taken_again() -> None:
    assert farthest(torch.zeros(1, 5, 3), 3).tolist() == [[0, 0, 0]]


def test_a_centre_is_its_own_neighbour() -> None:
    xyz = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 3, 0]]])
    assert nearest(xyz[:, :1], xyz, 2)[0, 0].sort().values.tolist() == [0, 1]


def test_the_order_of_points_after_the_first_does_not_matter() -> None:
    encoder, item = full_sampling(), cloud(10_000)
    order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(9_999)])
    shuffled = Points(item.xyz[order], item.rgb[order])
    torch.testing.assert_close(tokens(encoder, shuffled), tokens(encoder, item))


def tokens(encoder: Uni3DPoints, item: Points) -> Tensor:
    xyz, rgb = (encoder.preprocess(item)[name][None] for name in ("xyz", "rgb"))
    with torch.inference_mode():
        return encoder.tokens(xyz, rgb, xyz[:, farthest(xyz, encoder.group)[0]])
