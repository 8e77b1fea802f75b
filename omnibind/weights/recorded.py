"""Random initial values without a second copy: a constructor's work is noted down, then done.

A constructor fills all its tensors with float32 before anybody can convert or move one of them. So
it runs on tensors without memory first (`Recording`), and then its operations are done for real,
random draws in their order: the same numbers, on a CPU bit for bit. A tensor leaves for its number
type as soon as no operation needs it any more (`play`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, UntypedStorage
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = ["Recording", "UnrecordableError", "part_of", "play", "recording", "storage_of"]

META = torch.device("meta")
MADE = {"empty", "empty_strided", "zeros", "ones", "full", "rand", "randn", "randperm", "normal"}
"""Operations whose results get no memory. Those of others (`arange`, `linspace`, `tensor`) are
small, and constructors look at their numbers."""
FILLS = {"normal_", "uniform_", "zero_", "fill_", "copy_", "bernoulli_", "exponential_"}
"""Operations that leave nothing of what was there before."""
RANDOM = torch.Tag.nondeterministic_seeded
IS_META = cast("Any", Tensor.is_meta).__get__
init = cast("Any", torch.nn.init)
TRUNCATED: Any = getattr(init, "_no_grad_trunc_normal_", None)
OnReady = Callable[[int, UntypedStorage], None]


class UnrecordableError(Exception):
    """A constructor whose work cannot be done later: it needs numbers while it runs."""


@dataclass(frozen=True)
class _Part:
    """A tensor that had no memory, as a part of its storage."""

    storage: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype

    @staticmethod
    def of(tensor: Tensor) -> _Part:
        place = storage_of(tensor)
        size, stride = tuple(tensor.shape), tensor.stride()
        return _Part(place, size, stride, int(tensor.storage_offset()), tensor.dtype)


@dataclass(frozen=True)
class _Step:
    """One operation.

    Attributes:
        func, args, options: what to call; tensors are `_Part`s, or real ones.
        made: storages of its results that came to be by it, in their order; None for others.
        storages: that it reads, writes or makes.
        fills: the storage of which it leaves nothing.
        random: whether it draws numbers.
    """

    func: Any
    args: Any
    options: Mapping[str, Any]
    made: Sequence[int | None]
    storages: frozenset[int]
    fills: int | None
    random: bool


def storage_of(tensor: Tensor) -> int:
    """What tensors that share their numbers have in common."""
    return cast("Any", tensor.untyped_storage())._cdata


class Recording(TorchDispatchMode):
    """Within it, tensors that are made have no memory, and what is done to them is noted down.

    Attributes:
        steps: in their order.
        sizes: bytes by storage.
        written: storages that hold more than what was in memory before.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[_Step] = []
        self.sizes: dict[int, int] = {}
        self.written: set[int] = set()
        self._thread = threading.get_ident()
        self._kept: list[Tensor] = []  # a storage that is gone could give its identity to another

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        given = [one for one in tree_leaves((args, options)) if isinstance(one, Tensor)]
        if given or not _is_made(func, options):
            if not any(_bare(one) for one in given):
                if RANDOM in func.tags:
                    raise UnrecordableError(f"{func} of a tensor that has memory")
                return func(*args, **options)
            if any(not _bare(one) for one in _written(func, args, options)):
                raise UnrecordableError(f"{func} into a tensor that has memory")
        bare_args, bare_options = tree_map_only(Tensor, _without_memory, (args, options))
        if given and bare_options.get("device") is None:
            result = func(*bare_args, **bare_options)
        else:
            result = func(*bare_args, **{**bare_options, "device": META})
        self._note(func, args, options, given, result)
        return result

    def _note(
        self, func: Any, args: Any, options: Any, given: Sequence[Tensor], result: Any
    ) -> None:
        before = {storage_of(one) for one in given if _bare(one)}
        results = [one for one in tree_leaves(result) if isinstance(one, Tensor)]
        self._kept += results
        made = [None if storage_of(one) in before else storage_of(one) for one in results]
        self.sizes |= {storage_of(one): one.untyped_storage().nbytes() for one in results}
        written = _written(func, args, options)
        if not written and all(one is None for one in made):
            return  # a view
        if not func.overloadpacket.__name__.startswith("empty"):
            self.written |= {storage_of(one) for one in (*written, *results)}
        noted_args, noted_options = tree_map_only(Tensor, _noted, (args, options))
        self.steps.append(
            _Step(
                func=func,
                args=noted_args,
                options=noted_options,
                made=made,
                storages=frozenset(before | {one for one in made if one is not None}),
                fills=_filled(func, args),
                random=RANDOM in func.tags,
            )
        )

    def note_truncated(self, tensor: Tensor, *how: Any, **options: Any) -> Tensor:
        """Notes down a truncated normal distribution as one operation.

        torch draws again what lies outside, and so looks at the numbers.
        """
        if threading.get_ident() != self._thread or not _bare(tensor):
            return TRUNCATED(tensor, *how, **options)
        place = storage_of(tensor)
        self.written.add(place)
        self.steps.append(
            _Step(
                func=TRUNCATED,
                args=(_Part.of(tensor), *how),
                options=options,
                made=(None,),
                storages=frozenset({place}),
                fills=place if _is_whole(tensor) else None,
                random=True,
            )
        )
        return tensor


