"""Routers: their weights sum to one, and the sigmoid bounds them."""

from __future__ import annotations

import pytest
import torch

from omnibind.routers import Router


@pytest.mark.parametrize("temperature", [1.0, 10.0])
def test_weights_are_a_distribution_within_the_bound_of_the_sigmoid(temperature: float) -> None:
    torch.manual_seed(0)
    router = Router(6, ["a", "b", "c"], temperature=temperature).eval()
    torch.nn.init.normal_(router.net[-1].weight, std=50)
    weights = router(torch.randn(50, 6))
    assert torch.allclose(weights.sum(-1), torch.ones(50))
    largest = (weights.amax(-1) / weights.amin(-1)).max()
    assert largest <= torch.tensor(temperature).exp() * 1.001


def test_temperature_sharpens() -> None:
    torch.manual_seed(0)
    soft, sharp = Router(6, ["a", "b"]).eval(), Router(6, ["a", "b"], temperature=10.0).eval()
    sharp.load_state_dict(soft.state_dict())
    x = torch.randn(20, 6)
    assert sharp(x).amax(-1).mean() > soft(x).amax(-1).mean()
