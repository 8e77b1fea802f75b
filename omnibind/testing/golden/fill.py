"""What a filled checkpoint holds: values that depend on key, shape, seed and kind alone.

A stream of 64-bit words comes from PCG64, seeded by the key's CRC-32 plus the case's seed. A
uniform value is a word's upper 53 bits; a normal one is the centred sum of its four 16-bit
quarters, scaled to variance 1. So each step is exact on every machine.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["fill"]

QUARTERS_MEAN = 4 * (2**16 - 1) // 2
QUARTERS_STD = math.sqrt((2.0**32 - 1) / 3)
EVEN_QUARTERS = np.uint64(0x0000_FFFF_0000_FFFF)
LOWER_HALF = np.uint64(0xFFFF_FFFF)
BLOCK = 1 << 15
DRAWN = ("weight", "affine", "affineu")
EMBEDDINGS = ("embedding", "pos_embed", "cls_token", "cls_pos", "probe", "bias_k", "bias_v")
NO_EMBEDDINGS = ("patch_embed", "pos_embed.0", "pos_embed.2")
BY_LAST_NAME = {
    "num_batches_tracked": "const:1",
    "running_mean": "affine:0:0.1",
    "running_var": "affineu:1:0.5",
}


def fill(key: str, shape: Sequence[int], dtype: str, seed: int, how: str = "auto") -> Tensor:
    """One tensor of a filled checkpoint.

    Args:
        key: as in keys.json, without any prefix.
        shape: of the tensor.
        dtype: a numpy name.
        seed: of the checkpoint.
        how: `weight[:gain]` (normal, by fan-in), `affine:a:b` (a + b normal), `affineu:a:b`
            (a + b uniform), `const:a`, `arange`, `causal` (-inf above the diagonal), or `auto`
            (by name and number of axes).
    """
    kind, *rest = (_by_name(key, shape) if how == "auto" else how).split(":")
    given = [float(x) for x in rest]
    if kind not in DRAWN:
        return torch.from_numpy(_fixed(kind, given, key, shape).astype(dtype))
    values = np.empty(math.prod(shape), dtype)
    for place, words in _words(key, len(values), seed):
        values[place] = _drawn(kind, given, words, shape)
    return torch.from_numpy(values.reshape(shape))


def _drawn(
    kind: str, given: list[float], words: NDArray[np.uint64], shape: Sequence[int]
) -> NDArray[np.float64]:
    if kind == "weight":
        gain = given[0] if given else 1.0
        return _normal(words) * (gain / math.sqrt(max(1, math.prod(shape[1:]))))
    return given[0] + given[1] * (_normal(words) if kind == "affine" else _uniform(words))


def _fixed(kind: str, given: list[float], key: str, shape: Sequence[int]) -> NDArray[np.float64]:
    if kind == "const":
        return np.full(shape, given[0])
    if kind == "arange":
        return np.broadcast_to(np.arange(shape[-1], dtype=np.float64), shape)
    if kind == "causal":
        return np.triu(np.full(shape, -np.inf), 1)
    raise ValueError(f"{key}: no way to fill it by {kind!r}")


def _by_name(key: str, shape: Sequence[int]) -> str:
    last = key.rpartition(".")[2]
    if last in BY_LAST_NAME:
        return BY_LAST_NAME[last]
    if len(shape) < 2:
        return "affine:1:0.1" if last in ("weight", "gamma") else "affine:0:0.1"
    embedding = any(word in key for word in EMBEDDINGS)
    return "affine:0:0.5" if embedding and not any(w in key for w in NO_EMBEDDINGS) else "weight"


def _words(key: str, count: int, seed: int) -> Iterator[tuple[slice, NDArray[np.uint64]]]:
    """The stream in blocks that stay in a core's cache, and where each belongs."""
    stream = np.random.PCG64(zlib.crc32(key.encode()) + seed)
    for start in range(0, count, BLOCK):
        place = slice(start, min(count, start + BLOCK))
        yield place, stream.random_raw(place.stop - start)


def _normal(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    halves = (words & EVEN_QUARTERS) + ((words >> np.uint64(16)) & EVEN_QUARTERS)
    values = ((halves & LOWER_HALF) + (halves >> np.uint64(32))).astype(np.float64)
    values -= QUARTERS_MEAN
    values /= QUARTERS_STD
    return values


def _uniform(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
