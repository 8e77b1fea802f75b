"""EVA-CLIP: the backbone of the published recipes, and three smaller spaces of its kind."""

from __future__ import annotations

from omnibind.plugins import hookimpl
from omnibind.specs import EncoderSpec, SpaceSpec

__all__ = ["SPACES", "provide_spaces"]

CLIP_TOKENS = "clip-text-77"
"""The sample of texts in open_clip's CLIP tokens, 77 of them; other plugins make it too."""
UNPINNED = "revision and checksum of the published file unknown: the main branch is read"
UNSEEN = "real file not seen; layout proven at tiny size on one filled by formula"
COPY = "open_clip's copy, not the authors' file; its layout is open_clip's, and was not seen"


def _space(
    name: str,
    dim: int,
    *,
    image: tuple[int, float],
    text: tuple[int, float],
    weights: str,
    note: str,
    licence: str = "MIT",
    paper: str = "arXiv:2303.15389",
    training_data: str = "Merged-2B: 1.6 billion pairs of LAION-2B, 0.4 billion of COYO-700M",
) -> SpaceSpec:
    """A card from what differs: width, parameters and FLOPs of each tower, the file."""
    facts = {"image": image, "text": text}
    # the 18B's texts end at 42 tokens, and are cleaned otherwise: a sample of its own
    samples = {"image": "clip-picture-224", "text": "" if name == "eva-clip-18b" else CLIP_TOKENS}
    return SpaceSpec(
        name=name,
        dim=dim,
        encoders={
            modality: EncoderSpec(
                key=f"{name}-{modality}",
                modality=modality,
                dim=dim,
                params=params,
                flops_per_item=flops,
                build=f"omnibind_plugin_evaclip.networks:{modality}_{name}",
                sample=samples[modality],
                weights=(weights,),
                precision="bfloat16",
                note=note,
            )
            for modality, (params, flops) in facts.items()
        },
        licence=licence,
        commercial_use=True,
        revision="main",
        paper=paper,
        training_data=training_data,
    )


SPACES = {
    card.name: card
    for card in (
        _space(
            "eva-clip-18b",
            1536,
            image=(17_630_494_720, 9121e9),
            text=(694_987_521, 97.9e9),
            weights="hub:BAAI/EVA-CLIP-18B@main/EVA_CLIP_18B_psz14_s6B.fp16.pt",
            note=f"{UNPINNED}; {UNSEEN}",
            licence="Apache-2.0",
            paper="arXiv:2402.04252",
            training_data="Merged-2B+: Merged-2B, 20 million pairs of LAION-COCO, "
            "23 million of videos (VideoCC, InternVid, WebVid)",
        ),
        _space(
            "eva02-e14-plus",
            1024,
            image=(4_350_556_928, 2264e9),
            text=(694_332_161, 97.9e9),
            weights="hub:QuanSun/EVA-CLIP@main/EVA02_CLIP_E_psz14_plus_s9B.pt",
            note=f"{UNPINNED}; {UNSEEN}",
            training_data="LAION-2B, 9 billion samples",
        ),
        _space(
            "eva02-l14",
            768,
            image=(304_105_152, 162e9),
            text=(123_650_305, 13.3e9),
            weights="hub:timm/eva02_large_patch14_clip_224.merged2b_s4b_b131k@main/"
            "open_clip_pytorch_model.bin",
            note=f"{UNPINNED}; {COPY}",
        ),
        _space(
            "eva02-b16",
            512,
            image=(86_263_040, 35.1e9),
            text=(63_428_097, 5.96e9),
            weights="hub:timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k@main/"
            "open_clip_pytorch_model.bin",
            note=f"{UNPINNED}; {COPY}",
        ),
    )
}
"""The cards by name; other plugins take encoders from here (Uni3D's pictures and texts)."""


@hookimpl
def provide_spaces() -> list[SpaceSpec]:
    """The four spaces."""
    return list(SPACES.values())
