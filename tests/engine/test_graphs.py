"""Graphs of forwards: kept for a few shapes, dropped when weights move, and done without."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor, nn

from omnibind.engine import Engine, recognise
from omnibind.engine.batching import Batcher
from omnibind.engine.graphs import AFTER, SHAPES, CudaCaptures, Graphs, recorder, small
from omnibind.engine.lane import Lane
from omnibind.engine.memory.residency import Residency
from omnibind.engine.report.stats import Recorder
from omnibind.engine.requests import Limits, Priority, Request
from omnibind.errors import SetupError
from omnibind.plugins import load_registry
from omnibind.specs import EncoderSpec

CPU = torch.device("cpu")
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")


class Doubles(nn.Module):
    """A network of one number."""

    def __init__(self, size: str = "tiny", assets: object = None) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((), 2.0), requires_grad=False)
        self.calls = 0

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        self.calls += 1
        return batch["x"] * self.factor


CARD = EncoderSpec(
    key="doubles",
    modality="text",
    dim=2,
    params=1,
    flops_per_item=1.0,
    build=f"{__name__}:Doubles",
    weights=(),
)


@dataclass
class Tape:
    """Records as CUDA does: runs once, and repeats with the numbers that lie there by then."""

    recorded: int = 0
    replayed: int = 0
    error: Exception | None = None

    def __call__(self, forward: Callable[[], Tensor]) -> Callable[[], Tensor]:
        if self.error:
            raise self.error
        self.recorded += 1
        rows = forward()

        def repeat() -> Tensor:
            self.replayed += 1
            return rows.copy_(forward())

        return repeat


@pytest.fixture
def tape() -> Tape:
    return Tape()


def batch(items: int, value: float = 1.0) -> dict[str, Tensor]:
    return {"x": torch.full((items, 2), value)}


def warm(graphs: Graphs, module: nn.Module, items: int = 1, load: int = 1) -> None:
    for _ in range(AFTER + 1):
        graphs.rows("doubles", load, module, batch(items))


def test_a_shape_is_recorded_once_it_has_come_a_few_times(tape: Tape) -> None:
    graphs, module = Graphs(tape), Doubles()
    for _ in range(AFTER):
        graphs.rows("doubles", 1, module, batch(1))
    assert tape.recorded == 0
    graphs.rows("doubles", 1, module, batch(1))
    graphs.rows("doubles", 1, module, batch(1))
    assert (tape.recorded, tape.replayed) == (1, 2)


def test_a_graph_computes_what_it_is_given_and_its_rows_stay(tape: Tape) -> None:
    graphs, module = Graphs(tape), Doubles()
    warm(graphs, module)
    three, five = (graphs.rows("doubles", 1, module, batch(1, v)) for v in (3.0, 5.0))
    assert three.tolist() == [[6, 6]]
    assert five.tolist() == [[10, 10]]


def test_only_a_few_shapes_are_kept(tape: Tape) -> None:
    graphs, module = Graphs(tape), Doubles()
    for items in range(1, SHAPES + 3):
        warm(graphs, module, items)
    assert graphs.count == {"doubles": SHAPES}
    assert graphs.rows("doubles", 1, module, batch(SHAPES + 2)).shape == (SHAPES + 2, 2)


def test_weights_that_have_moved_are_recorded_anew(tape: Tape) -> None:
    graphs, module = Graphs(tape), Doubles()
    warm(graphs, module, load=1)
    graphs.rows("doubles", 2, module, batch(1))
    assert graphs.count == {"doubles": 0}
    warm(graphs, module, load=2)
    assert tape.recorded == 2


def test_what_leaves_is_forgotten(tape: Tape) -> None:
    graphs, module = Graphs(tape), Doubles()
    warm(graphs, module)
    graphs.forget("doubles")
    assert not graphs.count["doubles"]


def test_an_encoder_that_cannot_be_recorded_runs_without_and_says_so_once() -> None:
    tape = Tape(error=RuntimeError("operation not permitted when stream is capturing"))
    graphs, module = Graphs(tape), Doubles()
    with pytest.warns(UserWarning, match="'doubles' runs without CUDA graphs: RuntimeError"):
        warm(graphs, module)
    tape.error = None
    warm(graphs, module)
    assert tape.recorded == 0
    assert graphs.rows("doubles", 1, module, batch(1)).tolist() == [[2, 2]]


@dataclass
class Allocator:
    """Captures as torch 2.11 does: a failure leaves the pool as if it were captured into still."""

    pools: int = 0
    underway: set[int] = field(default_factory=set)

    def new_pool(self) -> int:
        self.pools += 1
        return self.pools

    def capture(self, forward: Callable[[], Tensor], pool: int) -> Callable[[], Tensor]:
        if pool in self.underway:
            raise RuntimeError("already recording to mempool_id")
        self.underway.add(pool)
        rows = forward()
        self.underway.remove(pool)
        return lambda: rows.copy_(forward())

    def abandon(self, pool: int) -> None:
        self.underway.remove(pool)


class LooksAtNumbers(Doubles):
    """A network that cannot be recorded: what it waits for is refused, then the capture's end."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        if self.calls < AFTER:
            return super().forward(batch)
        try:
            raise ValueError("operation not permitted when stream is capturing")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")


