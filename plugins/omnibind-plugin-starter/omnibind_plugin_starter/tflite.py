"""The numbers of a TensorFlow Lite file, without TensorFlow: its layers in running order.

Only what a re-statement in torch needs is read, and nothing of the file is executed. A FlatBuffer
is a tree of tables whose fields are found through offsets; the field numbers below are those of
TensorFlow's `schema.fbs`, version 3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnibind.errors import WeightsError

__all__ = ["Layer", "layers"]

DTYPES = {0: np.dtype("<f4"), 2: np.dtype("<i4"), 4: np.dtype("<i8")}
CODES, SUBGRAPHS, BUFFERS = 1, 2, 4  # of a model
TENSORS, OPERATORS = 0, 3  # of a subgraph
CODE, INPUTS = 0, 1  # of an operator
SHAPE, DTYPE, BUFFER = 0, 1, 2  # of a tensor
OLD_NUMBER, NUMBER = 0, 3  # of an operator code
DATA = 0  # of a buffer


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One operator: TensorFlow Lite's number for its kind, and its constant inputs in order."""

    kind: int
    constants: tuple[np.ndarray, ...]


def layers(data: bytes) -> list[Layer]:
    """The operators of a file's first graph.

    Raises:
        WeightsError: no TensorFlow Lite file, or a truncated one.
    """
    try:
        if data[4:8] != b"TFL3":
            raise ValueError(f"it starts with {data[:8]!r}")
        return list(_layers(Table(data, _read("I", data, 0))))
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise WeightsError(
            "the layers of a TensorFlow Lite file",
            found=f"{len(data):,} bytes that are none: {error}",
            next_step="the file is damaged: delete it and fetch it again",
        ) from error


@dataclass(frozen=True)
class Table:
    """A FlatBuffer table: fields by number, absent ones as None, 0 or an empty list."""

    data: bytes
    start: int

    def place(self, field: int) -> int | None:
        """Where a field's value lies."""
        index = self.start - _read("i", self.data, self.start)
        if 4 + 2 * field >= _read("H", self.data, index):
            return None
        offset = _read("H", self.data, index + 4 + 2 * field)
        return self.start + offset if offset else None

    def scalar(self, field: int, kind: str) -> int:
        """A number stored in the table itself."""
        place = self.place(field)
        return 0 if place is None else _read(kind, self.data, place)

    def numbers(self, field: int, dtype: str) -> np.ndarray:
        """A vector of numbers."""
        place = self.place(field)
        if place is None:
            return np.zeros(0, dtype)
        begin = place + _read("I", self.data, place)
        return np.frombuffer(self.data, dtype, _read("I", self.data, begin), begin + 4)

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        place = self.place(field)
        begin = 0 if place is None else place + _read("I", self.data, place) + 4
        offsets = self.numbers(field, "<u4")
        return [Table(self.data, begin + 4 * n + int(o)) for n, o in enumerate(offsets)]


def _layers(model: Table) -> Iterator[Layer]:
    graph = model.tables(SUBGRAPHS)[0]
    tensors, buffers = graph.tables(TENSORS), model.tables(BUFFERS)
    kinds = [max(c.scalar(OLD_NUMBER, "b"), c.scalar(NUMBER, "i")) for c in model.tables(CODES)]
    for operator in graph.tables(OPERATORS):
        inputs = [tensors[i] for i in operator.numbers(INPUTS, "<i4") if i >= 0]
        values = [_constant(tensor, buffers) for tensor in inputs]
        yield Layer(
            kind=kinds[operator.scalar(CODE, "I")],
            constants=tuple(value for value in values if value is not None),
        )


def _constant(tensor: Table, buffers: list[Table]) -> np.ndarray | None:
    data = buffers[tensor.scalar(BUFFER, "I")].numbers(DATA, "u1")
    if not data.size:
        return None
    return data.view(DTYPES[tensor.scalar(DTYPE, "b")]).reshape(tensor.numbers(SHAPE, "<i4"))


def _read(kind: str, data: bytes, place: int) -> Any:
    return struct.unpack_from("<" + kind, data, place)[0]
