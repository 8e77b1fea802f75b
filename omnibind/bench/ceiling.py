"""What a device can do at most: a large matrix product for each kind of number, large copies."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from omnibind.bench.hardware import cores
from omnibind.bench.timing import Spread
from omnibind.engine.precision import Numbers
from omnibind.products import linear

__all__ = ["Ceiling", "measure"]

SIDES = {"cpu": 1024, "cuda": 8192}
COPIED = {"cpu": 2**28, "cuda": 2**30}
"""Bytes of one copy: many times what any cache holds."""
SECONDS = 0.2
"""That one run of a product lasts at least."""
MULTIPLIED: tuple[Numbers, ...] = ("float32", "bfloat16", "float8")
"""Each of these stands for layers in those before it too."""
FLOAT8_FROM = (8, 9)
"""Compute capability from which a GPU multiplies float8."""


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """Rates that nothing on this device exceeds.

    Attributes:
        device: that was measured.
        threads: of the CPU that took part.
        side: of the square matrices.
        products: kind of number -> floating-point operations a second (2 x multiply-add).
        copies: from where to where -> bytes copied a second; each byte counts once.
        left_out: kind of number -> why it was not measured.
    """

    device: str
    threads: int
    side: int
    products: Mapping[str, Spread]
    copies: Mapping[str, Spread]
    left_out: Mapping[str, str]

    def product(self, dtype: Numbers) -> float:
        """The best run of what an engine that computes in these numbers multiplies in.

        Beside bfloat16 some layers are float32, beside float8 some are either; on a CPU the
        narrower numbers may be slower, or not there. Other work on the machine makes a run slower
        than the device is; nothing makes it faster.
        """
        kinds = MULTIPLIED[: MULTIPLIED.index(dtype) + 1]
        return max(self.products[kind].most for kind in kinds if kind in self.products)


def measure(
    device: str | torch.device = "cpu", *, runs: int = 5, side: int = 0, copied: int = 0
) -> Ceiling:
    """Measures one device; a CPU with all the cores that this process may use.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, ...
        runs: of each figure; one more goes before.
        side: of the matrices; by default chosen by the device.
        copied: bytes of a copy; by default chosen by the device.
    """
    where = torch.device(device)
    side, copied = side or SIDES[_kind(where)], copied or COPIED[_kind(where)]
    with _all_cores() as threads:
        kinds, left_out = _kinds(where)
        products = {
            name: _rate(product(side, where), 2.0 * side**3, where, runs)
            for name, product in kinds.items()
        }
        return Ceiling(
            device=str(where),
            threads=threads,
            side=side,
            products=products,
            copies=_copies(where, copied, runs),
            left_out=left_out,
        )


Product = Callable[[int, torch.device], Callable[[], object]]


def _kind(device: torch.device) -> str:
    return "cuda" if device.type == "cuda" else "cpu"


def _kinds(device: torch.device) -> tuple[dict[str, Product], dict[str, str]]:
    kinds: dict[str, Product] = {
        "float32": _plain(torch.float32),
        "bfloat16": _plain(torch.bfloat16),
    }
    if device.type != "cuda":
        kinds["float32"] = _linear
        reason = "the CPU has no fast product of it"
        return kinds, {"float16": reason, "float8": reason}
    kinds |= {"tf32": _tf32, "float16": _plain(torch.float16)}
    capability = torch.cuda.get_device_capability(device)
    if capability >= FLOAT8_FROM:
        return kinds | {"float8": _float8}, {}
    return kinds, {"float8": f"compute capability {capability}, {FLOAT8_FROM} is needed"}


def _plain(dtype: torch.dtype) -> Product:
    def make(side: int, device: torch.device) -> Callable[[], object]:
        a, b = _matrix(side, device).to(dtype), _matrix(side, device).to(dtype)
        out = torch.empty(side, side, device=device, dtype=dtype)
        return lambda: torch.mm(a, b, out=out)

    return make


def _linear(side: int, device: torch.device) -> Callable[[], object]:
    """Float32 as the engine multiplies it on a CPU."""
    a, b = _matrix(side, device), _matrix(side, device)
    return lambda: linear(a, b)


def _tf32(side: int, device: torch.device) -> Callable[[], object]:
    product = _plain(torch.float32)(side, device)

    def run() -> None:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            product()
        finally:
            torch.set_float32_matmul_precision(before)

    return run


def _float8(side: int, device: torch.device) -> Callable[[], object]:
    a = _matrix(side, device).to(torch.float8_e4m3fn)
    b = _matrix(side, device).to(torch.float8_e4m3fn).t()
    one = torch.ones((), device=device)
    scaled = cast("Any", torch)._scaled_mm
    return lambda: scaled(a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)


def _matrix(side: int, device: torch.device) -> Tensor:
    return torch.randn(side, side, generator=torch.Generator().manual_seed(0)).to(device)


def _copies(device: torch.device, copied: int, runs: int) -> dict[str, Spread]:
    def rate(source: Tensor, target: Tensor) -> Spread:
        return _rate(lambda: target.copy_(source, non_blocking=True), float(copied), device, runs)

    host = torch.ones(copied, dtype=torch.uint8)
    found = {"host to host": rate(host, torch.empty_like(host))}
    if device.type == "cuda":
        there, pinned = torch.empty_like(host, device=device), host.pin_memory()
        found |= {
            "host to device": rate(host, there),
            "pinned host to device": rate(pinned, there),
            "device to device": rate(there, torch.empty_like(there)),
        }
    return found


def _rate(run: Callable[[], object], amount: float, device: torch.device, runs: int) -> Spread:
    """Amount a second over runs that each repeat for a fifth of a second or more."""
    once = _timed(run, 1, device)  # the first is slow: memory is touched, kernels are chosen
    times = max(1, round(SECONDS / max(min(once, _timed(run, 1, device)), 1e-6)))
    return Spread.of(times * amount / _timed(run, times, device) for _ in range(runs))


def _timed(run: Callable[[], object], times: int, device: torch.device) -> float:
    _wait(device)
    began = time.perf_counter()
    for _ in range(times):
        run()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _all_cores() -> Generator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(cores())
    try:
        yield cores()
    finally:
        torch.set_num_threads(before)