def test_after_an_encoder_that_cannot_be_recorded_others_still_are() -> None:
    cuda = Allocator()
    graphs, looks, module = Graphs(recorder(cuda)), LooksAtNumbers(), Doubles()
    reason = "'looks' runs without CUDA graphs: ValueError: operation not permitted"
    for _ in range(AFTER):
        graphs.rows("looks", 1, looks, batch(1))
    with pytest.warns(UserWarning, match=reason), pytest.raises(RuntimeError):
        graphs.rows("looks", 1, looks, batch(1))
    warm(graphs, module)
    assert graphs.count == {"doubles": 1}
    assert not cuda.underway
    assert cuda.pools == 2


@NEEDS_CUDA
def test_on_a_gpu_a_failed_recording_leaves_nothing_behind() -> None:
    device = torch.device("cuda", 0)

    def waits(batch: dict[str, Tensor]) -> Tensor:
        return batch["x"] * float(batch["x"].sum())

    with torch.cuda.stream(torch.cuda.Stream(device)), torch.inference_mode():
        graphs, module = Graphs(recorder(CudaCaptures(device))), Doubles().to(device)
        ones = {"x": torch.ones(2, 2, device=device)}
        for _ in range(AFTER + 2):
            graphs.rows("doubles", 1, module, ones)
        for _ in range(AFTER):
            graphs.rows("waits", 1, waits, ones)
        with pytest.warns(UserWarning, match="runs without CUDA graphs"):
            found = graphs.rows("waits", 1, waits, ones)
        assert found.tolist() == [[4, 4]] * 2
        assert graphs.rows("doubles", 1, module, ones).tolist() == [[2, 2]] * 2
        assert torch.rand(3, device=device).max() < 1
        for _ in range(AFTER + 2):
            graphs.rows("others", 1, module, ones)
    assert graphs.count == {"doubles": 1, "others": 1}


def test_only_small_encoders_are_recorded() -> None:
    assert small(CARD)
    assert not small(replace(CARD, params=2_000_000_000))


def test_graphs_without_a_gpu_are_refused() -> None:
    with pytest.raises(SetupError, match="graphs=True"):
        Engine(device="cpu", graphs=True)


def residency(budget: int | None = None) -> Residency:
    return Residency(
        CPU,
        budget=budget,
        build=lambda spec, device: Doubles(),
        size_of=lambda spec: 4,
        separate=True,
    )


def test_an_encoder_that_comes_back_lies_elsewhere() -> None:
    kept = residency()
    with kept.holding(CARD):
        first = kept.settled("doubles")
    left: list[str] = []
    kept.on_leave = left.append
    kept.make_room()
    assert left == ["doubles"]
    with kept.holding(CARD):
        assert kept.settled("doubles") not in (first, None)


def test_what_goes_through_the_device_in_layers_is_never_settled() -> None:
    kept = Residency(
        CPU,
        budget=40,
        build=lambda spec, device: nn.Sequential(*(nn.Linear(2, 2) for _ in range(3))),
        size_of=lambda spec: 72,
        separate=True,
    )
    with kept.holding(CARD):
        assert kept.settled("doubles") is None


@dataclass
class Caller:
    """Keeps rows."""

    rows: list[Tensor] = field(default_factory=list)
    more: bool = False

    def keep(self, requests: object, rows: list[Tensor]) -> None:
        self.rows += rows

    def fail(self, request: Request, error: Exception) -> None:
        raise error

    def stop(self, error: BaseException) -> None:
        raise error

    def wants(self, request: Request) -> bool:
        return True


def test_a_lane_records_what_it_runs_and_forgets_what_leaves(tape: Tape) -> None:
    batcher, caller, made = Batcher(Limits(items=1)), Caller(), list[Graphs]()

    def graphs() -> Graphs:
        made.append(Graphs(tape))
        return made[-1]

    lane = Lane(
        "cpu", residency(), batcher, Recorder(), None, numbers=lambda spec: "float32", graphs=graphs
    )
    sample = {"x": torch.tensor([1.0, 2.0])}
    batcher.put(
        Request(
            caller=caller,
            index=k,
            spec=CARD,
            sample=sample,
            cache_key=b"",
            priority=Priority.BULK,
        )
        for k in range(AFTER + 2)
    )
    lane.start()
    deadline = time.monotonic() + 30
    while len(caller.rows) < AFTER + 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert made[0].count == {"doubles": 1}
    batcher.close()
    lane.close()
    assert not made[0].count["doubles"]
    assert all(row.tolist() == [2, 4] for row in caller.rows)


@NEEDS_CUDA
def test_on_a_gpu_rows_are_those_without_graphs() -> None:
    known = load_registry()
    texts = [s.encoders["text"] for s in known.spaces.values() if "text" in s.encoders]
    spec = next(card for card in texts if small(card))
    rows = []
    for graphs in (False, True):
        engine = Engine(device="cuda:0", size="tiny", batch_size=4, graphs=graphs)
        items = [recognise(k, f"text {k}", known.modalities, "text") for k in range(40)]
        rows.append(engine.encode(items, {"text": [spec]}).rows[spec.key])
        engine.close()
    torch.testing.assert_close(rows[0], rows[1])


@NEEDS_CUDA
def test_on_a_gpu_a_graph_follows_its_batch() -> None:
    device = torch.device("cuda", 0)
    with torch.cuda.stream(torch.cuda.Stream(device)), torch.inference_mode():
        graphs, module = Graphs(recorder(CudaCaptures(device))), Doubles().to(device)
        for value in range(6):
            rows = graphs.rows(
                "doubles", 1, module, {"x": torch.full((2, 2), float(value), device=device)}
            )
            assert rows.tolist() == [[2.0 * value] * 2] * 2
    assert graphs.count == {"doubles": 1}
