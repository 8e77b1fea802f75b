"""Runs a golden case of ImageBind: the original's inputs through the encoders of this plugin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import functional as pictures

from omnibind.engine.finishing import batch_of
from omnibind.media import audio, image
from omnibind.media.pixels import middle
from omnibind_plugin_imagebind.audio import ImageBindAudio
from omnibind_plugin_imagebind.image import MEAN, SIDE, STD, ImageBindImage
from omnibind_plugin_imagebind.sensors import ImageBindDepth, ImageBindMovement, ImageBindThermal
from omnibind_plugin_imagebind.text import ImageBindText, tokenizer

__all__ = ["run"]

Facts = Mapping[str, Any]
Tensors = Mapping[str, Tensor]
ENCODERS: Mapping[str, type[nn.Module]] = {
    "vision": ImageBindImage,
    "text": ImageBindText,
    "audio": ImageBindAudio,
    "depth": ImageBindDepth,
    "thermal": ImageBindThermal,
    "imu": ImageBindMovement,
}


def run(case: Facts, folder: Path, state: Tensors, inputs: Tensors) -> dict[str, Tensor]:
    """The outputs of every check, under the names the case gives them.

    Args:
        case: the content of its `case.json`.
        folder: where it lies; files are named relative to it.
        state: the filled checkpoint in its published layout.
        inputs: ready pictures, spectrograms, planes and readings.
    """
    encoders = {name: _built(name, case["config"]["neutral"], state) for name in ENCODERS}
    outputs: dict[str, Tensor] = {}
    with torch.inference_mode():
        for check in case["checks"]:
            given = check["given"]
            ready = inputs[given["tensor"]].float() if "tensor" in given else None
            files = [folder / file for file in given.get("files", [given.get("file", "")])]
            for name in check["outputs"]:
                kind = check["id"].partition("_")[0]
                if kind == "image":
                    outputs[name] = _image(encoders["vision"], name, ready, files)
                elif kind in ("text", "tokens"):
                    outputs[name] = _text(encoders["text"], name, given["texts"])
                elif kind == "audio":
                    half = given.get("clip_start_convention", "").startswith("B")
                    outputs[name] = _audio(encoders["audio"], name, ready, files[0], half)
                else:
                    outputs[name] = encoders[kind](_sample(kind, ready))
    return outputs


def _built(name: str, facts: Facts, state: Tensors) -> nn.Module:
    sizes = {size: facts[name][size] for size in ("width", "layers", "heads")}
    encoder = ENCODERS[name](**sizes, dim=facts["embed_dim"]).eval()
    encoder.load_official(state)
    return encoder


def _image(encoder: nn.Module, name: str, ready: Tensor | None, files: list[Path]) -> Tensor:
    if ready is not None:
        levels = ready.permute(0, 3, 1, 2) / 255
        return encoder({"pixels": pictures.normalize(levels, MEAN, STD)})
    photos = [image.load(file) for file in files]
    if name.startswith("pixels"):
        return torch.from_numpy(np.array(middle(photos[0], SIDE)))
    return encoder(batch_of(encoder, [encoder.preprocess(photo) for photo in photos]))


def _text(encoder: nn.Module, name: str, texts: list[str]) -> Tensor:
    ids = tokenizer()(texts)
    if name == "token_ids":
        return ids
    rows = encoder({"ids": ids})
    return rows * encoder.log_scale.exp() if "scaled" in name else rows


def _audio(encoder: nn.Module, name: str, ready: Tensor | None, file: Path, halves: bool) -> Tensor:
    if ready is None:
        encoder.long, encoder.step = "official", 2 if halves else 3
        batch = batch_of(encoder, [encoder.preprocess(audio.load(file))])
    else:
        batch = encoder.collate([{"windows": clips} for clips in ready])
    if name.startswith("fbank"):
        return batch["windows"][:, 0, :, ::3].contiguous()
    if "scaled" in name:
        return encoder.window_rows(batch).mean(0, keepdim=True) * encoder.trunk.log_scale.exp()
    return encoder(batch)


def _sample(kind: str, ready: Tensor | None) -> dict[str, Tensor]:
    assert ready is not None
    if kind == "imu":
        return {"windows": ready, "count": torch.ones(len(ready), dtype=torch.long)}
    return {"plane": ready}
