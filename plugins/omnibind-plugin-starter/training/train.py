"""Makes the spaces' own files that the plugin ships: text centres, a whitening, adapters.

    python fetch.py && python train.py --out ../omnibind_plugin_starter/weights

Encoders are frozen. What is learned is small: linear maps from pooled features to the rows of
captions (pictures: emoji, clip art, game art, Scratch, drawn letters; sounds: games, programs
and instruments; shapes: the training names of Sweet Home 3D). What binds these spaces is learned
without captions, by `omnibind bind`. How numbers were picked: docs/numbers.md. Features are kept in
DATA/features: they take nearly all of the first run; a second one takes a minute.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from adapters import Fitted, contrasted, ridge
from clipart import clipart
from drawings import DRAWINGS, MORE_HANDS
from emoji import noto_emoji, twitter_emoji
from features import Features, file_of
from glyphs import drawn_glyphs
from omnibind_plugin_starter import cards
from omnibind_plugin_starter.concepts import Concepts
from omnibind_plugin_starter.packed import packed
from omnibind_plugin_starter.text import centred, whitened
from open_clip import IMAGENET_CLASSNAMES
from safetensors.torch import save_file
from testbed import (
    DEFAULT_DATA,
    bird_names,
    concepts,
    sweethome,
    training_pictures,
    training_sounds,
    tuxpaint,
)
from topics import TOPICS
from torch import Tensor
from torch.nn.functional import normalize
from whitening import half_whitening
from wordnet import nouns

from omnibind.media import audio, image, points
from omnibind.specs import EncoderSpec

PENALTY = {"pictures": 3.0, "shapes": 1.0, "sounds": 3.0}
TRUST = {"pictures": 2.0, "shapes": 2.0, "sounds": 0.5}
"""In the classes, by what is classified; see docs/numbers.md for how these were chosen."""
WEIGHT = {"glyphs": 10.0}
"""Of a picture in the regression, by source; 1 elsewhere. Letters are alike: they need it."""
LITE2_ALONE = ("twitter",)
"""Pictures that the other network's adapter does not see."""
LITE0_ALONE = MORE_HANDS
"""The same the other way round."""
NEAR_DUPLICATE = 0.8
"""Cosine of what the network sees, centred, from which on a training picture is left out."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help=f"default: {DEFAULT_DATA}")
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    features = Features(folder=asked.data / "features")
    words = Words(features, nouns(asked.data), captions_of(asked.data))
    write_texts(words, asked.out)
    write_pictures(features, words, asked.data, asked.out)
    write_shapes(features, words, asked.data, asked.out)
    write_sounds(features, words, asked.data, asked.out)


class Words:
    """Texts as unit rows: by MiniLM, centred, or by WordLlama, whitened as well.

    Args:
        features: what the text networks give.
        pool: what a centre is the mean of.
        captions: those of each modality that goes by WordLlama.
    """

    def __init__(
        self, features: Features, pool: Sequence[str], captions: Sequence[Sequence[str]]
    ) -> None:
        self.features = features
        self.own = {s.key: {"centre": features.texts(s, pool).mean(0)} for s in TEXTS}
        parts = [self.rows(cards.WORDLLAMA, one) for one in captions]
        self.own[cards.WORDLLAMA.key]["whitening"] = half_whitening(parts)

    def rows(self, spec: EncoderSpec, texts: Sequence[str]) -> Tensor:
        """`[item, dim]`."""
        own, seen = self.own[spec.key], self.features.texts(spec, texts)
        return whitened(seen, **own) if "whitening" in own else centred(seen, **own)


TEXTS = (cards.MINILM, cards.WORDLLAMA)


def captions_of(data: Path) -> list[list[str]]:
    """Of WordLlama's pictures and of shapes, as often as they caption."""
    sources = training_sources(data, without=LITE2_ALONE)
    pictures = [caption for source in sources for caption, _ in source.shown]
    return [pictures, [one.name for one in sweethome(data, split="train")]]


def write_texts(words: Words, out: Path) -> None:
    """What each text encoder has of ours."""
    for spec in TEXTS:
        save_file(words.own[spec.key], out / file_of(spec))


def write_pictures(features: Features, words: Words, data: Path, out: Path) -> None:
    """EfficientNet's classes by name, and adapters from captioned pictures and drawn letters."""
    tested = tested_sources(data)
    for spec, text, sources in (
        (cards.LITE2_PICTURES, cards.MINILM, training_sources(data, without=LITE0_ALONE)),
        (cards.LITE0_PICTURES, cards.WORDLLAMA, training_sources(data, without=LITE2_ALONE)),
    ):
        kept = apart(features, sources, tested)
        parts = [seen_in(features, spec, source) for source in sources]
        seen, belief = (torch.cat([part[k] for part in parts])[kept] for k in (0, 1))
        captions = [caption for source in sources for caption, _ in source.shown]
        weight = [WEIGHT.get(source.name, 1.0) for source in sources for _ in source.shown]
        rows, counts = words.rows(text, captions)[kept], torch.tensor(weight)[kept]
        anchors = words.rows(text, IMAGENET_CLASSNAMES)
        made = concepts_of(anchors, seen.shape[1], TRUST["pictures"])
        fitted = contrasted(
            ridge(seen, rows, PENALTY["pictures"], counts),
            seen,
            made.named(belief),
            rows,
            [caption for caption, keep in zip(captions, kept, strict=True) if keep],
            counts,
        )
        write_concepts(out / file_of(spec), made, fitted, (seen, belief))
        print(f"{spec.key}: {int((~kept).sum())} of {len(kept)} pictures near to a test picture")


