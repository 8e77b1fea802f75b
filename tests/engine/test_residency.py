"""Residency: several encoders under one budget give the rows they give alone."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from omnibind.engine.memory.budget import module_bytes
from omnibind.engine.memory.residency import Residency, groups
from omnibind.errors import SetupError, WeightsError
from omnibind.specs import EncoderSpec
from omnibind.weights.build import seeded

CPU = torch.device("cpu")
WIDTH = 32
ONE = 4 * WIDTH * (WIDTH + 1)  # bytes of one layer
SIZE = 4 * ONE
APART = pytest.mark.parametrize("separate", [False, True], ids=["one memory", "two memories"])


class Net(nn.Module):
    """Layers one after another; the last is tied to the first where that is asked for."""

    def __init__(self, seed: int, layers: int = 4, *, tied: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(layers))
        for number, parameter in enumerate(self.parameters()):
            own = torch.Generator().manual_seed(100 * seed + number)
            parameter.data.uniform_(-0.2, 0.2, generator=own)
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
        self.nets: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self.failing: dict[str, Exception] = {}
        self.failing_once: dict[str, Exception] = {}

    def __call__(self, spec: EncoderSpec, device: torch.device) -> nn.Module:
        error = self.failing.get(spec.key) or self.failing_once.pop(spec.key, None)
        if error:
            raise error
        self.built.append(spec.key)
        net = self.alone(spec)
        self.nets.add(net)
        return net

    @property
    def alive(self) -> int:
        """Networks that it built and that are still in memory."""
        return len(self.nets)

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
@pytest.mark.filterwarnings("ignore:.*above the budget")
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


def test_at_half_of_the_weights_each_encoder_is_moved_once_a_pass(
    make: Make, builder: Builder
) -> None:
    cards = [A, B, C, card("e")]
    residency = make(2 * SIZE)
    for passes in (1, 2, 3):
        for group in groups(cards, {one.key: SIZE for one in cards}, 2 * SIZE):
            residency.expect(group)
            for _ in range(3):
                for spec in group:
                    rows(residency, spec)
        assert all(moved.loads <= passes for moved in residency.moved.values())
        assert all(moved.nbytes <= passes * SIZE for moved in residency.moved.values())
    assert sorted(builder.built) == ["a", "b", "c", "e"]


def test_a_second_memory_is_filled_from_files_once_and_then_from_the_host(
    make: Make, builder: Builder
) -> None:
    residency = make(SIZE)
    for spec in [A, B, A, B]:
        rows(residency, spec)
    assert builder.built == ["a", "b"]
    moved = residency.moved["a"]
    assert (moved.loads, moved.nbytes, moved.evictions) == (2, 2 * SIZE, 2)


def test_one_memory_never_holds_two_copies(make: Make, builder: Builder) -> None:
    residency = make(SIZE, separate=False)
    for spec in [A, B, A]:
        rows(residency, spec)
        assert builder.alive == 1
    assert builder.built == ["a", "b", "a"]


def test_tied_tensors_stay_tied_and_cross_once(make: Make) -> None:
    tied = card("t", 4, "tied")
    residency = make(SIZE)
    for _ in range(2):
        rows(residency, tied)
        rows(residency, A)
    with residency.holding(tied) as net:
        assert net.layers[0].weight.data_ptr() == net.layers[-1].weight.data_ptr()
    assert residency.moved["t"].nbytes == 3 * (SIZE - 4 * WIDTH * WIDTH)


def test_what_was_not_used_for_longest_goes_first(make: Make) -> None:
    residency = make(2 * SIZE)
    for spec in [A, B, A, C]:
        rows(residency, spec)
    assert residency.resident == ("a", "c")


def test_what_is_released_goes_before_what_was_not_used_for_longer(make: Make) -> None:
    residency = make(2 * SIZE)
    rows(residency, A)
    rows(residency, B)
    residency.release("b")
    rows(residency, C)
    assert residency.resident == ("a", "c")


def test_what_is_expected_goes_last(make: Make) -> None:
    residency = make(2 * SIZE)
    rows(residency, A)
    rows(residency, B)
    residency.expect([A])
    rows(residency, C)
    assert residency.resident == ("a", "c")


def test_what_is_expected_next_is_loaded_ahead_while_another_is_held(make: Make) -> None:
    residency = make(2 * SIZE)
    with residency.holding(A):
        residency.expect([A, B, C])
        until(lambda: "b" in residency.resident)
    assert residency.resident == ("a", "b")
    residency.release("a")
    until(lambda: residency.resident == ("b", "c"))


def test_nothing_that_is_expected_is_evicted_to_load_ahead(make: Make) -> None:
    residency = make(2 * SIZE)
    residency.expect([A, B, C])
    until(lambda: residency.resident == ("a", "b"))
    rows(residency, A)
    rows(residency, B)
    assert residency.resident == ("a", "b")
    assert [residency.moved[key].evictions for key in "ab"] == [0, 0]


def test_an_encoder_is_not_evicted_while_it_is_held(make: Make, builder: Builder) -> None:
    residency = make(SIZE)
    found: list[Tensor] = []
    other = threading.Thread(target=lambda: found.append(rows(residency, B)))
    with residency.holding(A) as net:
        other.start()
        until(lambda: bool(residency._queue))
        assert residency.resident == ("a",)
        assert not residency.make_room()
        assert torch.equal(net(X), builder.alone(A)(X))
    other.join(20)
    assert torch.equal(found[0], builder.alone(B)(X))
    assert residency.resident == ("b",)


def test_whoever_waits_for_room_is_not_overtaken(make: Make) -> None:
    residency = make(SIZE)
    order: list[str] = []

    def use(spec: EncoderSpec) -> None:
        with residency.holding(spec):
            order.append(spec.key)

    threads = [threading.Thread(target=use, args=(spec,)) for spec in (B, A)]
    with residency.holding(A):
        for number, thread in enumerate(threads, start=1):
            thread.start()
            until(lambda number=number: len(residency._queue) == number)
    for thread in threads:
        thread.join(20)
    assert order == ["b", "a"]


def test_several_threads_hold_the_same_encoder_at_once(make: Make, builder: Builder) -> None:
    residency, met = make(SIZE), threading.Barrier(4)
    found: list[Tensor] = []

    def use() -> None:
        with residency.holding(A) as net:
            met.wait(20)
            found.append(net(X))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert all(torch.equal(one, builder.alone(A)(X)) for one in found)
    assert (len(found), builder.built) == (4, ["a"])


def test_many_threads_get_the_rows_of_their_encoder(make: Make, builder: Builder) -> None:
    residency = make(int(2.5 * SIZE))
    cards = [A, B, C, card("e"), BIG]
    alone = {spec.key: builder.alone(spec)(X) for spec in cards}
    wrong: list[str] = []

    def use(start: int) -> None:
        for turn in range(20):
            spec = cards[(start + turn * (start + 1)) % len(cards)]
            if not torch.equal(rows(residency, spec), alone[spec.key]):
                wrong.append(spec.key)

    threads = [threading.Thread(target=use, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert wrong == []


def test_a_thread_that_would_wait_with_one_in_hand_is_told(make: Make) -> None:
    residency = make(SIZE)
    with residency.holding(A):
        rows(residency, A)
        with pytest.raises(RuntimeError, match="'b' would have to wait"):
            rows(residency, B)
    rows(residency, B)


@APART
def test_a_failing_build_is_raised_and_tried_again(
    separate: bool, make: Make, builder: Builder
) -> None:
    residency = make(SIZE, separate)
    builder.failing["a"] = WeightsError("the weights", found="none")
    for _ in range(2):
        with pytest.raises(WeightsError):
            rows(residency, A)
        assert residency.resident == ()
    rows(residency, B)
    builder.failing.clear()
    assert torch.equal(rows(residency, A), builder.alone(A)(X))


@pytest.fixture
def failed_ahead(make: Make, builder: Builder) -> Residency:
    """One that could not load A ahead of a call; it could now."""
    residency = make(2 * SIZE)
    builder.failing["a"] = WeightsError("the weights", found="none")
    residency.expect([A, B])
    until(lambda: residency.resident == ("b",))
    builder.failing.clear()
    return residency


def test_an_error_of_loading_ahead_is_raised_where_the_encoder_is_held(
    failed_ahead: Residency,
) -> None:
    with pytest.raises(WeightsError):
        rows(failed_ahead, A)
    rows(failed_ahead, A)


def test_what_failed_ahead_of_a_call_that_ended_early_is_no_error_of_the_next(
    failed_ahead: Residency,
) -> None:
    failed_ahead.expect([])
    failed_ahead.expect([A, B])
    rows(failed_ahead, A)


def test_out_of_memory_while_loading_makes_room_and_tries_again(
    make: Make, builder: Builder
) -> None:
    residency = make(None)
    rows(residency, A)
    builder.failing_once["b"] = torch.OutOfMemoryError("CUDA out of memory")
    rows(residency, B)
    assert residency.resident == ("b",)


def test_out_of_memory_with_nothing_to_evict_is_raised(make: Make, builder: Builder) -> None:
    residency = make(None)
    builder.failing["a"] = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        rows(residency, A)


def test_making_room_evicts_all_that_is_not_held(make: Make) -> None:
    residency = make(None)
    rows(residency, A)
    with residency.holding(B):
        residency.expect([B, C])
        until(lambda: "c" in residency.resident)
        assert residency.make_room()
        assert residency.resident == ("b",)
        assert not residency.make_room()


def test_where_the_host_has_no_memory_for_a_copy_encoders_are_read_again(
    make: Make, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnibind.engine.memory.budget.HOST_RESERVE", 1.0)
    residency = make(SIZE)
    for spec in [A, B, A]:
        assert torch.equal(rows(residency, spec), builder.alone(spec)(X))
    assert builder.built == ["a", "b", "a"]


def test_an_encoder_larger_than_it_was_said_to_be_still_keeps_others_within_the_budget(
    make: Make, builder: Builder
) -> None:
    residency = make(2 * SIZE)
    residency.size_of = lambda spec: SIZE // 4
    for spec in [A, B, C]:
        rows(residency, spec)
    assert residency.resident == ("b", "c")


def test_one_that_streams_is_held_by_one_thread_at_a_time(make: Make, builder: Builder) -> None:
    residency = make(SIZE)
    found: list[Tensor] = []
    other = threading.Thread(target=lambda: found.append(rows(residency, BIG)))
    with residency.holding(BIG) as net:
        other.start()
        until(lambda: bool(residency._queue))
        assert torch.equal(net(X), builder.alone(BIG)(X))
    other.join(20)
    assert torch.equal(found[0], builder.alone(BIG)(X))
    assert residency.moved["d"].loads == 1


def test_one_that_streams_comes_back_from_the_host(make: Make, builder: Builder) -> None:
    residency = make(SIZE)
    for spec in [BIG, A, BIG, A, BIG]:
        assert torch.equal(rows(residency, spec), builder.alone(spec)(X))
    assert sorted(builder.built) == ["a", "d"]


def test_a_budget_smaller_than_a_layer_names_encoder_layer_and_bytes(make: Make) -> None:
    residency = make(ONE - 1)
    with pytest.raises(SetupError) as error:
        rows(residency, A)
    assert f"the encoder 'a' within {ONE - 1:,} bytes" in str(error.value)
    assert f"'layers.0' takes {ONE:,} bytes" in str(error.value)
    assert f"at least {ONE:,} bytes" in error.value.next_step
    assert residency.resident == ()


def test_closing_drops_networks_and_ends_the_loader(make: Make, builder: Builder) -> None:
    residency = make(2 * SIZE)
    residency.expect([A, B])
    until(lambda: residency.resident == ("a", "b"))
    residency.close()
    assert residency.resident == ()
    assert builder.alive == 0
    assert "omnibind-loader" not in {thread.name for thread in threading.enumerate()}


def test_closing_copies_nothing_to_the_host(
    make: Make, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    residency = make(2 * SIZE)
    rows(residency, A)
    rows(residency, B)
    monkeypatch.setattr("torch.empty_like", None)  # what copies are made with
    residency.close()
    assert residency.resident == ()
    assert builder.alive == 0


def test_groups_fit_and_keep_the_order_of_their_first_encoders() -> None:
    cards = [card(key) for key in "pqrst"]
    sizes = dict(zip("pqrst", (3, 9, 5, 20, 1), strict=True))
    packed = groups([*cards, cards[0]], sizes, 10)
    assert [[one.key for one in group] for group in packed] == [["p", "r"], ["q", "t"], ["s"]]
    assert groups(cards, sizes, None) == [cards]
    assert groups([], sizes, None) == groups([], sizes, 10) == []


def test_encoders_built_by_several_threads_at_once_have_their_own_weights() -> None:
    def make() -> nn.Module:
        return nn.Sequential(*(nn.Linear(8, 8) for _ in range(50)))

    def build(name: str) -> list[Tensor]:
        return list(seeded(make, name, 0).parameters())

    names = [f"encoder {number}" for number in range(16)]
    alone = [build(name) for name in names]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(build, names))
    for one, other in zip(alone, together, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
