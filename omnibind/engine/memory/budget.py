"""How many bytes of encoders a device may hold, and whether the host has memory to spare."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import torch
from torch import nn

from omnibind.errors import SetupError
from omnibind.specs import EncoderSpec, Size
from omnibind.weights import lay_out
from omnibind.weights.placement import dtypes

__all__ = [
    "AUTO_SHARE",
    "HOST_RESERVE",
    "budget_of",
    "bytes_of",
    "host_has_room",
    "module_bytes",
    "parse_bytes",
]

AUTO_SHARE = 0.75
"""`auto` takes this share of an accelerator's free memory; the rest is for activations. Ours."""
HOST_RESERVE = 0.2
"""Host copies leave this share of the host's memory free. Ours."""
AMOUNT = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)
UNITS = {
    **{"": 1, "b": 1},
    **{f"{prefix}b": 1000**power for power, prefix in enumerate("kmgt", start=1)},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", start=1)},
}
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def parse_bytes(text: str | int) -> int:
    """Bytes of an amount such as `24GiB` (1024), `512MB` (1000), `1.5 GB` or `1000`.

    Raises:
        SetupError: no amount, an unknown or ambiguous unit (`24G`), or less than a byte.
    """
    match = AMOUNT.fullmatch(str(text).strip())
    unit = UNITS.get(match["unit"].lower()) if match else None
    amount = int(Decimal(match["number"]) * unit) if match and unit else 0
    if isinstance(text, bool) or amount < 1:
        raise SetupError(
            f"memory for encoders: {text!r}",
            found="no amount of at least one byte in B, KB, MB, GB, TB, KiB, MiB, GiB or TiB",
            next_step="write for example '24GiB' or '512MB', or 'auto'",
        )
    return amount


def budget_of(memory: str | int | None, device: torch.device) -> int | None:
    """The byte budget of the encoders of one device.

    Args:
        memory: an amount (see `parse_bytes`). None and `auto` take `AUTO_SHARE` of what is free
            now on an accelerator; a CPU has no limit then.
        device: an accelerator without a count of its memory (MPS) has no limit either. The
            counts of accelerators have not been run.

    Raises:
        SetupError: no amount, or more than the device has.
    """
    automatic = memory is None or (isinstance(memory, str) and memory.strip().lower() == "auto")
    known = None if device.type == "cpu" else _memory_of(device)
    if automatic:
        return int(known[0] * AUTO_SHARE) if known else None
    asked = parse_bytes(memory if memory is not None else "")
    if known and asked > known[1]:
        raise SetupError(
            f"memory for encoders: {memory!r}, {asked:,} bytes",
            found=f"{known[1]:,} bytes in all on {device}, {known[0]:,} of them free",
            next_step=f"ask for less, or for 'auto': {AUTO_SHARE:.0%} of what is free",
        )
    return asked


def bytes_of(spec: EncoderSpec, size: Size = "full", dtype: torch.dtype | None = None) -> int:
    """Bytes of an encoder's parameters and buffers, counted on the meta device, without files.

    Args:
        spec: its card.
        size: `full` or `tiny`.
        dtype: that it is built with (see `omnibind.weights.build_encoder`); None leaves the
            numbers as its builder makes them, which is float32 as a rule.

    Raises:
        PluginError: the card names no callable that makes an `nn.Module`.
    """
    return module_bytes(lay_out(spec, size=size), dtype)


def module_bytes(module: nn.Module, dtype: torch.dtype | None = None) -> int:
    """Bytes of a module's tensors, each counted once, as they are or as `dtype` makes them."""
    wanted = dtypes(module, dtype)
    tensors = (*module.parameters(), *module.buffers())
    return sum(tensor.numel() * wanted[id(tensor)].itemsize for tensor in tensors)


def host_has_room(wanted: int) -> bool:
    """Whether the host keeps `HOST_RESERVE` of its memory free after `wanted` more bytes.

    Where it cannot be learned (no `/proc/meminfo`), it is taken for granted.
    """
    if not MEMINFO.exists():
        return True
    lines = (line.split() for line in MEMINFO.read_text().splitlines())
    facts = {words[0]: int(words[1]) * 1024 for words in lines}
    total, free = facts["MemTotal:"], facts["MemAvailable:"]
    limit, used = _number(CGROUP / "memory.max"), _number(CGROUP / "memory.current")
    if limit is not None and used is not None and limit < total:
        total, free = limit, min(free, limit - used)
    return free - wanted >= HOST_RESERVE * total


def _memory_of(device: torch.device) -> tuple[int, int] | None:
    """Free and total bytes of an accelerator; what torch has set aside unused counts as free."""
    try:
        free, total = torch.accelerator.get_memory_info(device)
        unused = torch.accelerator.memory_reserved(device)
        unused -= torch.accelerator.memory_allocated(device)
    except (RuntimeError, NotImplementedError):
        return None
    return free + unused, total


def _number(path: Path) -> int | None:
    """A number that a file holds; None where there is no file, or it says `max`."""
    text = path.read_text().strip() if path.exists() else ""
    return int(text) if text.isdigit() else None
