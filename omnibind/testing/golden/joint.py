"""The golden cases of omnibind's own networks: a projector, and the three published sizes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from omnibind.official import convert, ensemble

__all__ = ["run_head", "run_joint"]

Facts = dict[str, Any]
State = Mapping[str, Tensor]
LETTERS = {"audio": "A", "image": "V", "points": "P", "text": "T"}
SPACES = {
    "CLAP_G": "clap-general",
    "CLAP_M": "clap-music",
    "WAVCAPS_PT": "wavcaps-pt",
    "WAVCAPS_FT_aud": "wavcaps-audiocaps",
    "WAVCAPS_FT_clo": "wavcaps-clotho",
    "DFN_H14": "dfn5b-h14",
    "EVA_E14p": "eva02-e14-plus",
    "SigLip_384": "siglip-l",
    "SigLip_400M_384": "siglip-so400m",
    "UNI3D_L": "uni3d-lvis",
    "UNI3D_M": "uni3d-modelnet40",
    "UNI3D_S": "uni3d-scanobjectnn",
    "IB": "imagebind",
    "EVA_18B": "eva-clip-18b",
}
"""The original's names of the spaces, and ours."""


def run_head(case: Facts, folder: Path, state: State, inputs: State) -> dict[str, Tensor]:
    """Seven heads: the first alone, their mean, its norm."""
    count = case["config"]["neutral"]["heads"]
    seven = ensemble("x", state, [f"{head}.Head2.mlps." for head in range(count)])
    heads = seven.unit_heads({"x": inputs["expert_embedding"]})["x"]
    mean = heads.mean(dim=1)
    return {"head0": heads[:, 0], "mean7": mean, "norm7": mean.norm(dim=-1)}


def run_joint(case: Facts, folder: Path, state: State, inputs: State) -> dict[str, Tensor]:
    """Joint rows and router weights of each modality, from the published file as converted."""
    binder = convert(state).binder()
    outputs: dict[str, Tensor] = {}
    for modality, letter in LETTERS.items():
        names = case["config"]["neutral"][f"expert_order_{modality}"]
        rows = {SPACES[name]: inputs[f"{letter}.{at}.{name}"] for at, name in enumerate(names)}
        bound = binder(modality, rows)
        outputs |= {f"{modality}_joint": bound.rows, f"{modality}_weights": bound.weights}
    return outputs
