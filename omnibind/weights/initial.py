"""Random initial values where and in what numbers they are wanted, without a copy on the host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor, UntypedStorage, nn
from torch.utils._pytree import tree_leaves

from omnibind.errors import OmnibindError
from omnibind.weights.placement import dtypes, owners_of, place
from omnibind.weights.recorded import UnrecordableError, part_of, play, recording, storage_of

__all__ = ["initialised"]

REGISTERED = {"_parameters", "_buffers", "_modules"}


def initialised(
    make: Callable[[], nn.Module],
    device: torch.device,
    dtype: torch.dtype | None,
    products: torch.dtype | None,
    *,
    drawn_on: torch.device | None = None,
) -> nn.Module:
    """Makes a network tensor by tensor: each is drawn in float32, converted, then moved.

    Drawn on a CPU, the values are those that `make` alone would give, rounded; on an accelerator
    they are others, and the same again for the same seed (not run yet: no GPU was at hand).

    Args:
        make: a constructor; random numbers are drawn from the state that torch has.
        device: of all tensors.
        dtype, products: see `omnibind.weights.placement.dtypes`.
        drawn_on: where tensors are drawn; by default on `device`.

    Raises:
        UnrecordableError: see `omnibind.weights.recorded`; then only `make` itself will do.
    """
    with recording() as made:
        try:
            module = make()
        except OmnibindError:
            raise
        except Exception as error:
            # if it is the constructor's own fault, `make` itself will say so
            raise UnrecordableError(str(error)) from error
    _refuse_hidden(module)
    wanted = dtypes(module, dtype, products)
    there: dict[int, list[tuple[Tensor, list[tuple[nn.Module, str]]]]] = defaultdict(list)
    for owners in owners_of(module).values():
        tensor: Tensor = getattr(*owners[0])
        if tensor.is_meta:
            there[storage_of(tensor)].append((tensor, owners))

    def hand_over(storage: int, numbers: UntypedStorage) -> None:
        for tensor, owners in there[storage]:
            after = part_of(numbers, tensor).to(wanted[id(tensor)]).to(device)
            new = nn.Parameter(after, requires_grad=False)
            for layer, name in owners:
                setattr(layer, name, new if isinstance(tensor, nn.Parameter) else after)

    play(made, drawn_on or device, list(there), hand_over)
    place(module, device, dtype, products)  # what a constructor makes from numbers
    return module


def _refuse_hidden(module: nn.Module) -> None:
    """A tensor that is neither parameter nor buffer would stay without memory."""
    for layer in module.modules():
        own = [value for name, value in vars(layer).items() if name not in REGISTERED]
        if any(isinstance(one, Tensor) and one.is_meta for one in tree_leaves(own)):
            raise UnrecordableError(f"a tensor of {type(layer).__name__} that is no buffer")
