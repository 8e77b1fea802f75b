"""Which requests run together, and in which order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from omnibind.engine.batching import Batcher
from omnibind.engine.requests import Batch, Limits, Priority, Request
from omnibind.specs import EncoderSpec


@dataclass
class Listener:
    """A caller that writes down what it is told."""

    unwanted: set[int] = field(default_factory=set)
    error: BaseException | None = None
    more: bool = False

    def keep(self, requests: Sequence[Request], rows: Sequence[Tensor]) -> None: ...

    def fail(self, request: Request, error: Exception) -> None: ...

    def stop(self, error: BaseException) -> None:
        self.error = error

    def wants(self, request: Request) -> bool:
        return request.index not in self.unwanted


@dataclass
class Device:
    """Takes every encoder, four items at once."""

    resident: Collection[str] = ()
    only: Collection[str] | None = None
    side_by_side: bool = False
    most: int = 4

    def runs(self, key: str) -> bool:
        return self.only is None or key in self.only

    def limit(self, key: str) -> int:
        return self.most


def spec(key: str) -> EncoderSpec:
    return EncoderSpec(
        key=key, modality="text", dim=2, params=1, flops_per_item=1.0, build="a:b", weights=()
    )


def requests(
    caller: Listener,
    count: int,
    key: str = "one",
    priority: Priority = Priority.BULK,
    length: int = 1,
) -> list[Request]:
    return [
        Request(
            caller=caller,
            index=index,
            spec=spec(key),
            sample={"x": torch.zeros(length)},
            cache_key=b"",
            priority=priority,
        )
        for index in range(count)
    ]


@pytest.fixture
def batcher() -> Batcher:
    return Batcher(Limits(items=4, latency=60.0))


def took(batcher: Batcher, device: Device | None = None) -> Batch:
    batch = batcher.take(device or Device())
    assert batch is not None
    return batch


def test_requests_of_several_callers_share_a_batch_in_turns(batcher: Batcher) -> None:
    first, second = Listener(), Listener()
    batcher.put([*requests(first, 4), *requests(second, 4)])
    assert [r.caller for r in took(batcher).requests] == [first, second, first, second]


def test_a_batch_waits_until_it_is_full_or_nothing_more_is_coming(batcher: Batcher) -> None:
    caller, taken = Listener(), list[Batch]()
    thread = threading.Thread(target=lambda: taken.append(took(batcher)))
    batcher.expect(caller, ["one", "one"])
    batcher.put(requests(caller, 1), caller=caller, expected=["one"])
    thread.start()
    thread.join(0.2)
    assert not taken
    batcher.put([], caller=caller, expected=["one"])  # what was coming failed
    thread.join(10)
    assert len(taken[0].requests) == 1


def test_nobody_waits_for_what_a_caller_said_to_expect_before_it_withdrew(
    batcher: Batcher,
) -> None:
    leaving, taken = Listener(), list[Batch]()
    batcher.expect(leaving, ["one", "one"])
    batcher.put(requests(Listener(), 1))
    thread = threading.Thread(target=lambda: taken.append(took(batcher)))
    thread.start()
    thread.join(0.2)
    assert not taken
    batcher.withdraw(leaving)
    batcher.put([], caller=leaving, expected=["one"])  # a worker was at it still
    thread.join(10)
    assert len(taken[0].requests) == 1


def test_a_batch_waits_for_a_caller_that_has_more(batcher: Batcher) -> None:
    caller, taken = Listener(more=True), list[Batch]()
    batcher.put(requests(caller, 1))
    thread = threading.Thread(target=lambda: taken.append(took(batcher)))
    thread.start()
    thread.join(0.2)
    assert not taken
    caller.more = False
    batcher.nudge()
    thread.join(10)
    assert len(taken[0].requests) == 1


def test_an_interactive_request_waits_no_longer_than_the_latency() -> None:
    batcher = Batcher(Limits(items=4, latency=0.05))
    batcher.expect(Listener(), ["one"])
    batcher.put(requests(Listener(), 1, priority=Priority.INTERACTIVE))
    assert len(took(batcher).requests) == 1


def test_who_has_sent_everything_does_not_wait_for_what_others_are_about_to_send() -> None:
    batcher, taken = Batcher(Limits(items=4, latency=0.05)), list[Batch]()
    slow, quick, thinking = Listener(), Listener(), Listener(more=True)
    batcher.expect(slow, ["one"])
    batcher.expect(quick, ["one", "one"])
    batcher.put(requests(thinking, 1))
    batcher.put(requests(quick, 1), caller=quick, expected=["one"])
    thread = threading.Thread(target=lambda: taken.append(took(batcher)))
    thread.start()
    thread.join(0.2)
    assert not taken  # it sends another one itself
    batcher.put(requests(quick, 1), caller=quick, expected=["one"])
    thread.join(10)
    assert len(taken[0].requests) == 3


def test_interactive_goes_before_bulk(batcher: Batcher) -> None:
    batcher.put(requests(Listener(), 4, "bulk"))
    batcher.put(requests(Listener(), 1, "urgent", Priority.INTERACTIVE))
    assert took(batcher).spec.key == "urgent"


def test_bulk_that_has_waited_long_goes_before_interactive(batcher: Batcher) -> None:
    old = requests(Listener(), 1, "bulk")
    old[0].since = time.monotonic() - 100
    batcher.put(old)
    batcher.put(requests(Listener(), 4, "urgent", Priority.INTERACTIVE))
    assert took(batcher).spec.key == "bulk"


@pytest.mark.parametrize(
    ("callers", "sizes"),
    [
        ([1] * 20, [10, 10]),
        ([1] * 10, [2, 8]),  # 8 stay together: fewer gain nothing
        ([20], [20]),  # the same call gives the same bytes
    ],
)
def test_threads_of_a_cpu_with_nothing_else_to_do_share_a_batch_of_several_callers(
    batcher: Batcher, callers: list[int], sizes: list[int]
) -> None:
    cpu, taken = Device(side_by_side=True, most=32), list[int]()

    def work() -> None:
        if (batch := batcher.take(cpu)) is not None:  # and is busy with it from then on
            taken.append(len(batch.requests))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    _until(lambda: batcher.idle(cpu) == 2)
    batcher.put([r for count in callers for r in requests(Listener(), count)])
    _until(lambda: sum(taken) == sum(callers))
    batcher.close()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sizes


def _until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_what_is_on_the_device_goes_before_what_is_to_be_loaded(batcher: Batcher) -> None:
    batcher.put([*requests(Listener(), 4, "far"), *requests(Listener(), 2, "near")])
    assert took(batcher, Device(resident=["near"])).spec.key == "near"


def test_a_full_batch_goes_before_an_older_one_that_is_not(batcher: Batcher) -> None:
    batcher.put([*requests(Listener(), 1, "old"), *requests(Listener(), 4, "full")])
    assert [took(batcher).spec.key for _ in range(2)] == ["full", "old"]


def test_lengths_are_batched_apart(batcher: Batcher) -> None:
    batcher.put([*requests(Listener(), 2, length=8), *requests(Listener(), 2, length=100)])
    shapes = [{tuple(r.sample["x"].shape) for r in took(batcher).requests} for _ in range(2)]
    assert sorted(shapes, key=str) == [{(100,)}, {(8,)}]


def test_a_batch_takes_no_more_bytes_than_it_may() -> None:
    batcher = Batcher(Limits(items=4, nbytes=1000))
    batcher.put(requests(Listener(), 4, length=100))
    assert len(took(batcher).requests) == 3


def test_a_device_takes_only_what_was_placed_there(batcher: Batcher) -> None:
    batcher.put([*requests(Listener(), 4, "here"), *requests(Listener(), 4, "there")])
    assert took(batcher, Device(only=["there"])).spec.key == "there"


def test_what_nobody_wants_any_more_is_passed_over(batcher: Batcher) -> None:
    caller = Listener(unwanted={0, 2})
    batcher.put(requests(caller, 3))
    assert [r.index for r in took(batcher).requests] == [1]
    assert batcher.nbytes == 0


def test_a_caller_that_withdraws_leaves_nothing_behind(batcher: Batcher) -> None:
    leaving, staying = Listener(), Listener()
    batcher.put([*requests(leaving, 3), *requests(staying, 1)])
    batcher.withdraw(leaving)
    assert [r.caller for r in took(batcher).requests] == [staying]
    assert not batcher.waiting()


def test_callers_hold_back_when_too_many_bytes_wait() -> None:
    batcher = Batcher(Limits(items=4, waiting=100))
    batcher.put(requests(Listener(), 1, length=25))  # 100 bytes
    assert batcher.crowded(Priority.BULK)
    assert not batcher.crowded(Priority.INTERACTIVE)
    batcher.put(requests(Listener(), 1, length=25))  # 100 bytes
    assert batcher.crowded(Priority.INTERACTIVE)
    took(batcher)
    assert not batcher.crowded(Priority.BULK)


def test_when_a_device_breaks_down_everybody_hears_of_it(batcher: Batcher) -> None:
    before, after, error = Listener(), Listener(), RuntimeError("broken")
    batcher.put(requests(before, 1))
    batcher.abort(error)
    batcher.put(requests(after, 1))
    assert before.error is error
    assert after.error is error
    assert batcher.take(Device()) is None
