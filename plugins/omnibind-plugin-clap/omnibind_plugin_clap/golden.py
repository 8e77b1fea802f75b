"""Runs a golden case of CLAP: the original's inputs through the encoders of this plugin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import ClapAudioConfig

from omnibind.media import audio
from omnibind_plugin_clap.audio import ClapAudio
from omnibind_plugin_clap.sound import CLIP, RATE, filled, quantised, shrunk
from omnibind_plugin_clap.text import ClapText, hashed_words, roberta

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
    sounds = Sounds(_audio(facts).eval(), folder, case["checks"])
    texts = _text(facts).eval()
    sounds.encoder.load_official(state)
    texts.load_official(state)
    outputs: dict[str, Tensor] = {}
    with torch.inference_mode():
        for check in case["checks"]:
            given = check["given"]
            if "tensor" in given:
                outputs |= _texts(texts, *(inputs[name] for name in given["tensor"]))
            else:
                for name, shape in check["outputs"].items():
                    outputs[name] = sounds.output(name, given, shape["shape"][0])
    return outputs


class Sounds:
    """What the checks ask about sounds, by the words in their outputs' names."""

    def __init__(self, encoder: ClapAudio, folder: Path, checks: list[Case]) -> None:
        self.encoder, self.folder = encoder, folder
        given = [check["given"] for check in checks]
        self.starts = {g["file"]: _starts(g) for g in given if _starts(g)}

    def output(self, name: str, given: Case, length: int) -> Tensor:
        """One output tensor; `length` is that of its first axis."""
        if name.startswith("quantised"):
            return self._sound(given)[:length]
        if name.startswith("mel"):
            mel = self._picture(name, given)
            return mel[:: -(-len(mel) // length)].contiguous()
        batch = self.encoder.collate([self._sample(g) for g in _each(given)])
        if "antialias" in name:
            batch["mels"][0, 0] = self._picture(name, given)
        if name.startswith("pooled"):
            return self.encoder.features(batch["mels"], batch["longer"])
        return self.encoder(batch)

    def _sound(self, given: Case) -> Tensor:
        sound = audio.load(self.folder / given["file"]).mono(RATE)
        return quantised(sound[: given.get("use_first_samples")])

    def _sample(self, given: Case) -> dict[str, Tensor]:
        whole = "use_first_samples" not in given
        starts = self.starts.get(given["file"]) if whole else None
        return self.encoder.official(self._sound(given), starts)

    def _picture(self, name: str, given: Case) -> Tensor:
        if "antialias" in name:
            sound = self._sound(given)
            whole = self.encoder.log_mel(sound if len(sound) > CLIP else filled(sound))
            return shrunk(whole, antialias=True)
        crops = {"front": 1, "middle": 2, "back": 3}
        place = next((at for word, at in crops.items() if f"crop_{word}" in name), 0)
        return self._sample(given)["mels"][0, place]


def _starts(given: Case) -> tuple[int, ...] | None:
    if "crop_start_sample" in given:
        return (given["crop_start_sample"],)
    return tuple(given.get("crop_start_frames", ())) or None


def _each(given: Case) -> list[Case]:
    return [{"file": file} for file in given["files"]] if "files" in given else [given]


def _texts(encoder: ClapText, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    batch = {"ids": ids, "mask": mask}
    return {"text_pooled": encoder.features(batch), "text_embedding": encoder(batch)}


def _audio(facts: Case) -> ClapAudio:
    sizes = facts["audio"]
    return ClapAudio(
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
            enable_fusion=bool(sizes["fusion"]),
            fusion_type=sizes["fusion"],
            projection_dim=facts["joint"],
        )
    )


def _text(facts: Case) -> ClapText:
    sizes = facts["text"]
    config = roberta(
        vocab_size=sizes["vocab"],
        hidden_size=sizes["width"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"],
        intermediate_size=sizes["intermediate"],
        max_position_embeddings=sizes["max_positions"],
    )
    return ClapText(config, facts["joint"], hashed_words(sizes["vocab"]))
