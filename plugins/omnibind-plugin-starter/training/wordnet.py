"""The nouns of WordNet as a pool of texts: words that no picture or sound is labelled with."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

__all__ = ["nouns"]

DATABASE = "wordnet-base/usr/share/wordnet/data.noun"
THINGS = frozenset({4, 5, 6, 8, 10, 11, 13, 17, 18, 20})
"""Acts, animals, artifacts, body, talk, events, food, natural objects, people, plants."""
SEEN_OR_HEARD = frozenset({5, 6, 8, 11, 13, 17})
KEPT = 24_000


def nouns(data: Path) -> list[str]:
    """24,000 names and definitions of things, the same ones every time."""
    with (data / DATABASE).open(encoding="utf-8") as file:
        texts = dict.fromkeys(text for line in file if line[0] != " " for text in _texts(line))
    chosen = random.Random(0).sample(list(texts), KEPT)
    return sorted(chosen, key=len)


def _texts(line: str) -> Iterator[str]:
    facts, _, gloss = line.partition(" | ")
    fields = facts.split()
    category, count = int(fields[1]), int(fields[3], 16)
    names = [name.replace("_", " ") for name in fields[4 : 4 + 2 * count : 2]]
    if category in THINGS:
        yield names[0]
    if category in SEEN_OR_HEARD:
        yield from names[1:2]
        yield gloss.partition(";")[0].strip()
