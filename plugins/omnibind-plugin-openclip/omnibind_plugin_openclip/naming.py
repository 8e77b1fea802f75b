"""A card for any open_clip model, by name: what the library knows is looked up and counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import open_clip
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from omnibind.errors import PluginError, UnknownNameError
from omnibind.specs import EncoderSpec, SpaceSpec
from omnibind_plugin_openclip.networks import network

__all__ = ["describe"]

NETWORKS = "omnibind_plugin_openclip.networks"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
UNSEEN = "files not seen, read at revision {!r}; their checksums are unknown here"
OWNED = {"bert-base-uncased": "google-bert/bert-base-uncased"}
"""Hub names of before owners were part of a name."""


def describe(
    model: str, pretrained: str, *, name: str, revision: str, file: str, note: str, **facts: Any
) -> SpaceSpec:
    """See `omnibind_plugin_openclip.space_from`; `facts` go on the card as they are."""
    config = open_clip.get_model_config(model)
    if config is None:
        raise UnknownNameError(
            "open_clip model", model, open_clip.list_models(), next_step="open_clip.list_models()"
        )
    how = open_clip.get_pretrained_cfg(model, pretrained)
    _check(model, pretrained, config, how)
    name = name or f"{model}-{pretrained}".lower().replace("_", "-")
    hub, _, usual = how["hf_hub"].rpartition("/")
    weights = f"hub:{hub}@{revision}/{file or usual or 'open_clip_pytorch_model.bin'}"
    encoders = {
        modality: EncoderSpec(
            key=f"{name}-{modality}",
            modality=modality,
            dim=config["embed_dim"],
            params=params,
            flops_per_item=flops,
            build=f"{NETWORKS}:{modality} {model} {pretrained}",
            weights=(weights,),
            assets=_tokenizer(config["text_cfg"]) if modality == "text" else {},
            note="; ".join(filter(None, [note, UNSEEN.format(revision)])),
        )
        for modality, (params, flops) in _count(config).items()
    }
    return SpaceSpec(
        name=name, dim=config["embed_dim"], encoders=encoders, revision=revision, **facts
    )


def _tokenizer(config: Mapping[str, Any]) -> dict[str, str]:
    name = config.get("hf_tokenizer_name")
    return {file: f"hub:{OWNED.get(name, name)}@main/{file}" for file in TOKENIZER} if name else {}


def _check(model: str, pretrained: str, config: Mapping[str, Any], how: Mapping[str, Any]) -> None:
    if "hf_model_name" in config["text_cfg"]:
        raise PluginError(
            f"the open_clip model {model!r} as a space",
            found=f"a text tower out of {config['text_cfg']['hf_model_name']!r} on the hub, "
            "which open_clip does not describe",
            next_step="write a space of its own for it (omnibind.specs.SpaceSpec)",
        )
    if not how.get("hf_hub"):
        tags = open_clip.list_pretrained_tags_by_model(model)
        raise UnknownNameError(
            f"hub file of the open_clip model {model!r} under the tag",
            pretrained,
            [tag for tag in tags if open_clip.get_pretrained_cfg(model, tag).get("hf_hub")],
            next_step=f"open_clip.list_pretrained_tags_by_model({model!r})",
        )
    quick = bool(config.get("quick_gelu"))
    if bool(how.get("quick_gelu")) != quick:
        other = model.removesuffix("-quickgelu") if quick else f"{model}-quickgelu"
        raise PluginError(
            f"the weights {pretrained!r} in the open_clip model {model!r}",
            found=f"weights trained with{'out' if quick else ''} quick GELU, and a model "
            f"with{'' if quick else 'out'}",
            next_step=f"take the model {other!r}",
        )


def _count(config: Mapping[str, Any]) -> dict[str, tuple[int, float]]:
    """Parameters and FLOPs an item of each tower, counted where tensors take no memory."""
    with torch.device("meta"):
        model = network(config).eval().requires_grad_(False)
        side, length = model.visual.image_size, config["text_cfg"].get("context_length", 77)
        height, width = side if isinstance(side, tuple | list) else (side, side)
        picture, text = torch.zeros(1, 3, height, width), torch.zeros(1, length, dtype=torch.long)
    flops = {"image": _flops(model.encode_image, picture), "text": _flops(model.encode_text, text)}
    params = {"image": _size(model.visual)}
    params["text"] = _size(model) - params["image"] - _size(getattr(model, "text_decoder", None))
    return {modality: (params[modality], flops[modality]) for modality in flops}


def _flops(run: Any, item: torch.Tensor) -> float:
    with FlopCounterMode(display=False) as counter:
        run(item)
    return float(counter.get_total_flops())


def _size(module: nn.Module | None) -> int:
    return sum(parameter.numel() for parameter in module.parameters()) if module else 0
