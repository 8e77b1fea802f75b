"""Makes every file that the plugin ships: centres, class names as rows, adapters, projectors.

    python fetch.py && python train.py --out ../omnibind_plugin_starter/weights

Encoders are frozen. What is learned is small: ridge regressions from pooled features to the rows
of captions (pictures: emoji, Scratch and drawn letters; sounds: Scratch, Wesnoth, freedesktop,
LMMS; shapes: the training names of Sweet Home 3D) and one head from WordLlama to MiniLM, on the
nouns of WordNet. Penalties were picked by cross-validation on those, never on Tux Paint. Features
are kept in DATA/features: they take nearly all of the first run; a second one takes a minute.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from clipart import clipart
from drawn_emoji import drawn_emoji
from features import Features, file_of
from glyphs import drawn_glyphs
from omnibind_plugin_starter import cards
from open_clip import IMAGENET_CLASSNAMES
from projector import fit_head
from safetensors.torch import save_file
from testbed import DEFAULT_DATA, bird_names, sweethome, training_pictures, training_sounds
from torch import Tensor
from torch.nn.functional import normalize
from wordnet import nouns

from omnibind.media import audio, image, points
from omnibind.projectors import Identity, write_projector
from omnibind.specs import EncoderSpec

PENALTY = {"pictures": 1.0, "shapes": 1.0, "sounds": 3.0}
TRUST = {"pictures": 2.0, "shapes": 4.0, "sounds": 2.0}
"""In the classes, by what is classified: renders of shapes make the network less sure."""
IN_MINILM = ("aisfx-minilm", "birdnet-minilm", "views-minilm")
"""Spaces whose rows are in the backbone's coordinates already."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help=f"default: {DEFAULT_DATA}")
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    asked = parser.parse_args()
    (asked.out / "projectors").mkdir(parents=True, exist_ok=True)
    features = Features(folder=asked.data / "features")
    words = Words(features, nouns(asked.data))
    write_texts(words, asked.out)
    write_pictures(features, words, asked.data, asked.out)
    write_shapes(features, words, asked.data, asked.out)
    write_sounds(features, words, asked.data, asked.out)


class Words:
    """Texts as centred unit rows, by MiniLM or by WordLlama."""

    def __init__(self, features: Features, pool: Sequence[str]) -> None:
        self.features, self.pool = features, pool
        self.centre = {s.key: features.texts(s, pool).mean(0) for s in TEXTS}

    def rows(self, spec: EncoderSpec, texts: Sequence[str]) -> Tensor:
        """`[item, dim]`."""
        return normalize(self.features.texts(spec, texts) - self.centre[spec.key], dim=-1)


TEXTS = (cards.MINILM, cards.WORDLLAMA)


def write_texts(words: Words, out: Path) -> None:
    """The centre of each text encoder, and the projectors, which are learned from texts alone."""
    for spec in TEXTS:
        save_file({"centre": words.centre[spec.key]}, out / file_of(spec))
    x, y = (words.rows(spec, words.pool) for spec in (cards.WORDLLAMA, cards.MINILM))
    for projector in (fit_head("lite0-wordllama", x, y), *(Identity(n, 384) for n in IN_MINILM)):
        (space,) = projector.spaces
        write_projector(
            projector, out / "projectors" / f"{space}.safetensors", backbone=cards.BACKBONE
        )


def write_pictures(features: Features, words: Words, data: Path, out: Path) -> None:
    """EfficientNet's classes by name, and adapters from captioned pictures and drawn letters."""
    groups = shown(data)
    captions = [caption for group in groups for caption, _ in group]
    for spec, text in (
        (cards.LITE2_PICTURES, cards.MINILM),
        (cards.LITE0_PICTURES, cards.WORDLLAMA),
    ):
        seen = torch.cat([seen_in(features, spec, group)[0] for group in groups])
        fitted = ridge(seen, words.rows(text, captions), PENALTY["pictures"])
        write_concepts(
            out / file_of(spec), words.rows(text, IMAGENET_CLASSNAMES), fitted, TRUST["pictures"]
        )


