"""The encoders of one device, under a byte budget: loaded, loaded ahead, and evicted.

A device that has a memory of its own takes each encoder straight from its files while everything
fits. Once it does not, an encoder that has to go leaves a copy on the host, and comes back from
there. Where the memory is the host's (a CPU), an encoder that has to go is dropped.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress

import torch
from torch import nn

from omnibind.engine.interrupts import Condition
from omnibind.engine.memory.copies import Copies, Moved, emptied
from omnibind.engine.memory.resident import Build, Resident
from omnibind.specs import EncoderSpec

__all__ = ["Moved", "Residency", "groups"]


class Residency:
    """The encoders of one device, under a byte budget.

    None leaves while it is held, and all of them together take no more than the budget. Threads
    that find no room wait for it in the order they came. A thread that holds an encoder may take
    another only where there is room: otherwise two threads could wait for each other for ever.

    What has to go: first what is not expected, of that first what is released, then what was not
    used for longest; then what is expected last.

    Args:
        device: where encoders run.
        budget: bytes of all of them together, activations not counted; None for no limit. An
            encoder that is larger goes through the device layer by layer.
        build: gives a network in eval mode on a device. Its numbers are to be those for `device`
            wherever it is built: what is larger than the budget is built on the host.
        size_of: bytes of a network, without building it; not asked without a budget.
        separate: the device has a memory of its own; by default, all but CPUs have. With True a
            CPU goes the accelerators' way.

    Attributes:
        moved: what has been moved, by key. Where `loads` has changed, addresses have.
        on_leave: told of each encoder that leaves the device, by key, before it does.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        budget: int | None,
        build: Build,
        size_of: Callable[[EncoderSpec], int],
        separate: bool | None = None,
    ) -> None:
        self.device, self.budget, self.build, self.size_of = device, budget, build, size_of
        apart = device.type != "cpu" if separate is None else separate
        self.copies = Copies(device, separate=apart)
        self.on_leave: Callable[[str], None] | None = None
        self.moved: dict[str, Moved] = {}
        self._known: dict[str, Resident] = {}
        self._expected: list[str] = []
        self._ahead = True
        self._queue: deque[object] = deque()
        self._changed = Condition()
        self._thread = threading.local()
        self._uses = 0
        self._loader: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def holding(self, spec: EncoderSpec) -> Generator[nn.Module]:
        """The network of a card, on the device for as long as it is held.

        Several threads may hold the same one; one that streams is held by one at a time.

        Raises:
            SetupError: it cannot be built, or the budget is smaller than one of its layers.
            RuntimeError: this thread holds another one, and there is no room for both.
        """
        resident = self._take(spec)
        self._thread.holds = self._holds() + 1
        try:
            yield resident.arrived()
        finally:
            self._thread.holds -= 1
            with self._changed:
                resident.holders -= 1
                self._uses += 1
                resident.used = self._uses
                self._changed.notify_all()

    def expect(self, specs: Sequence[EncoderSpec]) -> None:
        """Says what is at work and what is needed next, in this order.

        It is loaded ahead, by a thread, while there is room. What is not expected (any more) is
        evicted for it, unless it is held in that moment.
        """
        residents = [self._resident(spec) for spec in specs]
        with self._changed:
            for resident in residents:
                resident.released, resident.error = False, None  # it is tried again
            self._expected, self._ahead = list(dict.fromkeys(s.key for s in specs)), True
            if specs and self._loader is None and not self._closed:
                loader = threading.Thread(
                    target=self._load_ahead, name="omnibind-loader", daemon=True
                )
                loader.start()
                self._loader = loader  # not before: an interrupt may have kept it from starting
            self._changed.notify_all()

    def release(self, key: str) -> None:
        """Says that an encoder's job is done: it is the first to go."""
        with self._changed:
            self._expected = [other for other in self._expected if other != key]
            if key in self._known:
                self._known[key].released = True
            self._changed.notify_all()

    def settled(self, key: str) -> int | None:
        """Of an encoder that is held: a number that changes whenever its tensors have moved.

        None where they move in every forward, layer by layer.
        """
        with self._changed:
            one = self._known[key]
            return None if one.streams else one.moved.loads

    @property
    def resident(self) -> tuple[str, ...]:
        """Keys of the encoders that are on the device."""
        with self._changed:
            return tuple(key for key, resident in self._known.items() if resident.there)

    @property
    def room_taken(self) -> dict[str, int]:
        """Bytes that each of these takes there."""
        with self._changed:
            return {key: one.room for key, one in self._known.items() if one.there}

    def make_room(self) -> bool:
        """After out-of-memory: evicts what is not held; True if anything went.

        Nothing is loaded ahead until the next `expect`.
        """
        return self._emptied(keep=True)

    def close(self) -> None:
        """Stops loading ahead, and drops what is not held; no copies are made of it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._loader:
            self._loader.join()
        self._emptied(keep=False)
        with self._changed:
            for resident in self._known.values():
                if not (resident.there or resident.busy):
                    resident.forget()

    def _emptied(self, *, keep: bool) -> bool:
        """Takes what is not held off the device; True if anything went."""
        with self._changed:
            self._ahead = False
            idle = [resident for resident in self._known.values() if resident.idle]
            for resident in idle:
                resident.leave(keep=keep)
            self._changed.notify_all()
        emptied(self.device)
        return bool(idle)

    def _resident(self, spec: EncoderSpec) -> Resident:
        if spec.key not in self._known:
            size = 0 if self.budget is None else self.size_of(spec)
            made = Resident(spec, size, self.budget, self.build, self.copies, self._left)
            with self._changed:
                self.moved[spec.key] = self._known.setdefault(spec.key, made).moved
        return self._known[spec.key]

    def _left(self, key: str) -> None:
        if self.on_leave:
            self.on_leave(key)

    def _holds(self) -> int:
        """How many encoders this thread holds."""
        return getattr(self._thread, "holds", 0)

    def _take(self, spec: EncoderSpec) -> Resident:
        """Holds an encoder: waits until it is there, or until this thread is to bring it."""
        ticket, resident = object(), self._resident(spec)
        with self._changed:
            try:
                while not self._taken(resident, ticket):
                    self._changed.wait()
            finally:
                if ticket in self._queue:
                    self._queue.remove(ticket)
                    self._changed.notify_all()
        if resident.busy:
            self._bring(resident, ahead=False)
        return resident

    def _taken(self, resident: Resident, ticket: object) -> bool:
        """Whether it is held now; otherwise the thread is to wait, in the queue if for room."""
        if resident.busy:
            return False
        if resident.error:
            error, resident.error = resident.error, None
            raise error
        in_turn = self._holds() or not self._queue or self._queue[0] is ticket
        free = not (resident.there and resident.streams and resident.holders)
        if in_turn and free and (resident.there or self._room_for(resident, ahead=False)):
            resident.busy, resident.released = not resident.there, False
            resident.holders += 1
            return True
        if self._holds():
            raise RuntimeError(
                f"{resident.spec.key!r} would have to wait for room, in a thread that holds another"
            )
        if ticket not in self._queue:
            self._queue.append(ticket)
        return False

    def _room_for(self, resident: Resident, *, ahead: bool) -> bool:
        """Sets room aside, and evicts for it, if that is enough; ahead of time, less may go."""
        if self.budget is not None:
            free = self.budget - sum(other.room for other in self._known.values())
            going: list[Resident] = []
            for other in sorted(self._known.values(), key=self._usefulness):
                spared = ahead and other.spec.key in self._expected
                if free < resident.needs and other.idle and not spared:
                    going.append(other)
                    free += other.room
            if free < resident.needs:
                return False
            for other in going:
                other.leave()
        resident.room = resident.needs
        return True

    def _usefulness(self, resident: Resident) -> tuple[int, bool, int]:
        """Sorts the least useful first."""
        key = resident.spec.key
        rank = len(self._expected) - self._expected.index(key) if key in self._expected else 0
        return rank, not resident.released, resident.used

    def _bring(self, resident: Resident, *, ahead: bool) -> None:
        """Brings what room was set aside for; not under the lock, for it takes time."""
        try:
            if ahead:
                resident.bring()
            else:
                self._bring_or_make_room(resident)
        except BaseException as error:
            with self._changed:
                resident.busy, resident.room, resident.holders = False, 0, 0
                if ahead and isinstance(error, torch.OutOfMemoryError):
                    self._ahead = False  # whoever needs it tries again, with less beside it
                elif ahead and isinstance(error, Exception):
                    resident.error = error
                self._changed.notify_all()
            raise
        with self._changed:
            resident.room = 0
            if not self._room_for(resident, ahead=False):  # it is larger than it was said to be
                resident.room = resident.needs
            resident.busy, resident.there = False, True
            self._changed.notify_all()

    def _bring_or_make_room(self, resident: Resident) -> None:
        try:
            return resident.bring()
        except torch.OutOfMemoryError:
            if not self.make_room():
                raise
        return resident.bring()

    def _load_ahead(self) -> None:
        """The loader thread; errors are kept for whoever holds the encoder."""
        while resident := self._next():
            with suppress(Exception):
                self._bring(resident, ahead=True)

    def _next(self) -> Resident | None:
        """Waits for an encoder to bring ahead; None at the end."""
        with self._changed:
            while not self._closed:
                due = [self._known[key] for key in self._expected]
                due = [one for one in due if not (one.there or one.busy or one.error)]
                if due and self._ahead and not self._queue and self._room_for(due[0], ahead=True):
                    due[0].busy = True
                    return due[0]
                self._changed.wait()
        return None


def groups(
    specs: Sequence[EncoderSpec], sizes: Mapping[str, int], budget: int | None
) -> list[list[EncoderSpec]]:
    """Packs encoders into groups that fit under the budget together, for one pass over items each.

    Args:
        specs: a key that comes twice is taken once.
        sizes: bytes by key.
        budget: None puts all into one group. An encoder that is larger is a group of its own.

    Returns:
        As few groups as the largest-first rule finds, in the order of their first encoders.
    """
    cards = list({spec.key: spec for spec in specs}.values())
    if budget is None:
        return [cards] if cards else []
    packed: list[list[EncoderSpec]] = []
    for spec in sorted(cards, key=lambda one: -sizes[one.key]):
        fits = [g for g in packed if sum(sizes[s.key] for s in (*g, spec)) <= budget]
        if fits:
            fits[0].append(spec)
        else:
            packed.append([spec])
    ordered = [sorted(group, key=cards.index) for group in packed]
    return sorted(ordered, key=lambda group: cards.index(group[0]))
