"""Copies a bound checkpoint into the plugin: matrices in half precision, a model card beside them.

    python ship.py bound/checkpoint --figures results.md --out ../omnibind_plugin_starter/bound

Reading gives full precision back. What differs from run to run, such as seconds, is left out: the
same checkpoint gives the same bytes.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omnibind_plugin_starter.cards import SPACES

from omnibind.checkpoint import BoundCheckpoint, read_checkpoint, write_checkpoint

__all__ = ["main"]

VOLATILE = frozenset({"seconds", "resumed"})
CARD = Path(__file__).with_name("model_card.md")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--figures", type=Path, required=True, help="Markdown of evaluate.py")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    shutil.rmtree(asked.out, ignore_errors=True)
    found = halved(read_checkpoint(asked.checkpoint))
    asked.out.mkdir(parents=True)
    shutil.copyfile(asked.checkpoint / "seen.safetensors", asked.out / "seen.safetensors")
    write_checkpoint(found, asked.out, {space.name: space for space in SPACES})
    (asked.out / "timings.json").unlink(missing_ok=True)
    card = written(found, asked.figures.read_text(encoding="utf-8").strip())
    (asked.out / "README.md").write_text(card, encoding="utf-8")


def halved(found: BoundCheckpoint) -> BoundCheckpoint:
    """Matrices in half precision; vectors, such as BatchNorm's, stay in full."""
    with torch.no_grad():
        for module in (*found.projectors.values(), *found.routers.values()):
            for parameter in module.parameters():
                if parameter.ndim > 1:
                    parameter.data = parameter.data.half()
    return replace(found, facts=steady(found.facts))


def steady(facts: Any) -> Any:
    """Facts without those that differ from run to run, and exclusions as counts."""
    if not isinstance(facts, Mapping):
        return facts
    kept: dict[str, Any] = {k: steady(v) for k, v in facts.items() if k not in VOLATILE}
    return {k: len(v) if k in {"by_content", "by_distance"} else v for k, v in kept.items()}


def written(found: BoundCheckpoint, figures: str) -> str:
    """The model card."""
    allowed = {True: "yes", False: "no", None: "unclear"}
    spaces = [
        f"| `{s.name}` | {s.training_data} | {s.licence} | {allowed[s.commercial_use]} |"
        for s in SPACES
    ]
    excluded = ", ".join(
        f"{one['by_content'] + one['by_distance']} {modality} items"
        for modality, one in found.facts["excluded"].items()
    )
    return CARD.read_text(encoding="utf-8").format(
        spaces="\n".join(spaces), excluded=excluded or "none", figures=figures
    )


if __name__ == "__main__":
    main()