Group = list[tuple[str, Any]]
"""A caption and a picture each: a file, or a picture in memory."""


def shown(data: Path) -> list[Group]:
    """Captioned pictures, a list a source."""
    kept: Group = [(one.caption, one.picture) for one in training_pictures(data)]
    return [kept, list(drawn_glyphs(data)), list(drawn_emoji(data)), list(clipart(data))]


def seen_in(features: Features, spec: EncoderSpec, group: Group) -> list[Tensor]:
    """Features and posterior of the pictures of one source."""
    return features.of(
        spec,
        [caption for caption, _ in group],
        lambda k: image.load(group[k][1]),
        lambda encoder, batch: encoder.seen(batch),
    )


def write_shapes(features: Features, words: Words, data: Path, out: Path) -> None:
    """The same for six views of a shape."""
    shapes, spec = sweethome(data, split="train"), cards.VIEWS_SHAPES
    names = [one.name for one in shapes]
    seen, _ = features.of(
        spec, names, lambda k: points.load(shapes[k].model), lambda e, batch: e.seen(batch)
    )
    fitted = ridge(seen, words.rows(cards.MINILM, names), PENALTY["shapes"])
    write_concepts(
        out / file_of(spec), words.rows(cards.MINILM, IMAGENET_CLASSNAMES), fitted, TRUST["shapes"]
    )


def write_sounds(features: Features, words: Words, data: Path, out: Path) -> None:
    """An adapter for aiSFX; for BirdNET also its species by name."""
    sounds = training_sounds(data)
    captions = [one.caption for one in sounds]
    rows = words.rows(cards.MINILM, captions)

    def heard(spec: EncoderSpec) -> Tensor:
        def sound(k: int) -> object:
            return audio.load(sounds[k].sound)

        return features.of(spec, captions, sound, lambda e, batch: e.heard(batch))[0]

    weight, bias = ridge(heard(cards.AISFX_SOUNDS), rows, PENALTY["sounds"])
    write(out / file_of(cards.AISFX_SOUNDS), {"adapter.weight": weight, "adapter.bias": bias})
    fitted = ridge(heard(cards.BIRDNET_SOUNDS), rows, PENALTY["sounds"])
    species = words.rows(cards.MINILM, bird_names(data))
    write_concepts(out / file_of(cards.BIRDNET_SOUNDS), species, fitted, TRUST["sounds"])


def ridge(features: Tensor, rows: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Weight `[dim, width]` and bias `[dim]` from features to rows less their mean.

    Features are standardised; the penalty is a share of their number.
    """
    x, y = features.double(), rows.double()
    mean, spread = x.mean(0), x.std(0)
    spread = spread + 1e-3 * spread.mean()
    x = (x - mean) / spread
    gram = x @ x.T + penalty * x.shape[1] * torch.eye(len(x), dtype=x.dtype)
    weight = (x.T @ torch.linalg.solve(gram, y - y.mean(0))).T / spread
    return weight.float(), (-weight @ mean).float()


def write_concepts(
    path: Path, anchors: Tensor, fitted: tuple[Tensor, Tensor], trust: float
) -> None:
    """The rows of the class names, their mean, the trust in them, and the adapter."""
    weight, bias = fitted
    state = {"concepts.anchors": anchors, "concepts.centre": anchors.mean(0)}
    state |= {"concepts.trust": torch.tensor([trust])}
    write(path, state | {"concepts.adapter.weight": weight, "concepts.adapter.bias": bias})


def write(path: Path, state: dict[str, Tensor]) -> None:
    """Matrices in half precision, vectors in full."""
    halved = {key: value.half() if value.ndim == 2 else value for key, value in state.items()}
    save_file({key: value.contiguous() for key, value in halved.items()}, path)


if __name__ == "__main__":
    main()
