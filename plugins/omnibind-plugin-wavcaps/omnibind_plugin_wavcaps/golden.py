"""Runs a golden case of WavCaps: the original's inputs through the encoders of this plugin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig, ClapAudioConfig

from omnibind.engine.finishing import batch_of
from omnibind.media import audio
from omnibind_plugin_wavcaps.audio import WavCapsAudio
from omnibind_plugin_wavcaps.text import WavCapsText, hashed_words

__all__ = ["run"]

Case = Mapping[str, Any]


def run(
    case: Case, folder: Path, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The outputs of every check, under the names the case gives them.

    Args:
        case: the content of its `case.json`.
        folder: where it lies; sounds are named relative to it.
        state: the filled checkpoint in its published layout.
        inputs: ready token numbers and masks.
    """
    facts = case["config"]["neutral"]
    sounds, texts = _audio(facts).eval(), _text(facts).eval()
    sounds.load_official(state)
    texts.load_official(state)
    outputs: dict[str, Tensor] = {}
    with torch.inference_mode():
        for check in case["checks"]:
            given = check["given"]
            if "tensor" in given:
                outputs |= _texts(texts, *(inputs[name] for name in given["tensor"]))
            else:
                sound = audio.load(folder / given["file"])
                outputs |= {name: _sound(sounds, sound, name) for name in check["outputs"]}
    return outputs


def _sound(encoder: WavCapsAudio, sound: audio.Audio, name: str) -> Tensor:
    batch = batch_of(encoder, [encoder.preprocess(sound)])
    if name.startswith("mel"):
        return batch["mels"][0, 0]
    return encoder.features(batch["mels"]) if name.startswith("pooled") else encoder(batch)


def _texts(encoder: WavCapsText, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    batch = {"ids": ids, "mask": mask}
    return {"text_cls": encoder.features(batch), "text_embedding": encoder(batch)}


def _audio(facts: Case) -> WavCapsAudio:
    sizes = facts["audio"]
    encoder = WavCapsAudio(
        ClapAudioConfig(
            spec_size=sizes["spec_size"],
            patch_size=sizes["patch"],
            patch_stride=[sizes["patch_stride"]] * 2,
            window_size=sizes["window"],
            num_mel_bins=sizes["mel_bins"],
            patch_embeds_hidden_size=sizes["embed"],
            depths=sizes["depths"],
            num_attention_heads=sizes["heads"],
            hidden_size=sizes["out_width"],
            mlp_ratio=float(sizes["mlp_ratio"]),
            projection_dim=facts["joint"],
        )
    )
    encoder.long = "official"
    return encoder


def _text(facts: Case) -> WavCapsText:
    sizes = facts["text"]
    config = BertConfig(
        vocab_size=sizes["vocab"],
        hidden_size=sizes["width"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"],
        intermediate_size=sizes["intermediate"],
        max_position_embeddings=sizes["max_positions"],
    )
    return WavCapsText(config, facts["joint"], hashed_words(sizes["vocab"]))
