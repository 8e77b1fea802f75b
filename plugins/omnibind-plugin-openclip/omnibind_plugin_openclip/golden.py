"""Golden cases of open_clip models (see `omnibind.testing.golden`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from omnibind.engine.finishing import batch_of
from omnibind.media.image import load
from omnibind_plugin_openclip.networks import (
    OpenClipImage,
    OpenClipText,
    network,
    pictures,
    tokens,
)

__all__ = ["run"]


def run(
    case: dict[str, Any], folder: Path, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Both towers of a case on its pictures and texts."""
    how = dict(case["config"]["preprocess"])
    how |= {
        "resize_mode": how["resize"].split()[0],
        "interpolation": how["interpolation"].split()[0],
    }
    config = case["config"]["upstream"]
    image, text = network(config).eval(), network(config).eval()
    image = OpenClipImage(image, pictures(image, how))
    text = OpenClipText(text, tokens(config["text_cfg"], {}))
    image.load_official(state)
    text.load_official(state)
    outputs: dict[str, Tensor] = {}
    for check in case["checks"]:
        given = check["given"]
        if "texts" in given:
            outputs |= _texts(text, given["texts"])
        elif "files" in given:
            outputs |= _files(image, [folder / file for file in given["files"]], how)
        else:
            raw = image.visual(_scaled(inputs[given["tensor"]], how))
            outputs |= {"image_raw": raw, "image_embedding": normalize(raw, dim=-1)}
    return outputs


def _files(image: OpenClipImage, files: list[Path], how: Mapping[str, Any]) -> dict[str, Tensor]:
    batch = batch_of(image, [image.preprocess(load(file)) for file in files])
    mean, std = torch.tensor(how["mean"]), torch.tensor(how["std"])
    seen = batch["pixels"].permute(0, 2, 3, 1) * std + mean
    squares = zip(files, (seen * 255).round().to(torch.uint8), strict=True)
    found = {f"pixels_u8.{file.stem}": square for file, square in squares}
    return {**found, "photo_embedding": image(batch)}


def _scaled(pictures: Tensor, how: Mapping[str, Any]) -> Tensor:
    mean, std = torch.tensor(how["mean"]), torch.tensor(how["std"])
    return ((pictures / 255 - mean) / std).permute(0, 3, 1, 2)


def _texts(text: OpenClipText, texts: list[str]) -> dict[str, Tensor]:
    ids = torch.stack([text.preprocess(one)["ids"] for one in texts])
    raw = text.model.encode_text(ids)
    return {"token_ids": ids, "text_raw": raw, "text_embedding": normalize(raw, dim=-1)}
