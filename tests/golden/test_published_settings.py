"""The full sizes are set up as published in what neither parameters nor tiny golden cases can see.

The golden cases run at tiny widths, built from their own sizes. This is about the builders of the
full size: heads, epsilons, activations, places of norms, sampling. Source: `space_facts.json`.
"""

from __future__ import annotations

from functools import cache, reduce
from typing import Any

import pytest
import torch
from torch import nn

from omnibind.plugins import registry
from omnibind.specs import resolve

HTSAT = {
    "tower.config.num_attention_heads": (4, 8, 16, 32),
    "tower.config.spec_size": 256,
    "tower.config.window_size": 8,
    "tower.config.patch_size": 4,
}
BERT = {"tower.config.num_attention_heads": 12, "tower.config.hidden_act": "gelu"}
SIGLIP = {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "num_attention_heads": 16}
FACTS: dict[tuple[str, str], dict[str, Any]] = {
    ("clap-general", "audio"): {
        **HTSAT,
        "tower.config.depths": (2, 2, 6, 2),
        "tower.config.enable_fusion": True,
        "tower.config.fusion_type": "aff_2d",
    },
    ("clap-general", "text"): {**BERT, "tower.config.layer_norm_eps": 1e-5},
    ("clap-music", "audio"): {
        **HTSAT,
        "tower.config.depths": (2, 2, 12, 2),
        "tower.config.enable_fusion": False,
    },
    ("wavcaps-pt", "audio"): {
        **HTSAT,
        "tower.config.depths": (2, 2, 6, 2),
        "tower.config.enable_fusion": False,
    },
    ("wavcaps-pt", "text"): {
        **BERT,
        "tower.config.layer_norm_eps": 1e-12,
        "tower.pooler": None,
    },
    ("eva02-e14-plus", "image"): {
        "trunk.blocks.0.__class__.__name__": "EvaBlockPostNorm",
        "trunk.blocks.0.attn.num_heads": 16,
        "trunk.blocks.0.norm1.eps": 1e-6,
        "trunk.blocks.0.mlp.act.__class__": nn.GELU,
        "trunk.head.bias.shape": (1024,),
        "side": 224,
    },
    ("eva02-e14-plus", "text"): {
        "tower.transformer.resblocks.0.attn.num_heads": 20,
        "tower.ln_final.eps": 1e-5,
    },
    ("eva-clip-18b", "image"): {
        "trunk.blocks.0.__class__.__name__": "EvaBlockPostNorm",
        "trunk.blocks.0.attn.num_heads": 40,
        "trunk.blocks.0.norm1.__class__.__name__": "RmsNorm",
        "trunk.blocks.0.norm1.eps": 1e-6,
        "trunk.blocks.0.attn.qkv.bias": None,
        "trunk.head.bias": None,
    },
    ("eva-clip-18b", "text"): {"tower.transformer.resblocks.0.attn.num_heads": 20},
    ("dfn5b-h14", "image"): {
        "visual.transformer.resblocks.0.mlp.gelu.__class__.__name__": "QuickGELU",
        "visual.transformer.resblocks.0.attn.num_heads": 16,
        "visual.image_size": (224, 224),
    },
    ("dfn5b-h14", "text"): {
        "model.transformer.resblocks.0.mlp.gelu.__class__.__name__": "QuickGELU",
        "model.transformer.resblocks.0.attn.num_heads": 16,
    },
    ("siglip-l", "image"): {
        **{f"vision.config.{name}": value for name, value in SIGLIP.items()},
        "vision.config.patch_size": 16,
        "side": 384,
    },
    ("siglip-l", "text"): {f"text.config.{name}": value for name, value in SIGLIP.items()},
    ("siglip-so400m", "image"): {
        **{f"vision.config.{name}": value for name, value in SIGLIP.items()},
        "vision.config.patch_size": 14,
        "side": 384,
    },
    ("uni3d-lvis", "points"): {
        "points": 10_000,
        "group": 512,
        "size": 64,
        "blocks.0.__class__.__name__": "EvaBlock",
        "blocks.0.attn.num_heads": 16,
        "norm.__class__.__name__": "LayerNorm",
    },
    ("imagebind", "image"): {
        "tower.transformer.resblocks.0.attn.num_heads": 16,
        "tower.ln_pre.eps": 1e-6,
        "tower.ln_post.eps": 1e-6,
    },
    ("imagebind", "text"): {
        "tower.transformer.resblocks.0.attn.num_heads": 16,
        "tower.ln_final.eps": 1e-6,
    },
    ("imagebind", "audio"): {
        "trunk.stem.proj.stride": (10, 10),
        "trunk.stem.norm.eps": 1e-5,
        "trunk.blocks.0.attn.num_heads": 12,
        "trunk.blocks.0.attn.bias_k.shape": (1, 1, 768),
        "trunk.blocks.0.norm_1.eps": 1e-6,
        "long": "windows",
        "step": 3,
    },
}


@cache
def full(space: str, modality: str) -> nn.Module:
    with torch.device("meta"):
        return resolve(registry().space(space).encoders[modality].build)("full", {})


def at(thing: Any, name: str) -> Any:
    return thing[int(name)] if name.isdigit() else getattr(thing, name)


@pytest.mark.parametrize(
    ("space", "modality", "path", "value"),
    [(*who, path, value) for who, facts in FACTS.items() for path, value in facts.items()],
)
def test_the_full_size_is_set_up_as_published(
    space: str, modality: str, path: str, value: Any
) -> None:
    if space not in registry().spaces:
        pytest.skip(f"no plugin with the space {space} is installed")
    found = reduce(at, path.split("."), full(space, modality))
    assert (tuple(found) if isinstance(found, list) else found) == value
