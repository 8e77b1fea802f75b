"""Residency: several encoders under one budget give the rows they give alone."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from omnibind.engine.budget import module_bytes
from omnibind.engine.residency import Residency
from omnibind.specs import EncoderSpec

CPU = torch.device("cpu")
WIDTH = 32
ONE = 4 * WIDTH * (WIDTH + 1)  # bytes of one layer
SIZE = 4 * ONE
APART = pytest.mark.parametrize("separate", [False, True], ids=["one memory", "two memories"])


class Net(nn.Module):
    """Layers one after another; the last is tied to the first where that is asked for."""

    def __init__(self, seed: int, layers: int = 4, *, tied: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(layers))
        if tied:
            self.layers[-1].weight = self.layers[0].weight

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


class Builder:
    """Builds networks, keeps count, and can be made to fail."""

    def __init__(self) -> None:
        self.built: list[str] = []
        self.alive: dict[str, list[weakref.ref[nn.Module]]] = {}
        self.failing: dict[str, Exception] = {}
        self.gate: threading.Event | None = None

    def __call__(self, spec: EncoderSpec, device: torch.device) -> nn.Module:
        if self.gate:
            assert self.gate.wait(20)
        if spec.key in self.failing:
            raise self.failing[spec.key]
        self.built.append(spec.key)
        net = self.alone(spec)
        self.alive.setdefault(spec.key, []).append(weakref.ref(net))
        return net

    @staticmethod
    def alone(spec: EncoderSpec) -> nn.Module:
        net = Net(ord(spec.key[0]), spec.params, tied="tied" in spec.note)
        return net.eval().requires_grad_(False)

    def size(self, spec: EncoderSpec) -> int:
        return module_bytes(self.alone(spec))


def card(key: str, layers: int = 4, note: str = "") -> EncoderSpec:
    return EncoderSpec(
        key=key,
        modality="text",
        dim=WIDTH,
        params=layers,
        flops_per_item=1.0,
        build="",
        weights=(),
        note=note,
    )


A, B, C, BIG = card("a"), card("b"), card("c"), card("d", 9)
X = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(0))
Make = Callable[..., Residency]


@pytest.fixture
def builder() -> Builder:
    return Builder()


@pytest.fixture
def make(builder: Builder) -> Iterator[Make]:
    made: list[Residency] = []

    def make(budget: int | None, separate: bool = True) -> Residency:
        with_size = partial(Residency, CPU, build=builder, size_of=builder.size)
        made.append(with_size(budget=budget, separate=separate))
        return made[-1]

    yield make
    for one in made:
        one.close()


def rows(residency: Residency, spec: EncoderSpec) -> Tensor:
    with residency.holding(spec) as net, torch.inference_mode():
        return net(X)


def until(true: Callable[[], bool]) -> None:
    """Waits for what another thread is about to do."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


@APART
@pytest.mark.parametrize("budget", [None, 2 * SIZE, SIZE, SIZE + 1])
def test_rows_are_the_same_under_any_budget(
    budget: int | None, separate: bool, make: Make, builder: Builder
) -> None:
    residency = make(budget, separate)
    for spec in [A, B, A, C, C, B, A, BIG, A]:
        with torch.inference_mode():
            assert torch.equal(rows(residency, spec), builder.alone(spec)(X))


def test_what_fits_is_built_once_and_never_moved_again(make: Make, builder: Builder) -> None:
    residency = make(2 * SIZE)
    for spec in [A, B, A, B, A]:
        rows(residency, spec)
    assert builder.built == ["a", "b"]
    assert {key: (m.loads, m.nbytes, m.evictions) for key, m in residency.moved.items()} == {
        "a": (1, SIZE, 0),
        "b": (1, SIZE, 0),
    }
