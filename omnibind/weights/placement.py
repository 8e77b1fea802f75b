"""Loaded tensors to their device and number type, one at a time: never two copies of a network.

A checkpoint's tensors are pages of its file (`mmap`), which take memory once they are read. Where
they are wanted as they are, on the CPU, they stay that: one copy, shared with other processes.
Where a tensor is converted or moved, its pages are given back before the next one is read.
"""

from __future__ import annotations

import ctypes
import mmap
from bisect import bisect_right
from pathlib import Path

import torch
from torch import Tensor, nn

__all__ = [
    "HALVES",
    "PRODUCTS",
    "Ranges",
    "dtypes",
    "file_pages",
    "give_back",
    "owners_of",
    "place",
]

MAPS = Path("/proc/self/maps")
SMAPS = Path("/proc/self/smaps")
HALVES = (torch.float16, torch.bfloat16)
PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention)
"""Layers that multiply matrices: nearly all bytes and operations of a network are theirs."""
Ranges = list[tuple[int, int]]


def place(
    module: nn.Module,
    device: torch.device,
    dtype: torch.dtype | None,
    products: torch.dtype | None = None,
) -> None:
    """Gives a module its device and number types, in place.

    Args:
        module: parameters may be pages of a file.
        device: of all its tensors.
        dtype, products: see `dtypes`.
    """
    pages, wanted = file_pages(), dtypes(module, dtype, products)
    for identity, owners in owners_of(module).items():
        tensor: Tensor = getattr(*owners[0])
        before = tensor.detach()
        after = before.to(device=device, dtype=wanted[identity])
        if after is not before:
            new = nn.Parameter(after, requires_grad=False)
            for layer, name in owners:
                setattr(layer, name, new if isinstance(tensor, nn.Parameter) else after)
            give_back(before, pages)


def dtypes(
    module: nn.Module, dtype: torch.dtype | None, products: torch.dtype | None = None
) -> dict[int, torch.dtype]:
    """The number type that each tensor is to have, by its identity.

    Args:
        module: in any number types, on any device.
        dtype: of parameters and of buffers that a checkpoint has. Computed buffers follow into
            half precision only, without which they would not fit the parameters. None leaves
            all as they are.
        products: of the parameters of `PRODUCTS` where they are not shared with other layers;
            None is `dtype`.
    """
    stored = {id(tensor) for tensor in module.state_dict(keep_vars=True).values()}
    found: dict[int, torch.dtype] = {}
    for identity, owners in owners_of(module).items():
        tensor: Tensor = getattr(*owners[0])
        found[identity] = tensor.dtype
        if tensor.is_floating_point():
            if products and _multiplies(tensor, owners):
                found[identity] = products
            elif dtype and (identity in stored or dtype in HALVES):
                found[identity] = dtype
    return found


def _multiplies(tensor: Tensor, owners: list[tuple[nn.Module, str]]) -> bool:
    ours = all(isinstance(layer, PRODUCTS) for layer, _ in owners)
    return ours and isinstance(tensor, nn.Parameter)


def owners_of(module: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """Where each tensor hangs, by its identity: shared tensors stay shared."""
    owners: dict[int, list[tuple[nn.Module, str]]] = {}
    for layer in module.modules():
        own = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
        for name, tensor in own:
            owners.setdefault(id(tensor), []).append((layer, name))
    return owners


def file_pages(*, unwritten: bool = False) -> Ranges:
    """Addresses of this process that are pages of files, private to it; sorted. Linux.

    Args:
        unwritten: only files none of whose pages has been written to in memory: those can be
            given back at any time, and are read again as they were.
    """
    source = SMAPS if unwritten else MAPS
    found, private = list[tuple[int, int]](), False
    for line in source.read_text().splitlines() if source.exists() else ():
        words = line.split(maxsplit=5)
        if not words[0].endswith(":"):
            private = words[1].endswith("p") and words[4] != "0"
            start, end = (int(address, 16) for address in words[0].split("-"))
            found += [(start, end)] if private else []
        elif words[0] == "Anonymous:" and words[1] != "0" and found and private:
            found.pop()
    return sorted(found)


def give_back(tensor: Tensor, pages: Ranges) -> bool:
    """Drops the pages that lie wholly inside a tensor; touched again, they would be read again.

    Returns:
        Whether the tensor lies in pages of a file; where it does not, nothing is dropped.
    """
    if not (tensor.is_cpu and tensor.is_contiguous()):
        return False
    start, end = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
    near = bisect_right(pages, (start, end)) - 1
    if near < 0 or end > pages[near][1]:
        return False
    first, last = -(-start // mmap.PAGESIZE), end // mmap.PAGESIZE
    if first < last:
        ctypes.CDLL(None).madvise(
            ctypes.c_void_p(first * mmap.PAGESIZE),
            ctypes.c_size_t((last - first) * mmap.PAGESIZE),
            mmap.MADV_DONTNEED,
        )
    return True