def apart(features: Features, sources: list[Source], tested: list[Source]) -> Tensor:
    """Which training pictures are no near-duplicates of a test picture, by EfficientNet-lite2."""
    ours, theirs = (
        torch.cat([seen_in(features, cards.LITE2_PICTURES, source)[0] for source in several])
        for several in (sources, tested)
    )
    centre = ours.mean(0)
    cosine = normalize(ours - centre, dim=-1) @ normalize(theirs - centre, dim=-1).T
    return cosine.amax(1) < NEAR_DUPLICATE


@dataclass(frozen=True, kw_only=True)
class Source:
    """Captioned pictures of one origin.

    Attributes:
        name: what their features are kept under.
        shown: a caption and a picture each: a file, or a picture in memory.
    """

    name: str
    shown: list[tuple[str, Any]]


def training_sources(data: Path, *, without: Sequence[str] = ()) -> list[Source]:
    """Pictures to train on, but for some sources."""
    listed = [(one.caption, one.picture) for one in training_pictures(data)]
    sources = [
        Source(name="listed", shown=listed),
        Source(name="glyphs", shown=list(drawn_glyphs(data))),
        Source(name="noto", shown=list(noto_emoji(data))),
        Source(name="twitter", shown=list(twitter_emoji(data))),
        Source(name="clipart", shown=list(clipart(data))),
        *(
            Source(name=name, shown=list(shown(data)))
            for name, shown in (DRAWINGS | TOPICS).items()
        ),
    ]
    return [source for source in sources if source.name not in without]


def tested_sources(data: Path) -> list[Source]:
    """Pictures to test on: stamps; pictures and icons of the concepts."""
    stamps = [(one.caption, one.picture) for one in tuxpaint(data) if one.picture]
    things = [(one.name, file) for one in concepts(data) for file in (*one.pictures, *one.icons)]
    return [Source(name="stamps", shown=stamps), Source(name="concepts", shown=things)]


def seen_in(features: Features, spec: EncoderSpec, source: Source) -> list[Tensor]:
    """Features and posterior of the pictures of one source."""
    return features.of(
        spec,
        [f"{source.name} {caption}" for caption, _ in source.shown],
        lambda k: image.load(source.shown[k][1]),
        lambda encoder, batch: encoder.seen(batch),
    )


def write_shapes(features: Features, words: Words, data: Path, out: Path) -> None:
    """The same for six views of a shape."""
    shapes = sweethome(data, split="train")
    names = [one.name for one in shapes]
    for spec, text in (
        (cards.VIEWS_SHAPES, cards.MINILM),
        (cards.VIEWS_SHAPES_LITE0, cards.WORDLLAMA),
    ):
        seen, belief = features.of(
            spec, names, lambda k: points.load(shapes[k].model), lambda e, batch: e.seen(batch)
        )
        fitted = ridge(seen, words.rows(text, names), PENALTY["shapes"])
        anchors = words.rows(text, IMAGENET_CLASSNAMES)
        made = concepts_of(anchors, seen.shape[1], TRUST["shapes"])
        write_concepts(out / file_of(spec), made, fitted, (seen, belief))


def write_sounds(features: Features, words: Words, data: Path, out: Path) -> None:
    """An adapter for aiSFX; for BirdNET also its species by name."""
    sounds = training_sounds(data)
    captions = [one.caption for one in sounds]
    rows = words.rows(cards.MINILM, captions)

    def heard(spec: EncoderSpec) -> list[Tensor]:
        def sound(k: int) -> object:
            return audio.load(sounds[k].sound)

        return features.of(spec, captions, sound, lambda e, batch: e.heard(batch))

    (seen,) = heard(cards.AISFX_SOUNDS)
    weight, bias = ridge(seen, rows, PENALTY["sounds"])
    middle = normalize(seen @ weight.T + bias, dim=-1).mean(0)
    state = {"adapter.weight": weight, "adapter.bias": bias, "middle": middle}
    save_file(packed(state), out / file_of(cards.AISFX_SOUNDS))
    seen, belief = heard(cards.BIRDNET_SOUNDS)
    species = words.rows(cards.MINILM, bird_names(data))
    made = concepts_of(species, seen.shape[1], TRUST["sounds"])
    fitted = ridge(seen, rows, PENALTY["sounds"])
    write_concepts(out / file_of(cards.BIRDNET_SOUNDS), made, fitted, (seen, belief))


def concepts_of(anchors: Tensor, width: int, trust: float) -> Concepts:
    """Classes by the rows of their names, without an adapter.

    Args:
        anchors: `[class, dim]`, unit rows.
        width: of the features.
        trust: in the classes.
    """
    classes, dim = anchors.shape
    made = Concepts(classes, width, dim).requires_grad_(False)
    blank = {"adapter.weight": torch.zeros(dim, width), "adapter.bias": torch.zeros(dim)}
    state = {"anchors": anchors, "centre": anchors.mean(0), "trust": torch.tensor([trust])}
    made.load_state_dict({**state, **blank, "middle": torch.zeros(dim)})
    return made


def write_concepts(
    path: Path, made: Concepts, fitted: Fitted, items: tuple[Tensor, Tensor]
) -> None:
    """The rows of the class names, their mean, the trust in them, the adapter, the rows' middle.

    Args:
        path: the file.
        made: the classes.
        fitted: the adapter.
        items: features and posterior of what it was fitted to.
    """
    adapter = dict(zip(("adapter.weight", "adapter.bias"), fitted, strict=True))
    state = {**made.state_dict(), **adapter}
    made.load_state_dict(state)
    state["middle"] = made(*items).mean(0)
    save_file(packed({f"concepts.{key}": value for key, value in state.items()}), path)


if __name__ == "__main__":
    main()
