"""Measures a recipe on the test bed: Tux Paint stamps, and 24 concepts in every modality.

    python evaluate.py                          # the recipe `starter`; a table on the screen
    python evaluate.py --out results            # and results.json, results.md
    python evaluate.py --without birdnet-minilm

Nothing here was trained on: adapters see emoji, Scratch, Wesnoth, freedesktop, LMMS and other
names of Sweet Home 3D. Intervals are 95 %, over resampled queries.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from testbed import DEFAULT_DATA, Concept, concepts, tuxpaint
from torch import Tensor

import omnibind
from omnibind.evaluation import Retrieval, any_to_any, relevance, retrieval

Rows = dict[str, Tensor]
Labels = dict[str, list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help=f"default: {DEFAULT_DATA}")
    parser.add_argument("--recipe", default="starter")
    parser.add_argument("--without", nargs="*", default=[], metavar="space")
    parser.add_argument("--equal-weights", action="store_true", help="instead of the recipe's")
    parser.add_argument("--all-concepts", action="store_true", help="all 48, not the 24 core ones")
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md")
    asked = parser.parse_args()
    model = omnibind.load(asked.recipe, without=asked.without)
    if asked.equal_weights:
        model.binder.priors = {}
    results = {
        **dict(tux_paint(model, asked.data)),
        **dict(between_concepts(model, concepts(asked.data, core=not asked.all_concepts))),
    }
    table = as_table(results)
    print(table)
    if asked.out:
        asked.out.with_suffix(".md").write_text(table + "\n", encoding="utf-8")
        facts = {"recipe": asked.recipe, "without": asked.without, "equal": asked.equal_weights}
        facts |= {"results": {name: found.to_json() for name, found in results.items()}}
        asked.out.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")


def tux_paint(model: omnibind.Embedder, data: Path) -> Iterator[tuple[str, Retrieval]]:
    """Pictures and sounds against all captions, each caption once.

    A third of the pictures are letters, digits, coins and other signs; `thing` leaves them out.
    """
    stamps = tuxpaint(data)
    drawn = [stamp for stamp in stamps if stamp.picture]
    things = [stamp for stamp in drawn if not stamp.topic.startswith("symbols")]
    heard = [stamp for stamp in stamps if stamp.sound]
    both_ways = (
        ("picture", drawn, [stamp.picture for stamp in drawn]),
        ("thing", things, [stamp.picture for stamp in things]),
        ("sound", heard, [stamp.sound for stamp in heard]),
    )
    for kind, shown, files in both_ways:
        truth = [stamp.caption for stamp in shown]
        captions = sorted(set(truth))
        texts, rows = embedded(model, captions), embedded(model, files)
        named = f"Tux Paint {kind}"
        yield f"{named} -> text", retrieval(rows, texts, relevance(truth, captions))
        yield f"text -> {named}", retrieval(texts, rows, relevance(captions, truth))


def between_concepts(
    model: omnibind.Embedder, listed: Sequence[Concept]
) -> Iterator[tuple[str, Retrieval]]:
    """Every kind of item asks every other; what is found is right if it shows the same concept."""
    kinds = {
        "text": [(one.name, text) for one in listed for text in one.texts],
        "picture": [(one.name, file) for one in listed for file in one.pictures],
        "icon": [(one.name, file) for one in listed for file in one.icons],
        "points": [(one.name, file) for one in listed for file in one.shapes],
        "audio": [(one.name, file) for one in listed for file in one.sounds],
    }
    rows = {kind: embedded(model, [item for _, item in items]) for kind, items in kinds.items()}
    labels = {kind: [name for name, _ in items] for kind, items in kinds.items()}
    for source, target, found in any_to_any(rows, labels):
        yield f"{len(listed)} concepts {source} -> {target}", found


def embedded(model: omnibind.Embedder, items: Iterable[Any]) -> Tensor:
    """Joint rows; every item of the test bed has to have one."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # meshes that lack a texture
        return model.embed(items, strict=True).rows


def as_table(results: Mapping[str, Retrieval]) -> str:
    """Markdown: recalls with intervals, and what guessing gives at 1."""
    lines = ["| | queries | candidates | R@1 | R@5 | R@10 | chance R@1 |", "|---" * 7 + "|"]
    for name, found in results.items():
        cells = [f"{r.value:.3f} ({r.low:.2f}-{r.high:.2f})" for r in found.recall.values()]
        chance = f"{found.recall[1].chance:.4f}"
        row = [name, str(found.queries), str(found.candidates), *cells, chance]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
