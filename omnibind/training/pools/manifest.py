"""A table as a pool: CSV, TSV or Parquet with a column `path` or `text`, and facts beside it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omnibind.errors import PoolError
from omnibind.specs import Modality
from omnibind.training.pools.lines import listed_text
from omnibind.training.pools.listed import Listed, Unlisted, as_json, listed_file

__all__ = ["ENDINGS", "manifest_items"]

ENDINGS = (".csv", ".tsv", ".parquet")
Row = Mapping[str, Any]


def manifest_items(
    file: Path, modality: Modality, *, mixed: bool = False
) -> Iterator[Listed | Unlisted]:
    """Lists a manifest; paths are relative to it, further columns become metadata.

    Args:
        file: CSV, TSV or Parquet.
        modality: what its items are.
        mixed: it names items of other modalities too, as a benchmark does: each row is read by the
            modality that it says, or else by its words and the ending of its path.

    Raises:
        PoolError: it cannot be read, or has neither column.
    """
    chosen = ""
    for number, row in enumerate(_rows(file), start=1):
        if mixed:
            chosen = _own_column(row, modality)
            if not chosen:
                continue
        chosen = chosen or _column(file, modality, row)
        value = row.get(chosen)
        facts = as_json({k: v for k, v in row.items() if k not in (chosen, None)})
        if not isinstance(value, str) or not value.strip():
            yield Unlisted(source=f"{file}, row {number}", reason=f"no {chosen} in it")
        elif chosen == "text":
            yield listed_text(value.strip(), facts)
        else:
            yield listed_file(file.absolute().parent / Path(value).expanduser(), facts)


def _own_column(row: Row, modality: Modality) -> str:
    """The column of a mixed row with an item of this modality; empty where it has none."""
    path, text, said = (str(row.get(name) or "").strip() for name in ("path", "text", "modality"))
    if path and (
        said == modality.name if said else Path(path).suffix.lower() in modality.extensions
    ):
        return "path"
    return "text" if text and modality.name == "text" else ""


def _column(file: Path, modality: Modality, row: Row) -> str:
    wanted = ("text", "path") if modality.name == "text" else ("path",)
    for name in wanted:
        if name in row:
            return name
    raise PoolError(
        f"the {modality.name} items of the manifest {file}",
        found=f"the columns {', '.join(map(str, row)) or 'none'}",
        next_step=f"name a column {' or '.join(wanted)!r}",
    )


def _rows(file: Path) -> Iterator[Row]:
    try:
        if file.suffix.lower() == ".parquet":
            yield from _parquet_rows(file)
        else:
            with file.open(encoding="utf-8-sig", newline="") as lines:
                dialect = "excel-tab" if file.suffix.lower() == ".tsv" else "excel"
                yield from csv.DictReader(lines, dialect=dialect)
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise PoolError(
            f"the manifest {file}",
            found=f"{type(error).__name__}: {error}",
            next_step="write it again, as UTF-8 CSV or as Parquet",
        ) from error


def _parquet_rows(file: Path) -> Iterator[Row]:
    with pq.ParquetFile(file) as table:
        for batch in table.iter_batches(batch_size=4096):
            yield from batch.to_pylist()
