"""How a table lies on disk: Parquet, safetensors or npz, all written whole or not at all.

.parquet      one row an item; the facts in the schema's metadata under `omnibind`
.npz          arrays `rows`, `ids`, `sources`, `modalities`, `states`, `weights`, `facts`; no pickle
.safetensors  tensors `rows`, `ids`, `items`: the UTF-8 bytes of one JSON line an item
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from omnibind.errors import SetupError

__all__ = [
    "ENDINGS",
    "Batch",
    "Format",
    "atomically",
    "batch_of",
    "format_of",
    "rows_of",
    "schema_of",
]

Batch = Any
"""A `pyarrow.RecordBatch`; pyarrow has no types that a checker could read."""
Schema = Any
FACTS = "omnibind"
GROUP_ROWS = 8192
WORDS = ("source", "modality", "state", "weights.key_value.key")
PARQUET: dict[str, Any] = {  # numbers neither repeat nor shrink
    "use_dictionary": ["modality", "weights.key_value.key"],
    "compression": dict.fromkeys(WORDS, "snappy"),
}


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way to write and read a table.

    Attributes:
        write: `write(file, schema, batches)`.
        facts: `facts(path) -> str`, the JSON that was in the schema's metadata.
        batches: `batches(path) -> Iterator[RecordBatch]`.
    """

    write: Callable[[IO[bytes], Schema, Iterable[Batch]], None]
    facts: Callable[[Path], str]
    batches: Callable[[Path], Iterator[Batch]]


def schema_of(joint_dim: int, facts: str) -> Schema:
    """The columns of a table; `facts` is JSON."""
    return pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("modality", pa.string(), nullable=False),
            pa.field("state", pa.string(), nullable=False),
            pa.field("row", pa.list_(pa.float32(), joint_dim), nullable=False),
            pa.field("weights", pa.map_(pa.string(), pa.float32()), nullable=False),
        ],
        metadata={FACTS: facts},
    )


def batch_of(
    facts: str,
    *,
    ids: Sequence[int],
    sources: Sequence[str],
    modalities: Sequence[str],
    states: Sequence[str],
    rows: NDArray[np.float32],
    weights: Sequence[Mapping[str, float]],
) -> Batch:
    """Columns as one batch; rows `[item, joint]` are not copied."""
    schema = schema_of(rows.shape[1], facts)
    flat = pa.array(np.ascontiguousarray(rows, np.float32).reshape(-1))
    columns = [
        pa.array(ids, pa.int64()),
        *(pa.array(words, pa.string()) for words in (sources, modalities, states)),
        pa.FixedSizeListArray.from_arrays(flat, type=schema.field("row").type),
        pa.array([list(one.items()) for one in weights], schema.field("weights").type),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def rows_of(batch: Batch) -> NDArray[np.float32]:
    """The rows of a batch, `[item, joint]`, without a copy where Arrow permits it."""
    column: Any = batch.column("row")
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)


def format_of(path: Path) -> Format:
    """The format of a file's ending.

    Raises:
        SetupError: another ending.
    """
    if path.suffix not in ENDINGS:
        raise SetupError(
            f"a table called {path.name!r}",
            found=f"the ending {path.suffix!r}",
            next_step=f"one of {', '.join(ENDINGS)}",
        )
    return ENDINGS[path.suffix]


def atomically(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Writes a file that is there whole or not at all, after a kill or a power cut too."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write_parquet(file: IO[bytes], schema: Schema, batches: Iterable[Batch]) -> None:
    with pq.ParquetWriter(file, schema, **PARQUET) as writer:
        held: list[Batch] = []
        for batch in batches:
            held.append(batch)
            if sum(len(one) for one in held) >= GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(held, schema))
                held = []
        writer.write_table(pa.Table.from_batches(held, schema))


def _parquet_facts(path: Path) -> str:
    metadata: dict[bytes, bytes] = pq.read_schema(path).metadata or {}
    return metadata[FACTS.encode()].decode()


def _parquet_batches(path: Path) -> Iterator[Batch]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):  # `iter_batches` holds several groups at once
            yield from file.read_row_group(group).to_batches()


def _write_npz(file: IO[bytes], schema: Schema, batches: Iterable[Batch]) -> None:
    rows, ids, items = _in_memory(schema, batches)
    columns = ("source", "modality", "state")
    words = {f"{name}s": np.array([item[name] for item in items], dtype=str) for name in columns}
    words["modalities"] = words.pop("modalitys")
    weights = np.array([json.dumps(item["weights"]) for item in items], dtype=str)
    facts = np.array(_facts_in(schema))
    np.savez(file, rows=rows, ids=ids, weights=weights, facts=facts, **words)  # pyright: ignore[reportArgumentType]


def _npz_facts(path: Path) -> str:
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        return str(file["facts"])


def _npz_batches(path: Path) -> Iterator[Batch]:
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        yield batch_of(
            str(file["facts"]),
            ids=file["ids"].tolist(),
            sources=file["sources"].tolist(),
            modalities=file["modalities"].tolist(),
            states=file["states"].tolist(),
            rows=file["rows"],
            weights=[json.loads(weights) for weights in file["weights"].tolist()],
        )


def _write_safetensors(file: IO[bytes], schema: Schema, batches: Iterable[Batch]) -> None:
    rows, ids, items = _in_memory(schema, batches)
    lines = "".join(json.dumps(item) + "\n" for item in items).encode()
    tensors = {"rows": rows, "ids": ids, "items": np.frombuffer(lines, dtype=np.uint8)}
    file.write(save(tensors, metadata={FACTS: _facts_in(schema)}))


def _safetensors_facts(path: Path) -> str:
    with safe_open(path, framework="numpy") as file:
        return (file.metadata() or {})[FACTS]


def _safetensors_batches(path: Path) -> Iterator[Batch]:
    with safe_open(path, framework="numpy") as file:
        lines = file.get_tensor("items").tobytes().decode().splitlines()
        items: list[dict[str, Any]] = [json.loads(line) for line in lines]
        yield batch_of(
            (file.metadata() or {})[FACTS],
            ids=file.get_tensor("ids").tolist(),
            sources=[item["source"] for item in items],
            modalities=[item["modality"] for item in items],
            states=[item["state"] for item in items],
            rows=file.get_tensor("rows"),
            weights=[item["weights"] for item in items],
        )


def _in_memory(
    schema: Schema, batches: Iterable[Batch]
) -> tuple[NDArray[np.float32], NDArray[np.int64], list[dict[str, Any]]]:
    held = list(batches)
    width = int(schema.field("row").type.list_size)  # pyright: ignore[reportAttributeAccessIssue]
    rows = np.concatenate([rows_of(one) for one in held]) if held else np.empty((0, width))
    names = ("source", "modality", "state", "weights")
    items = [item for one in held for item in one.select(names).to_pylist()]
    for item in items:
        item["weights"] = dict(item["weights"])
    ids = [i for one in held for i in one.column("id").to_pylist()]
    return rows.astype(np.float32), np.array(ids, dtype=np.int64), items


def _facts_in(schema: Schema) -> str:
    return (schema.metadata or {})[FACTS.encode()].decode()


ENDINGS: dict[str, Format] = {
    ".parquet": Format(write=_write_parquet, facts=_parquet_facts, batches=_parquet_batches),
    ".safetensors": Format(
        write=_write_safetensors, facts=_safetensors_facts, batches=_safetensors_batches
    ),
    ".npz": Format(write=_write_npz, facts=_npz_facts, batches=_npz_batches),
}
