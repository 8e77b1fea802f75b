"""Golden cases of the SigLIP spaces (see `omnibind.testing.golden`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from omnibind.engine.finishing import batch_of
from omnibind.media.image import load
from omnibind_plugin_siglip.networks import SiglipImage, SiglipText, text_tower, vision_tower
from omnibind_plugin_siglip.sizes import Tower

__all__ = ["run"]


def run(
    case: dict[str, Any], folder: Path, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Both towers of a case on its pictures and token ids."""
    sizes = case["config"]["neutral"]
    vision, text, dim = sizes["vision"], sizes["text"], sizes["embed_dim"]
    network = vision_tower(_tower(vision), vision["patch"], vision["image_size"])
    pictures = SiglipImage(network).eval()
    texts = SiglipText(text_tower(_tower(text), dim, text["vocab"]), lambda _: []).eval()
    pictures.load_official(state)
    texts.load_official(state)
    outputs: dict[str, Tensor] = {}
    for check in case["checks"]:
        given = check["given"]
        if "files" in given:
            outputs |= _files(pictures, [folder / file for file in given["files"]])
        elif check["id"].startswith("image"):
            pixels = (inputs[given["tensor"]] / 255 - 0.5) / 0.5
            raw = pictures.vision(pixels.permute(0, 3, 1, 2)).pooler_output
            outputs |= {"image_raw": raw, "image_embedding": normalize(raw, dim=-1)}
        else:
            raw = texts.text(inputs[given["tensor"]]).pooler_output
            outputs |= {"text_raw": raw, "text_embedding": normalize(raw, dim=-1)}
    return outputs


def _tower(sizes: dict[str, Any]) -> Tower:
    return Tower(sizes["width"], sizes["layers"], sizes["heads"], sizes["mlp_hidden"])


def _files(pictures: SiglipImage, files: list[Path]) -> dict[str, Tensor]:
    batch = batch_of(pictures, [pictures.preprocess(load(file)) for file in files])
    seen = ((batch["pixels"].permute(0, 2, 3, 1) * 0.5 + 0.5) * 255).round().to(torch.uint8)
    named = zip(files, seen, strict=True)
    found = {f"pixels_u8.{file.stem}": square for file, square in named}
    return {**found, "photo_embedding": pictures(batch)}
