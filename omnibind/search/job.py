"""A table in the making: whole parts beside it, so that a kill loses one part at most.

OUT.parts/part-00000.parquet          rows, written atomically
OUT.parts/part-00000.failures.jsonl   items of that part without a row
OUT.failures.jsonl                    those that are still without one when the table is whole
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from omnibind.errors import SetupError
from omnibind.search.binding import refuse_other
from omnibind.search.formats import atomically, batch_of, format_of, schema_of
from omnibind.search.sources import Key, Source, key_of
from omnibind.search.table import Facts, facts_of, parts_folder, table_of

try:
    import fcntl
except ImportError:  # Windows: nobody keeps a second process out
    fcntl = None

__all__ = ["Failed", "Job", "Part", "failures_file"]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """An item without a row: a line of the failures file."""

    source: str
    state: str
    modality: str | None
    stage: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """What some sources became.

    Attributes:
        sources: those that have a row, in the rows' order.
        modalities, weights: one entry a row.
        rows: `[item, joint]`.
        failures: the other sources.
        degraded: spaces and routers that were missing.
    """

    sources: Sequence[Source]
    modalities: Sequence[str]
    rows: NDArray[np.float32]
    weights: Sequence[Mapping[str, float]]
    failures: Sequence[Failed] = ()
    degraded: Sequence[str] = ()


@dataclass(frozen=True)
class _Known:
    id: int
    state: str
    modality: str


@dataclass
class Job:
    """Use it in a `with`: nobody else can add to the table meanwhile.

    Args:
        out: the table, which may be there already: rows are added, changed items replaced.
        facts: how the rows will be made.
        overwrite: forget what is there.
    """

    out: Path
    facts: Facts
    overwrite: bool = False
    failures: dict[Key, Failed] = field(default_factory=dict[Key, Failed], init=False)
    _known: dict[Key, _Known] = field(default_factory=dict[Key, _Known], init=False)
    _next_part: int = field(default=0, init=False)
    _next_id: int = field(default=0, init=False)
    _lock: IO[bytes] | None = field(default=None, init=False)

    def __enter__(self) -> Job:
        """Takes the table for this process and reads what is there."""
        format_of(self.out)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            if self.overwrite:
                for file in self.folder.glob("part-*"):
                    file.unlink()
            self._read()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Lets others in; what is whole stays."""
        if self._lock:
            self._lock.close()
        if self.folder.is_dir() and not self._parts():
            shutil.rmtree(self.folder)

    @property
    def folder(self) -> Path:
        """Where the parts lie."""
        return parts_folder(self.out)

    def has(self, source: Source) -> bool:
        """Whether the item has a row, and has not changed since."""
        known = self._known.get(source.key)
        same_use = known and source.modality in (None, known.modality)
        return bool(known and same_use and known.state == source.state)

    def add(self, part: Part) -> None:
        """Keeps the rows and failures of some sources; they survive a kill from here on."""
        name = f"part-{self._next_part:05d}"
        self._next_part += 1
        lines = "".join(json.dumps(asdict(failed)) + "\n" for failed in part.failures)
        _write_lines(failures_file(self.folder / name), lines)
        facts = replace(self.facts, degraded=tuple(part.degraded))
        batch = batch_of(
            facts.to_json(),
            ids=[self._number(*of) for of in zip(part.sources, part.modalities, strict=True)],
            sources=[source.name for source in part.sources],
            modalities=part.modalities,
            states=[source.state for source in part.sources],
            rows=part.rows,
            weights=part.weights,
        )
        path = self.folder / f"{name}.parquet"
        atomically(path, lambda file: format_of(path).write(file, batch.schema, [batch]))
        self._note_failures(part.failures)

    def finish(self) -> int:
        """Merges what was there and all parts into the table; gives its number of rows."""
        if self._parts():
            table = table_of(self.out, self._files())
            schema = schema_of(self.facts.binding.joint_dim, table.facts.to_json())
            write = format_of(self.out).write
            atomically(self.out, lambda file: write(file, schema, table.batches()))
            shutil.rmtree(self.folder)
        lines = "".join(json.dumps(asdict(failed)) + "\n" for failed in self.failures.values())
        _write_lines(failures_file(self.out), lines)
        return len(self._known)

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def _files(self) -> list[Path]:
        there = [self.out] if self.out.exists() and not self.overwrite else []
        return [*there, *self._parts()]

    def _read(self) -> None:
        for file in self._files():
            refuse_other(
                f"to add rows to {self.out}",
                facts_of(file).binding,
                self.facts.binding,
                next_step="choose another --out, or --overwrite to start again",
            )
            for batch in format_of(file).batches(file):
                for row in batch.select(["id", "source", "modality", "state"]).to_pylist():
                    self._note_row(row["source"], row["state"], row["modality"], row["id"])
            listed = failures_file(file if file == self.out else file.with_suffix(""))
            if listed.is_file():
                lines = listed.read_text(encoding="utf-8").splitlines()
                self._note_failures(Failed(**json.loads(line)) for line in lines)
        for file in self._parts()[-1:]:
            self._next_part = int(file.stem.removeprefix("part-")) + 1

    def _note_row(self, source: str, state: str, modality: str, number: int) -> None:
        key = key_of(source, state)
        self._known[key] = _Known(number, state, modality)
        self._next_id = max(self._next_id, number + 1)
        self.failures.pop(key, None)

    def _note_failures(self, failures: Iterable[Failed]) -> None:
        for failed in failures:
            self.failures[key_of(failed.source, failed.state)] = failed

    def _number(self, source: Source, modality: str) -> int:
        known = self._known.get(source.key)
        number = known.id if known else self._next_id
        self._note_row(source.name, source.state, modality, number)
        return number

    def _take_lock(self) -> None:
        self._lock = (self.folder / "lock").open("wb")
        if fcntl is None:
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise SetupError(
                f"to write {self.out}",
                found="another process that is writing it now",
                next_step="wait for it, or choose another --out",
            ) from error


def failures_file(out: Path) -> Path:
    """Where the items of a table that have no row are listed."""
    return out.with_name(out.name + ".failures.jsonl")


def _write_lines(path: Path, lines: str) -> None:
    if lines:
        atomically(path, lambda file: file.writelines([lines.encode()]))
    else:
        path.unlink(missing_ok=True)
