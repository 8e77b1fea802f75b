"""Makes every file that the plugin ships: class names as rows, adapters, projectors.

    python fetch.py && python train.py --out ../omnibind_plugin_starter/weights

Encoders are frozen. What is learned is linear: ridge regressions from pooled features to the rows
of captions (pictures: emoji and Scratch; sounds: Scratch, Wesnoth, freedesktop, LMMS; shapes: the
training names of Sweet Home 3D) and one from WordLlama to MiniLM. Penalties were picked by
cross-validation on those, never on Tux Paint. Features are kept in DATA/features: a second run
takes seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from omnibind_plugin_starter import cards
from open_clip import IMAGENET_CLASSNAMES
from safetensors.torch import save_file
from testbed import DEFAULT_DATA, sweethome, training_pictures, training_sounds
from torch import Tensor, nn

from omnibind.engine.encoders import Sample, run_batch
from omnibind.media import audio, image, points
from omnibind.projectors import Identity, Linear, write_projector
from omnibind.specs import EncoderSpec
from omnibind.weights import build_encoder

CPU = torch.device("cpu")
BATCH = 16
PENALTY = {"pictures": 3.0, "shapes": 3.0, "sounds": 3.0, "words": 0.002}
SHARE = {"pictures": 0.4, "shapes": 2.0}
"""How much an adapter weighs beside the unit row of ConSE."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help=f"default: {DEFAULT_DATA}")
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    asked = parser.parse_args()
    (asked.out / "projectors").mkdir(parents=True, exist_ok=True)
    (asked.data / "features").mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        train(asked.data, asked.out, Path(folder))


def train(data: Path, out: Path, scratch: Path) -> None:
    """Fits and writes everything."""
    pictures, sounds = training_pictures(data), training_sounds(data)
    shapes = sweethome(data, split="train")
    names = list(IMAGENET_CLASSNAMES)
    drawn, heard = [p.caption for p in pictures], [s.caption for s in sounds]
    formed = [s.name for s in shapes]
    minilm, wordllama = (text_rows(spec, scratch) for spec in (cards.MINILM, cards.WORDLLAMA))

    def features(spec: EncoderSpec, load: Callable[[Path], Any], files: Sequence[Path]) -> Tensor:
        kept = data / "features" / f"{spec.key}.pt"
        if not kept.exists():
            torch.save(pooled(spec, load, files, scratch), kept)
        return torch.load(kept, weights_only=True)

    for spec, rows in ((cards.LITE2_PICTURES, minilm), (cards.LITE0_PICTURES, wordllama)):
        seen = features(spec, image.load, [p.picture for p in pictures])
        fitted = ridge(seen, rows(drawn), PENALTY["pictures"])
        write_concepts(out / file_of(spec), rows(names), fitted, SHARE["pictures"])
    seen = features(cards.VIEWS_SHAPES, points.load, [s.model for s in shapes])
    fitted = ridge(seen, minilm(formed), PENALTY["shapes"])
    write_concepts(out / file_of(cards.VIEWS_SHAPES), minilm(names), fitted, SHARE["shapes"])
    for spec in (cards.AISFX_SOUNDS, cards.BIRDNET_SOUNDS):
        seen = features(spec, audio.load, [s.sound for s in sounds])
        weight, bias = ridge(seen, minilm(heard), PENALTY["sounds"])
        write(out / file_of(spec), {"adapter.weight": weight, "adapter.bias": bias})
    write_projectors(out / "projectors", [*names, *drawn, *heard, *formed], minilm, wordllama)


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
    path: Path, anchors: Tensor, fitted: tuple[Tensor, Tensor], share: float
) -> None:
    """The rows of the class names, their mean, and the adapter."""
    weight, bias = fitted
    state = {"concepts.anchors": anchors, "concepts.centre": anchors.mean(0)}
    adapter = {"concepts.adapter.weight": share * weight, "concepts.adapter.bias": share * bias}
    write(path, state | adapter)


def write_projectors(
    folder: Path,
    words: Sequence[str],
    minilm: Callable[[Sequence[str]], Tensor],
    wordllama: Callable[[Sequence[str]], Tensor],
) -> None:
    """WordLlama to MiniLM by ridge, without a bias: both keep their own mean. Others: nothing."""
    distinct = sorted(set(words))
    x, y = wordllama(distinct).double(), minilm(distinct).double()
    x, y = x - x.mean(0), y - y.mean(0)
    penalty = PENALTY["words"] * len(x) * torch.eye(x.shape[1], dtype=x.dtype) * x.var()
    linear = Linear("lite0-wordllama", 256, 384)
    linear.weight.data = torch.linalg.solve(x.T @ x + penalty, x.T @ y).T.float().contiguous()
    for projector in (linear, *(Identity(name, 384) for name in IDENTICAL)):
        (space,) = projector.spaces
        write_projector(projector, folder / f"{space}.safetensors", backbone=cards.BACKBONE)


IDENTICAL = ("aisfx-minilm", "birdnet-minilm", "views-minilm")


def write(path: Path, state: dict[str, Tensor]) -> None:
    """Matrices in half precision, vectors in full."""
    halved = {key: value.half() if value.ndim == 2 else value for key, value in state.items()}
    save_file({key: value.contiguous() for key, value in halved.items()}, path)


def text_rows(spec: EncoderSpec, scratch: Path) -> Callable[[Sequence[str]], Tensor]:
    """A function from texts to rows."""
    encoder = cast("Any", build_encoder(spec))
    return lambda texts: _batched(spec, encoder, list(texts), encoder.preprocess)


def pooled(
    spec: EncoderSpec, load: Callable[[Path], Any], files: Sequence[Path], scratch: Path
) -> Tensor:
    """What the frozen network of an encoder gives before the adapter: `[item, width]`."""
    encoder = cast("Any", build_encoder(_without_adapter(spec, scratch)))
    taps: list[Tensor] = []
    adapter: nn.Linear = (
        encoder.adapter if hasattr(encoder, "adapter") else encoder.concepts.adapter
    )
    adapter.register_forward_pre_hook(lambda _, given: taps.append(given[0].detach().clone()))
    _batched(spec, encoder, list(files), lambda file: encoder.preprocess(load(file)))
    return torch.cat(taps)


def _batched(
    spec: EncoderSpec, encoder: Any, items: list[Any], prepare: Callable[[Any], Sample]
) -> Tensor:
    rows: list[Tensor] = []
    for start in range(0, len(items), BATCH):
        samples = [prepare(item) for item in items[start : start + BATCH]]
        rows.append(run_batch(spec, encoder, samples, CPU))
        print(f"{spec.key}: {start + len(samples)} of {len(items)}", end="\r", flush=True)
    print()
    return torch.cat(rows)


def _without_adapter(spec: EncoderSpec, scratch: Path) -> EncoderSpec:
    """The card with an adapter of zeros and the identity for class names."""
    module = build_encoder(spec, weights="random")
    own = {k: v for k, v in module.state_dict().items() if k.startswith(("adapter.", "concepts."))}
    blank = {key: torch.ones_like(value) for key, value in own.items()}
    save_file(blank, scratch / file_of(spec))
    published = tuple(w for w in spec.weights if not w.startswith(cards.OWN))
    return replace(spec, weights=(*published, f"file:{scratch / file_of(spec)}"))


def file_of(spec: EncoderSpec) -> str:
    """The name of the file that this plugin ships for an encoder."""
    (own,) = (w for w in spec.weights if w.startswith(cards.OWN))
    return own.rpartition("/")[2]


if __name__ == "__main__":
    main()
