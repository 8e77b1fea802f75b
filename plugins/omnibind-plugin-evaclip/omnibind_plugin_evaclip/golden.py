"""Golden cases of the EVA-CLIP spaces (see `omnibind.testing.golden`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from omnibind.engine.finishing import batch_of
from omnibind.media import image as pictures
from omnibind_plugin_evaclip.networks import MEAN, STD, EvaImage, EvaText, causal, trunk, words

__all__ = ["run"]

SPACES = {"eva02-e14p": "eva02-e14-plus"}
END = 49407


def run(
    case: dict[str, Any], folder: Path, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Both towers of a case on its pictures and texts."""
    space = SPACES.get(case["space"], case["space"])
    towers = _towers(space, case["config"]["neutral"])
    for tower in towers:
        tower.eval().load_official(state)
    outputs: dict[str, Tensor] = {}
    for check in case["checks"]:
        if check["id"].startswith("image"):
            outputs |= _pictures(towers[0], check["given"], folder, inputs)
        else:
            outputs |= _texts(towers[1], check["given"]["texts"], cut="42" in check["id"])
    if space != "eva-clip-18b":
        outputs = {name.removesuffix("_77"): tensor for name, tensor in outputs.items()}
    return outputs


def _towers(space: str, sizes: dict[str, Any]) -> tuple[EvaImage, EvaText]:
    vision, language, dim = sizes["vision"], sizes["text"], sizes["embed_dim"]
    eva = trunk(
        space,
        dim,
        img_size=vision["image_size"],
        patch_size=vision["patch"],
        embed_dim=vision["width"],
        depth=vision["layers"],
        num_heads=vision["heads"],
        mlp_ratio=(vision["mlp_hidden"] + 0.5) / vision["width"],
    )
    same = {name: language[name] for name in ("width", "heads", "layers", "mlp_ratio")}
    tower = causal(dim, context_length=language["context"], vocab_size=language["vocab"], **same)
    return EvaImage(eva, vision["image_size"]), EvaText(tower, words(space))


def _pictures(
    tower: EvaImage, given: dict[str, Any], folder: Path, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    if "files" in given:
        files = [folder / file for file in given["files"]]
        batch = batch_of(tower, [tower.preprocess(pictures.load(file)) for file in files])
        seen = (batch["pixels"].permute(0, 2, 3, 1) * std + mean) * 255
        named = zip(files, seen.round().to(torch.uint8), strict=True)
        squares = {f"pixels_u8.{file.stem}": square for file, square in named}
        return {**squares, "photo_embedding": tower(batch)}
    pixels = ((inputs[given["tensor"]] / 255 - mean) / std).permute(0, 3, 1, 2)
    states: list[Tensor] = []
    for block in tower.trunk.blocks:
        block.register_forward_hook(lambda _, __, out: states.append(out[:, 0]))
    raw = tower.trunk(pixels)
    return {
        "image_raw": raw,
        "image_embedding": normalize(raw, dim=-1),
        "cls_after_block": torch.stack(states, dim=1),
    }


def _texts(tower: EvaText, texts: list[str], *, cut: bool) -> dict[str, Tensor]:
    """Outputs as the plugin reads texts (`cut`: at 42 tokens), or as eva_clip does (at 77)."""
    ids = tower.ids if cut else words("eva02-e14-plus")
    rows = torch.stack([ids(text) for text in texts])
    raw = tower.tower(rows)
    suffix = "42" if cut else "77"
    found = {f"text_raw_{suffix}": raw, f"text_embedding_{suffix}": normalize(raw, dim=-1)}
    if not cut:
        return {**found, "token_ids_77": rows}
    length = (rows == END).int().argmax(dim=1) + 1
    after = torch.arange(rows.shape[1]) >= length[:, None]
    padded = rows.masked_fill(after, END)[:, : int(length.max())]
    return {**found, "token_ids_42": padded, "length_42": length}
