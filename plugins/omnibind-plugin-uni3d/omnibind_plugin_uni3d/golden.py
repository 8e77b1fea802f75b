"""Runs a golden case of Uni3D: the original's inputs through the encoder of this plugin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from omnibind.media import points
from omnibind_plugin_uni3d.clouds import farthest, nearest, normalised
from omnibind_plugin_uni3d.points import Uni3DPoints, network

__all__ = ["run"]

Facts = Mapping[str, Any]
Tensors = Mapping[str, Tensor]


def run(case: Facts, folder: Path, state: Tensors, inputs: Tensors) -> dict[str, Tensor]:
    """The outputs of every check, under the names the case gives them.

    Args:
        case: the content of its `case.json`.
        folder: where it lies; the real cloud is named relative to it.
        state: the filled checkpoint in its published layout.
        inputs: positions and colours of some clouds.
    """
    encoder = _encoder(case["config"]["neutral"]).eval()
    encoder.load_official(state)
    numbers = range(sum(name.startswith("xyz.") for name in inputs))
    clouds = [points.Points(inputs[f"xyz.{k}"], inputs[f"rgb.{k}"]) for k in numbers]
    samples = [encoder.preprocess(cloud) for cloud in clouds]
    batch = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
    with torch.inference_mode():
        return _steps(encoder, batch["xyz"], batch["rgb"]) | _real_clouds(case["checks"], folder)


def _steps(encoder: Uni3DPoints, xyz: Tensor, rgb: Tensor) -> dict[str, Tensor]:
    index = farthest(xyz, encoder.group)
    centres = torch.stack([cloud[chosen] for cloud, chosen in zip(xyz, index, strict=True)])
    tokens = encoder.tokens(xyz, rgb, centres)
    raw = encoder.raw(xyz, rgb)
    return {
        "xyz_normalised": xyz,
        "fps_index": index,
        "knn_index_sorted": nearest(centres, xyz, encoder.size).sort(-1).values,
        "center": centres,
        "group_tokens": tokens,
        "trunk_tokens": encoder.widen(tokens),
        "points_raw": raw,
        "points_embedding": normalize(raw, dim=-1),
    }


def _real_clouds(checks: list[Facts], folder: Path) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}
    for check in checks:
        if "file" in check["given"]:
            xyz = normalised(points.load(folder / check["given"]["file"]).xyz)
            for name, promised in check["outputs"].items():
                outputs[name] = farthest(xyz[None], promised["shape"][0])[0]
    return outputs


def _encoder(facts: Facts) -> Uni3DPoints:
    return Uni3DPoints(
        network(
            "g",
            embed_dim=facts["width"],
            depth=facts["layers"],
            num_heads=facts["heads"],
            mlp_ratio=facts["mlp_hidden"] / facts["width"],
        ),
        points=facts["points"],
        group=facts["groups"],
        size=facts["group_size"],
        channels=facts["group_channels"],
        dim=facts["embed_dim"],
    )
