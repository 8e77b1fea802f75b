"""A table of joint rows: how they were made, and how they are read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors import SafetensorError

import omnibind
from omnibind.errors import SetupError
from omnibind.search.binding import Binding
from omnibind.search.formats import Batch, format_of, rows_of
from omnibind.search.sources import Key, key_of

__all__ = ["Facts", "Table", "facts_of", "parts_folder", "read_table", "table_of"]

FORMAT = 1
UNREADABLE = (
    OSError, EOFError, ValueError, KeyError, TypeError,
    pa.ArrowException, BadZipFile, SafetensorError,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a table says of itself, kept as JSON beside its rows.

    Attributes:
        binding: what its rows depend on.
        degraded: spaces and routers that were missing for at least one row.
        loaded_as: what `omnibind.load` was asked for, so that a search can ask for the same.
        version: of omnibind.
    """

    binding: Binding
    degraded: tuple[str, ...] = ()
    loaded_as: Mapping[str, Any] = field(default_factory=dict[str, Any])
    version: str = omnibind.__version__

    def to_json(self) -> str:
        """The form that is stored."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """Reads it back; ValueError for another format."""
        content = json.loads(text)
        if content.pop("format") != FORMAT:
            raise ValueError("a table of another format: update omnibind")
        binding = content.pop("binding")
        binding["spaces"] = tuple(binding["spaces"])
        return cls(binding=Binding(**binding), degraded=tuple(content.pop("degraded")), **content)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Joint rows on disk; nothing is held in memory until it is asked for.

    Attributes:
        path: what was opened.
        files: the files that hold it, in order.
        facts: how its rows were made.
        replaced: file -> positions of rows that a later file has anew.
    """

    path: Path
    files: tuple[Path, ...]
    facts: Facts
    replaced: Mapping[Path, frozenset[int]] = field(default_factory=dict[Path, frozenset[int]])

    def batches(self) -> Iterator[Batch]:
        """Its rows, some thousand at a time: id, source, modality, state, row, weights."""
        for file in self.files:
            start = 0
            for batch in format_of(file).batches(file):
                gone = self.replaced.get(file, frozenset())
                kept = [i for i in range(len(batch)) if start + i not in gone] if gone else None
                start += len(batch)
                yield batch if kept is None else batch.take(pa.array(kept, pa.int64()))

    @property
    def rows(self) -> NDArray[np.float32]:
        """All rows, `[item, joint]`, unit norm."""
        empty = np.empty((0, self.facts.binding.joint_dim), np.float32)
        return np.concatenate([empty, *map(rows_of, self.batches())])

    def column(self, name: str) -> list[Any]:
        """All values of `id`, `source`, `modality`, `state` or `weights`, in the rows' order."""
        return [value for batch in self.batches() for value in batch.column(name).to_pylist()]

    def __len__(self) -> int:
        """How many rows there are."""
        return sum(len(batch) for batch in self.batches())


def read_table(path: str | Path) -> Table:
    """Opens a table: a file, or a folder of Parquet parts.

    Raises:
        SetupError: nothing there, no table, damaged, or parts that were made differently.
    """
    path = Path(path)
    if path.is_dir():
        files = tuple(sorted(path.glob("*.parquet")))
    else:
        files = (path,) if path.is_file() else ()
    if not files:
        raise _nothing(path)
    return table_of(path, files)


def table_of(path: Path, files: Sequence[Path]) -> Table:
    """A table that lies in several files; a later row replaces an earlier one of the same item."""
    every = [facts_of(file) for file in files]
    for facts, file in zip(every, files, strict=True):
        if facts.binding != every[0].binding:
            raise SetupError(
                f"the parts of {path} as one table",
                found=f"{files[0].name} and {file.name} were made by different bindings",
                next_step="keep rows of different recipes or weights in different folders",
            )
    degraded = dict.fromkeys(name for facts in every for name in facts.degraded)
    facts = dataclasses.replace(every[-1], degraded=tuple(degraded))
    replaced = _replaced(files) if len(files) > 1 else {}
    return Table(path=path, files=tuple(files), facts=facts, replaced=replaced)


def parts_folder(path: Path) -> Path:
    """Where the parts of a table lie while it is being made."""
    return path.with_name(path.name + ".parts")


def facts_of(file: Path) -> Facts:
    """What one file of a table says of itself; SetupError where it is none."""
    try:
        return Facts.from_json(format_of(file).facts(file))
    except UNREADABLE as error:
        raise SetupError(
            f"the table {file}",
            found=f"no table that `omnibind embed` has written ({type(error).__name__}: {error})",
            next_step="give a file of `omnibind embed`, or make it again",
        ) from error


def _replaced(files: Sequence[Path]) -> dict[Path, frozenset[int]]:
    last: dict[Key, tuple[Path, int]] = {}
    gone: dict[Path, set[int]] = {}
    for file in files:
        position = 0
        for batch in format_of(file).batches(file):
            names, states = batch.column("source").to_pylist(), batch.column("state").to_pylist()
            for key in map(key_of, names, states):
                if key in last:
                    before, at = last[key]
                    gone.setdefault(before, set()).add(at)
                last[key] = file, position
                position += 1
    return {file: frozenset(positions) for file, positions in gone.items()}


def _nothing(path: Path) -> SetupError:
    parts = parts_folder(path)
    if parts.is_dir():
        return SetupError(
            f"the table {path}",
            found=f"only its parts, in {parts}: it was stopped before the end",
            next_step="run the same `omnibind embed` again, or give the folder of the parts",
        )
    return SetupError(
        f"the table {path}",
        found="a folder without .parquet files" if path.is_dir() else "no such file",
        next_step="make one with `omnibind embed ... --out FILE.parquet`",
    )
