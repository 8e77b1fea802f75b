"""Which parts of a network stay on the device, and which go through it one after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from omnibind.errors import SetupError

__all__ = ["Layer", "Plan", "finest", "planned", "tensors_of"]

CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
# These read the weights of what is inside them without calling it.
WHOLE = (nn.MultiheadAttention, nn.TransformerEncoderLayer, torch.jit.ScriptModule)
OWN_SHARE = 0.1
"""A module whose own tensors are more of its bytes is taken apart only if there is no other way."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """A module that is on the device as a whole or not at all.

    Attributes:
        name: where it hangs; empty for the network itself.
        module: its forward tells when it is needed.
        tensors: its parameters that belong to no other layer.
    """

    name: str
    module: nn.Module
    tensors: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        """Bytes it takes on the device."""
        return sum(tensor.nbytes for tensor in self.tensors)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a network fits a budget.

    Attributes:
        resident: tensors that stay on the device: buffers, parameters of modules that were cut or
            that are tied to two layers, and what there was room for.
        layers: the others, in the order in which they are registered.
        ahead: whether there is room for the next layer beside the present one.
    """

    resident: tuple[Tensor, ...]
    layers: tuple[Layer, ...]
    ahead: bool

    @property
    def nbytes(self) -> int:
        """Bytes on the device at the fullest moment, activations not counted."""
        largest = max((layer.nbytes for layer in self.layers), default=0)
        return sum(t.nbytes for t in self.resident) + largest * (2 if self.ahead else 1)

    @property
    def passing(self) -> int:
        """Bytes that go through the device in a forward."""
        return sum(layer.nbytes for layer in self.layers)


def planned(
    module: nn.Module, budget: int, key: str, staying: Collection[int] = frozenset()
) -> Plan:
    """Cuts a network into layers that are as large as the budget allows for two of them.

    Containers (`ModuleList`, `Sequential`) are cut into their members; other modules only where
    they are too large. What the budget leaves beside two layers is filled with parts that stay:
    the small ones first, then layers evenly spread, so that copies and computing overlap; or a
    few of the largest, if less has to move then. Where the budget has no room for two layers,
    they come one by one, with nothing ahead.

    Args:
        module: the network.
        budget: bytes it may take on the device, activations not counted.
        key: of the encoder, for the message.
        staying: tensors that have to stay, by their identity.

    Raises:
        SetupError: the budget is smaller than one layer and what has to stay beside it.
    """
    limits = [budget >> halvings for halvings in range(1, budget.bit_length() + 1)]
    for ahead, apart in product((True, False), (False, True)):
        for limit in limits:
            plan = _cut(module, limit, staying, ahead=ahead, apart=apart)
            fitting = [one for one in _large_ones_staying(plan) if one.nbytes <= budget]
            if fitting:
                return min((_filled(one, budget) for one in fitting), key=lambda one: one.passing)
    raise _too_small(key, finest(module, staying), budget)


def finest(module: nn.Module, staying: Collection[int] = frozenset()) -> Plan:
    """The plan that takes the fewest bytes: the smallest budget under which a network streams."""
    return min(
        (_cut(module, 0, staying, ahead=False, apart=apart) for apart in (False, True)),
        key=lambda plan: plan.nbytes,
    )


def _cut(
    module: nn.Module, limit: int, staying: Collection[int], *, ahead: bool, apart: bool
) -> Plan:
    """Takes the highest modules of at most `limit` bytes, or that are not to be cut, as layers."""
    found = list(_highest("", module, limit, apart=apart))
    times = Counter(id(tensor) for _, part in found for tensor in part.parameters())
    layers: list[Layer] = []
    for name, part in found:
        own = (t for t in part.parameters() if times[id(t)] == 1 and id(t) not in staying)
        if mine := tuple[Tensor, ...](own):
            layers.append(Layer(name=name, module=part, tensors=mine))
    taken = {id(tensor) for layer in layers for tensor in layer.tensors}
    others = tuple(tensor for tensor in tensors_of(module) if id(tensor) not in taken)
    return Plan(resident=others, layers=tuple(layers), ahead=ahead)


def _highest(
    name: str, module: nn.Module, limit: int, *, apart: bool
) -> Iterator[tuple[str, nn.Module]]:
    whole = sum(tensor.nbytes for tensor in tensors_of(module))
    own = sum(tensor.nbytes for tensor in tensors_of(module, recurse=False))
    children = list(module.named_children())
    kept = isinstance(module, WHOLE) or not children or (own > OWN_SHARE * whole and not apart)
    if (whole <= limit or kept) and not isinstance(module, CONTAINERS):
        yield name, module
    else:
        for child_name, child in children:
            path = f"{name}.{child_name}" if name else child_name
            yield from _highest(path, child, limit, apart=apart)


def tensors_of(module: nn.Module, *, recurse: bool = True) -> list[Tensor]:
    """Parameters and buffers, each once; tied ones are one object."""
    return [*module.parameters(recurse), *module.buffers(recurse)]


def _large_ones_staying(plan: Plan) -> Iterator[Plan]:
    """With none, one, two, three of the largest layers staying: a table of words is often one."""
    order = sorted(range(len(plan.layers)), key=lambda i: -plan.layers[i].nbytes)
    for count in range(min(4, len(order) + 1)):
        yield _staying(plan, set(order[:count]))


def _filled(plan: Plan, budget: int) -> Plan:
    """Lets layers stay while there is room: the smallest first, of equal ones evenly spread."""
    order = sorted(
        range(len(plan.layers)),
        key=lambda i: (plan.layers[i].nbytes, int(f"{i:032b}"[::-1], 2)),
    )
    room, stay = budget - plan.nbytes, set[int]()
    for index in order:
        room -= plan.layers[index].nbytes
        if room < 0:
            break
        stay.add(index)
    return _staying(plan, stay)


def _staying(plan: Plan, stay: Collection[int]) -> Plan:
    kept = [t for index in sorted(stay) for t in plan.layers[index].tensors]
    left = tuple(layer for index, layer in enumerate(plan.layers) if index not in stay)
    return Plan(resident=(*plan.resident, *kept), layers=left, ahead=plan.ahead)


def _too_small(key: str, finest: Plan, budget: int) -> SetupError:
    largest = max(finest.layers, key=lambda layer: layer.nbytes, default=None)
    found = [f"{sum(t.nbytes for t in finest.resident):,} bytes that have to stay on the device"]
    if largest:
        name = largest.name or type(largest.module).__name__
        found.insert(0, f"its layer {name!r} takes {largest.nbytes:,} bytes at once")
    return SetupError(
        f"the encoder {key!r} within {budget:,} bytes, layer by layer",
        found=found,
        next_step=f"allow at least {finest.nbytes:,} bytes of memory for encoders",
    )
