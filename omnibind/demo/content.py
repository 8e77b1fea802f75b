"""Everything the page shows, as plain JSON; `page.js` reads it."""

from __future__ import annotations

from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

import omnibind
from omnibind.demo.embedded import Embedded, Row
from omnibind.demo.folder import MediaFolder
from omnibind.demo.previews import Preview, preview
from omnibind.embedder import Embedder
from omnibind.evaluation import AnyToAny
from omnibind.specs import SpaceSpec

__all__ = ["content", "cosines"]


def content(
    folder: MediaFolder,
    model: Embedder,
    embedded: Embedded,
    table: AnyToAny,
    left_out: tuple[str, ...],
) -> dict[str, Any]:
    """What was embedded, by which spaces, what found what, and what is missing."""
    rows = embedded.rows
    shapes = sum(row.item.modality == "points" for row in rows)

    def look(row: Row) -> Preview:
        return preview(row.item, shapes)

    with ThreadPoolExecutor() as pool:
        previews = list(pool.map(look, rows))
    return {
        "version": omnibind.__version__,
        "recipe": {"name": model.recipe.name, "width": model.recipe.joint_dim},
        "modalities": list(dict.fromkeys(row.item.modality for row in rows)),
        "items": [_item(row, seen) for row, seen in zip(rows, previews, strict=True)],
        "cosines": cosines(torch.stack([row.row for row in rows])),
        "pairs": table.to_json(),
        "spaces": [_space(space) for space in model.spaces.values()],
        "errors": [asdict(error) for error in embedded.errors],
        "degraded": list(embedded.degraded),
        "left_out": list(left_out),
        "credits": folder.credits,
    }


def _item(row: Row, seen: Preview) -> dict[str, Any]:
    return {
        "concept": row.item.concept,
        "modality": row.item.modality,
        "name": row.item.name,
        "weights": {slot: round(weight, 4) for slot, weight in row.weights.items()},
        **seen,
    }


def _space(space: SpaceSpec) -> dict[str, Any]:
    return {
        "name": space.name,
        "modalities": list(space.encoders),
        "licence": space.licence,
        "commercial": space.commercial_use,
        "training": space.training_data,
    }


def cosines(rows: Float[Tensor, "item joint"]) -> str:
    """The cosine of each item with each, as base64 of 16-bit integers, 32767 for 1."""
    table = (rows @ rows.T).clamp(-1, 1).double().numpy()
    return b64encode(np.rint(table * 32767).astype("<i2").tobytes()).decode()
