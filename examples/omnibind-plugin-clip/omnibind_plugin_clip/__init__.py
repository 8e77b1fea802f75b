"""An example: CLIP ViT-B/32 out of transformers as a space. Cards only; no torch in here."""

from omnibind.plugins import hookimpl
from omnibind.specs import EncoderSpec, SpaceSpec

HUB = "hub:openai/clip-vit-base-patch32@main"


def card(modality: str, params: int, flops: float, **assets: str) -> EncoderSpec:
    return EncoderSpec(
        key=f"clip-b32-{modality}",
        modality=modality,
        dim=512,
        params=params,
        flops_per_item=flops,
        build=f"omnibind_plugin_clip.networks:{modality}",
        weights=(f"{HUB}/pytorch_model.bin",),
        assets=assets,
        note="revision and checksum unknown: the main branch is read",
    )


IMAGE = card("image", 87_849_216, 8.8e9)
TEXT = card("text", 63_428_096, 5.9e9, vocabulary=f"{HUB}/tokenizer.json")


@hookimpl
def provide_spaces() -> list[SpaceSpec]:
    encoders, facts = {"image": IMAGE, "text": TEXT}, {"licence": "MIT", "commercial_use": True}
    return [SpaceSpec(name="clip-b32", dim=512, encoders=encoders, revision="main", **facts)]