@contextmanager
def recording() -> Generator[Recording]:
    """A constructor runs in here; one at a time in a process."""
    made = Recording()
    if TRUNCATED is not None:
        init._no_grad_trunc_normal_ = made.note_truncated
    try:
        with made, _AsIfReal():
            yield made
    finally:
        if TRUNCATED is not None:
            init._no_grad_trunc_normal_ = TRUNCATED


class _AsIfReal(TorchFunctionMode):
    """Says that no tensor is without memory: torch fills such a one with nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return False if func == IS_META else func(*args, **(kwargs or {}))


def play(
    recording: Recording, device: torch.device, wanted: Sequence[int], on_ready: OnReady
) -> None:
    """Does for real what was noted down.

    Args:
        recording: of a constructor.
        device: where it is done; random numbers are drawn from its state.
        wanted: storages to hand over.
        on_ready: called once for each of these, with its numbers, when they are final; then they
            are forgotten here.

    Raises:
        UnrecordableError: a wanted storage was never written: it would be whatever lies in memory.
    """
    if missing := set(wanted) - recording.written:
        raise UnrecordableError(f"{len(missing)} tensors that nothing was written into")
    _Play(recording, device, set(wanted), on_ready).run()


class _Play:
    def __init__(
        self, recording: Recording, device: torch.device, wanted: set[int], on_ready: OnReady
    ) -> None:
        self.steps, self.sizes = recording.steps, recording.sizes
        self.device, self.wanted, self.on_ready = device, wanted, on_ready
        self.memory: dict[int, UntypedStorage] = {}
        self.done = [False] * len(self.steps)
        self.coming: dict[int, list[int]] = {}
        for number in reversed(range(len(self.steps))):
            for storage in self.steps[number].storages:
                self.coming.setdefault(storage, []).append(number)

    def run(self) -> None:
        for number in range(len(self.steps)):
            if not self.done[number]:
                self._do(number)

    def _do(self, number: int) -> None:
        """Does a step; then, while it can, what else is to be done to the same storage alone.

        A later step that draws nothing and touches nothing else gives the same now, and the
        storage is ready sooner.
        """
        now = [number]
        while now:
            number = now.pop()
            self._call(self.steps[number])
            self.done[number] = True
            now += [after for one in self.steps[number].storages for after in self._after(one)]

    def _after(self, storage: int) -> list[int]:
        """What can be done at once, when a step has been done to a storage."""
        coming = self.coming[storage]
        coming.pop()
        if not coming:
            numbers = self.memory.pop(storage)
            if storage in self.wanted:
                self.on_ready(storage, numbers)
            return []
        step = self.steps[coming[-1]]
        if step.fills == storage:
            self.memory.pop(storage, None)
            return []
        return [coming[-1]] if len(step.storages) == 1 and not step.random else []

    def _call(self, step: _Step) -> None:
        args, options = tree_map_only((_Part, Tensor), self._real, (step.args, dict(step.options)))
        if "device" in options or all(not isinstance(one, Tensor) for one in tree_leaves(args)):
            options["device"] = self.device
        try:
            result = step.func(*args, **options)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError) as error:
            raise UnrecordableError(str(error)) from error
        results = [one for one in tree_leaves(result) if isinstance(one, Tensor)]
        for storage, tensor in zip(step.made, results, strict=True):
            if storage is not None:
                self.memory[storage] = tensor.untyped_storage()

    def _real(self, one: _Part | Tensor) -> Tensor:
        if isinstance(one, Tensor):
            return one.to(self.device)
        if one.storage not in self.memory:
            size = self.sizes[one.storage]
            self.memory[one.storage] = UntypedStorage(size, device=self.device)
        return part_of(self.memory[one.storage], one)


def part_of(storage: UntypedStorage, like: Tensor | _Part) -> Tensor:
    """The numbers of a tensor that had no memory."""
    part = _Part.of(like) if isinstance(like, Tensor) else like
    empty = torch.empty(0, dtype=part.dtype, device=storage.device)
    return empty.set_(storage, part.offset, part.size, part.stride)


def _is_made(func: Any, options: Mapping[str, Any]) -> bool:
    where = options.get("device")
    return func.overloadpacket.__name__ in MADE and (
        where is None or torch.device(where).type == "cpu"
    )


def _without_memory(tensor: Tensor) -> Tensor:
    return tensor if _bare(tensor) else tensor.to(META)


def _noted(tensor: Tensor) -> _Part | Tensor:
    return _Part.of(tensor) if _bare(tensor) else tensor.clone()


def _written(func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> list[Tensor]:
    """The tensors that an operation writes into."""
    found: list[Tensor] = []
    for number, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[number] if number < len(args) else options.get(argument.name)
            found += [one for one in tree_leaves(value) if isinstance(one, Tensor)]
    return found


def _filled(func: Any, args: Sequence[Any]) -> int | None:
    """The storage that an operation fills as a whole, without reading it."""
    if func.overloadpacket.__name__ not in FILLS:
        return None
    target, place = args[0], storage_of(args[0])
    others = [one for one in tree_leaves(args[1:]) if isinstance(one, Tensor)]
    reads = any(storage_of(one) == place for one in others)
    return place if _is_whole(target) and not reads else None


def _is_whole(tensor: Tensor) -> bool:
    return tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()


def _bare(tensor: Tensor) -> bool:
    """Whether it has no memory; `is_meta` says no while constructors run."""
    return tensor.device.type == "meta"
