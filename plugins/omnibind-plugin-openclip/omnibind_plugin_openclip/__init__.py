"""DFN5B ViT-H/14 as a space, and any other open_clip model by name."""

from __future__ import annotations

import os

from omnibind.plugins import hookimpl
from omnibind.specs import EncoderSpec, SpaceSpec

__all__ = ["DFN5B_H14", "provide_spaces", "space_from"]

NAMED = "OMNIBIND_OPENCLIP"
CLIP_TOKENS = "clip-text-77"
"""The sample of texts in open_clip's CLIP tokens, 77 of them; other plugins make it too."""


def _dfn(modality: str, params: int, flops: float) -> EncoderSpec:
    return EncoderSpec(
        key=f"dfn5b-h14-{modality}",
        modality=modality,
        dim=1024,
        params=params,
        flops_per_item=flops,
        build=f"omnibind_plugin_openclip.networks:{modality} ViT-H-14-quickgelu dfn5b",
        sample=CLIP_TOKENS if modality == "text" else "",
        weights=("hub:apple/DFN5B-CLIP-ViT-H-14@main/open_clip_pytorch_model.bin",),
        precision="bfloat16",
        note="revision and checksum unknown: the main branch is read; file not seen, that it is "
        "float32 is a guess; "
        "squash and bicubic as open_clip says, the repository's own settings not seen; licence as "
        "at the revisions seen: check the card (the 378 px sibling became research-only)",
    )


DFN5B_H14 = SpaceSpec(
    name="dfn5b-h14",
    dim=1024,
    encoders={
        "image": _dfn("image", 632_076_800, 335e9),
        "text": _dfn("text", 354_032_641, 47.1e9),
    },
    licence="LicenseRef-apple-sample-code-license",
    commercial_use=None,
    revision="main",
    paper="arXiv:2309.17425",
    training_data="DFN-5B: 5 billion pairs filtered from 43 billion (CommonPool and others)",
)


def space_from(
    model: str,
    pretrained: str,
    *,
    name: str = "",
    licence: str = "unknown",
    commercial_use: bool | None = None,
    revision: str = "main",
    file: str = "",
    paper: str = "",
    training_data: str = "unknown",
    note: str = "",
) -> SpaceSpec:
    """The card of an open_clip model; imports torch and counts parameters and FLOPs.

        space_from("ViT-B-32", "laion2b_s34b_b79k", licence="MIT", commercial_use=True)

    Args:
        model: as in `open_clip.list_models()`.
        pretrained: one of its tags, which also says how pictures are prepared.
        name: of the space; `<model>-<pretrained>` in lower case else.
        licence, commercial_use, paper, training_data: open_clip does not know them.
        revision: of the hub repository.
        file: in it; open_clip's default else.
        note: what else is uncertain.

    Raises:
        UnknownNameError: open_clip has no such model, or no hub file under that tag.
        PluginError: the text side is not open_clip's own, or the activation does not fit.
    """
    from omnibind_plugin_openclip.naming import describe

    return describe(
        model,
        pretrained,
        name=name,
        licence=licence,
        commercial_use=commercial_use,
        revision=revision,
        file=file,
        paper=paper,
        training_data=training_data,
        note=note,
    )


@hookimpl
def provide_spaces() -> list[SpaceSpec]:
    """DFN5B, and what `OMNIBIND_OPENCLIP` names as `model/tag`, separated by spaces."""
    named = os.environ.get(NAMED, "").split()
    return [DFN5B_H14, *(space_from(*asked.split("/", 1)) for asked in named)]
