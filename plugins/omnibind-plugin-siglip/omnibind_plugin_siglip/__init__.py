"""SigLIP and SigLIP 2 as spaces: two of the published recipes, the others by name."""

from __future__ import annotations

from omnibind.plugins import hookimpl
from omnibind.specs import EncoderSpec, SpaceSpec
from omnibind_plugin_siglip.sizes import Siglip

__all__ = ["provide_spaces", "space_from"]

UNPINNED = "revision and checksums unknown: the main branch is read; real files not seen"
FIRST = f"{UNPINNED}; licence from memory: check the card"
SECOND = (
    f"{UNPINNED}; licence from memory: check the card; texts are lower-cased, end with id 1 and "
    "are padded with 0 on the right as the paper and its code say, not proven by golden numbers"
)
UNTOLD = "float32: random weights cannot tell whether it bears bfloat16"
OTHERS = (
    "siglip2-base-patch32-256",
    *(f"siglip2-base-patch16-{side}" for side in (224, 256, 384, 512)),
    *(f"siglip2-large-patch16-{side}" for side in (256, 384, 512)),
    *(f"siglip2-so400m-patch14-{side}" for side in (224, 384)),
    *(f"siglip2-so400m-patch16-{side}" for side in (256, 384, 512)),
    *(f"siglip2-giant-opt-patch16-{side}" for side in (256, 384)),
)
"""Every SigLIP 2 of fixed size (the `naflex` ones read pictures of any size: another network)."""


def space_from(model: str, *, name: str = "", owner: str = "google") -> SpaceSpec:
    """The card of a published SigLIP or SigLIP 2, by its hub name; imports no torch.

        space_from("siglip2-so400m-patch16-512")

    Args:
        model: name of the hub repository, which says size, patch and pixels.
        name: of the space; the model's name else.
        owner: of the hub repository.

    Raises:
        UnknownNameError: the name says no size that is known here.
    """
    siglip, name = Siglip.named(model), name or model
    numbers = {
        "image": (siglip.image_params, siglip.image_flops),
        "text": (siglip.text_params, siglip.text_flops),
    }
    vocabulary = "tokenizer.json" if siglip.second else "spiece.model"
    untold = {"image": (), "text": (UNTOLD,)}
    samples = {
        "image": f"siglip-image-{siglip.side}",
        "text": "siglip2-text" if siglip.second else "siglip-text",  # one vocabulary a generation
    }
    encoders = {
        modality: EncoderSpec(
            key=f"{name}-{modality}",
            modality=modality,
            dim=siglip.vision.width,
            params=params,
            flops_per_item=flops,
            build=f"omnibind_plugin_siglip.networks:{modality} {model}",
            sample=samples[modality],
            weights=(f"hub:{owner}/{model}@main/model.safetensors",),
            assets={"vocabulary": f"hub:{owner}/{model}@main/{vocabulary}"}
            if modality == "text"
            else {},
            precision="bfloat16" if modality == "image" else "float32",
            note="; ".join([SECOND if siglip.second else FIRST, *untold[modality]]),
        )
        for modality, (params, flops) in numbers.items()
    }
    return SpaceSpec(
        name=name,
        dim=siglip.vision.width,
        encoders=encoders,
        licence="Apache-2.0",
        commercial_use=True,
        revision="main",
        paper="arXiv:2502.14786" if siglip.second else "arXiv:2303.15343",
        training_data="WebLI" if siglip.second else "WebLI, its English pairs",
    )


@hookimpl
def provide_spaces() -> list[SpaceSpec]:
    """The two of the published recipes, under their short names, and every SigLIP 2."""
    return [
        space_from("siglip-large-patch16-384", name="siglip-l"),
        space_from("siglip-so400m-patch14-384", name="siglip-so400m"),
        *map(space_from, OTHERS),
    ]
