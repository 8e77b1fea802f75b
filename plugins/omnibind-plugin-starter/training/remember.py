"""Keeps the rows of training and test items in omnibind's row cache, from features that are there.

    python train.py --out ../omnibind_plugin_starter/weights && python remember.py
    omnibind bind starter --cached ...; omnibind evaluate ...

Networks are slow and frozen, what this plugin learns behind them is quick: whenever `train.py` has
written its files anew, rows are made from what the networks saw the first time. Later commands only
decode. The rows are those that the encoders give, to float32's precision.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from drawings import DRAWINGS
from features import Features
from omnibind_plugin_starter import cards
from testbed import (
    DEFAULT_DATA,
    concepts,
    furniture,
    other_sounds,
    sweethome,
    training_sounds,
    tuxpaint,
)
from topics import TOPICS
from torch import Tensor
from train import Source, seen_in, tested_sources, training_sources
from wordnet import nouns

from omnibind.engine.networks import Networks
from omnibind.engine.rowcache import RowCache
from omnibind.media import audio, image, points, text
from omnibind.specs import EncoderSpec
from omnibind.weights import build_encoder
from omnibind.weights.folders import cache_folder

PICTURES = (cards.LITE2_PICTURES, cards.LITE0_PICTURES)
SHAPES = (cards.VIEWS_SHAPES, cards.VIEWS_SHAPES_LITE0)
SOUNDS = (cards.AISFX_SOUNDS, cards.BIRDNET_SOUNDS)
TEXTS = (cards.MINILM, cards.WORDLLAMA)
NO_POOL = ("noto", "twitter", *DRAWINGS, *TOPICS)
"""Pictures that only the adapters see; see pools.py."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help=f"default: {DEFAULT_DATA}")
    data = parser.parse_args().data
    memory = Memory(data / "features")
    pooled = [one for one in training_sources(data) if one.name not in NO_POOL]
    for source in (*pooled, *tested_sources(data), icons(data)):
        for spec in PICTURES:
            seen = seen_in(memory.features, spec, source)
            rows = _encoder(spec).concepts(*seen)
            memory.keep(spec, [media for _, media in source.shown], rows, image)
    for names, files in shapes(data):
        for spec in SHAPES:
            seen = memory.of(spec, names, files, points.load, "seen")
            memory.keep(spec, files, _encoder(spec).concepts(*seen), points)
    for names, files in sounds(data):
        for spec in SOUNDS:
            heard = memory.of(spec, names, files, audio.load, "heard")
            memory.keep(spec, files, _sound_rows(_encoder(spec), heard), audio)
    for said in (nouns(data), texts(data)):
        for spec in TEXTS:
            seen = memory.features.texts(spec, said)
            memory.keep(spec, said, _encoder(spec).spread(seen), text)


class Memory:
    """The row cache, and what the networks saw."""

    def __init__(self, folder: Path) -> None:
        self.features = Features(folder=folder)
        self._cache = RowCache(cache_folder() / "rows.sqlite")
        self._identity = Networks().identity
        self._file = folder / "digests.json"
        known = self._file.read_text(encoding="utf-8") if self._file.is_file() else "{}"
        self._digests: dict[str, str] = json.loads(known)

    def of(
        self,
        spec: EncoderSpec,
        named: Sequence[str],
        files: Sequence[Path],
        load: Callable[[Path], Any],
        tap: str,
    ) -> list[Tensor]:
        """What a network saw or heard of files."""

        def tapped(encoder: Any, batch: dict[str, Tensor]) -> Any:
            return getattr(encoder, tap)(batch)

        return self.features.of(spec, named, lambda k: load(files[k]), tapped)

    def keep(self, spec: EncoderSpec, items: Sequence[Any], rows: Tensor, reader: Any) -> None:
        """Keeps a row an item under the content of the item."""
        identity = self._identity(spec)
        kept = {
            RowCache.key(identity, self._digest(item, reader)): row
            for item, row in zip(items, rows.detach(), strict=True)
        }
        self._cache.put(kept)
        self._file.write_text(json.dumps(self._digests), encoding="utf-8")
        print(f"{spec.key}: {len(kept)} rows")

    def _digest(self, item: Any, reader: Any) -> bytes:
        if not isinstance(item, Path):
            return reader.digest(reader.load(item))
        if str(item) not in self._digests:
            self._digests[str(item)] = reader.digest(reader.load(item)).hex()
        return bytes.fromhex(self._digests[str(item)])


def icons(data: Path) -> Source:
    """Those of the furniture that is tested on."""
    return Source(name="furniture", shown=[(one.name, one.icon) for one in furniture(data)])


def shapes(data: Path) -> list[tuple[list[str], list[Path]]]:
    """Training shapes, those of the concepts, further ones to test on: names and files."""
    named = [(one.name, one.model) for one in sweethome(data, split="train")]
    things = [(f"con {one.name} {file}", file) for one in concepts(data) for file in one.shapes]
    others = [(f"test {one.model}", one.model) for one in furniture(data)]
    parts = (named, things, others)
    return [([name for name, _ in part], [file for _, file in part]) for part in parts]


def sounds(data: Path) -> list[tuple[list[str], list[Path]]]:
    """Training sounds, those of stamps, of the concepts, further ones: names and files."""
    clips = training_sounds(data)
    stamps = [one for one in tuxpaint(data) if one.sound]
    every = [(one.name, file) for one in concepts(data) for file in one.sounds]
    things = [(f"con {name} {file.name}", file) for name, file in every]
    others = other_sounds(data)
    return [
        ([one.caption for one in clips], [one.sound for one in clips]),
        ([f"tux {one.caption}" for one in stamps], [one.sound for one in stamps if one.sound]),
        ([name for name, _ in things], [file for _, file in things]),
        ([f"test {file}" for _, file in others], [file for _, file in others]),
    ]


def texts(data: Path) -> list[str]:
    """Captions and names."""
    said = [caption for source in training_sources(data) for caption, _ in source.shown]
    said += [one.caption for one in (*training_sounds(data), *tuxpaint(data))]
    said += [one.name for one in sweethome(data)]
    said += [one for concept in concepts(data) for one in concept.texts]
    return list(dict.fromkeys(said))


def _encoder(spec: EncoderSpec) -> Any:
    if spec.key not in ENCODERS:
        ENCODERS[spec.key] = build_encoder(spec).eval()
    return ENCODERS[spec.key]


ENCODERS: dict[str, Any] = {}


def _sound_rows(encoder: Any, heard: Sequence[Tensor]) -> Tensor:
    if hasattr(encoder, "concepts"):
        return encoder.concepts(*heard)
    return encoder.named(heard[0])


if __name__ == "__main__":
    with torch.inference_mode():
        main()
