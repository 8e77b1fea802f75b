"""Layers on a CPU: other products, the same rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from omnibind.engine import layers

WIDTH = 256


def _rows(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def _attention(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    return nn.MultiheadAttention(WIDTH, 4, **options).eval().requires_grad_(False)


@pytest.mark.usefixtures("lagging")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 64])  # below and above what oneDNN is asked for
def test_a_quick_linear_layer_gives_the_same_rows(rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(WIDTH, WIDTH, bias=bias), _rows(2, rows, WIDTH)
    with torch.inference_mode():
        expected = layer(x)
        assert layers.quickened(layer) is layer
        torch.testing.assert_close(layer(x), expected, atol=1e-6, rtol=1e-5)


MASKS = {
    "none": None,
    "added": torch.full((16, 16), -torch.inf).triu(1),
    "places": torch.ones(16, 16, dtype=torch.bool).triu(1),
    "heads": torch.full((16, 16), -2.0).triu(1).expand(8 * 4, 16, 16),
}


@pytest.mark.usefixtures("lagging")
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"batch_first": True}], ids=str)
def test_quick_attention_gives_the_same_rows(options: dict[str, bool], mask: Tensor | None) -> None:
    layer, x = _attention(**options), _rows(8, 16, WIDTH)
    x = x if options.get("batch_first") else x.transpose(0, 1)
    with torch.inference_mode():
        expected = layer(x, x, x, need_weights=False, attn_mask=mask)[0]
        found = layers.quickened(layer)(x, x, x, need_weights=False, attn_mask=mask)[0]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_quick_attention_computes_in_bfloat16_too(mask: Tensor | None) -> None:
    layer, x = _attention(batch_first=True), _rows(8, 16, WIDTH)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = layer(x, x, x, need_weights=False, attn_mask=mask)[0]
        found = layers.quickened(layer.bfloat16())(x, x, x, need_weights=False, attn_mask=mask)[0]
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected.float(), atol=5e-3, rtol=5e-2)


@pytest.mark.usefixtures("lagging")
def test_one_query_may_look_at_other_places() -> None:
    layer, x = _attention(batch_first=True), _rows(8, 16, WIDTH)
    query = _rows(8, 1, WIDTH)
    with torch.inference_mode():
        expected = layer(query, x, x, need_weights=False)[0]
        found = layers.quickened(layer)(query, x, x, need_weights=False)[0]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "asked",
    [{}, {"need_weights": False, "key_padding_mask": torch.arange(16).expand(8, 16) > 11}],
    ids=["weights", "padding"],
)
def test_whatever_else_can_be_asked_for_is_torchs(asked: dict[str, Any]) -> None:
    layer, x = _attention(batch_first=True), _rows(8, 16, WIDTH)
    with torch.inference_mode():
        expected = layer(x, x, x, **asked)
        found = layers.quickened(layer)(x, x, x, **asked)
    assert (found[1] is None) is (expected[1] is None)
    torch.testing.assert_close(found[0], expected[0], equal_nan=True)


def test_quick_layers_can_still_be_trained() -> None:
    layer = nn.Sequential(nn.Linear(WIDTH, WIDTH))
    layers.quickened(layer)(_rows(64, WIDTH)).sum().backward()
    assert layer[0].weight.grad is not None


def test_what_was_exchanged_can_be_put_back() -> None:
    network = nn.TransformerEncoderLayer(WIDTH, 4)
    before = [type(layer) for layer in network.modules()]
    assert [type(layer) for layer in layers.quickened(network).modules()] != before
    assert [type(layer) for layer in layers.plain(network).modules()] == before
