"""Amounts of memory: what can be written, and what `auto` means."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from omnibind.engine.memory.budget import (
    budget_of,
    bytes_of,
    host_has_room,
    module_bytes,
    parse_bytes,
)
from omnibind.errors import SetupError
from omnibind.specs import EncoderSpec
from omnibind.weights import build_encoder

CPU = torch.device("cpu")
TOY = EncoderSpec(
    key="toy",
    modality="text",
    dim=16,
    params=0,
    flops_per_item=1.0,
    build="omnibind.testing.toys:text_16",
    weights=(),
)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("24GiB", 24 * 2**30),
        ("512MB", 512_000_000),
        ("1.5 GB", 1_500_000_000),
        ("0.1KiB", 102),
        (" 3 tib ", 3 * 2**40),
        ("7", 7),
        ("12B", 12),
        (1000, 1000),
    ],
)
def test_an_amount_is_read_to_the_byte(text: str | int, amount: int) -> None:
    assert parse_bytes(text) == amount


@pytest.mark.parametrize(
    "text",
    ["", "much", "24G", "-1GB", "1e9", "GiB", "1 2 GB", "0", "0.1", 0, -5, True, "nan", "1.GB"],
)
def test_what_is_no_amount_is_refused_with_an_example(text: str | int) -> None:
    with pytest.raises(SetupError, match="no amount of at least one byte") as error:
        parse_bytes(text)
    assert repr(text) in error.value.asked
    assert "'24GiB'" in error.value.next_step


@pytest.mark.parametrize("memory", [None, "auto", " Auto "])
def test_a_cpu_has_no_limit_unless_one_is_asked_for(memory: str | None) -> None:
    assert budget_of(memory, CPU) is None
    assert budget_of("2KiB", CPU) == 2048


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16, torch.float64])
def test_bytes_are_counted_as_they_are_once_built(dtype: torch.dtype | None) -> None:
    built = build_encoder(TOY, weights="random", dtype=dtype)
    assert bytes_of(TOY, "full", dtype) == module_bytes(built) > bytes_of(TOY, "tiny", dtype)


def test_tied_tensors_count_once_and_whole_numbers_keep_their_width() -> None:
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    net[1].weight = net[0].weight
    net.register_buffer("ids", torch.arange(3))
    assert module_bytes(net, torch.float16) == 16 * 2 + 3 * 8


def test_the_host_has_no_room_for_more_than_it_has() -> None:
    assert host_has_room(0) or not host_has_room(1)
    assert not host_has_room(2**60)
