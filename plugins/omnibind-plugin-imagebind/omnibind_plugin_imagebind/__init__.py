"""ImageBind: one space of images, texts, sounds, depth, heat and movement. No torch in here."""

from __future__ import annotations

from collections.abc import Iterable

from omnibind.plugins import hookimpl
from omnibind.specs import EncoderSpec, Modality, SpaceSpec

WEIGHTS = (
    "hub:DAMO-NLP-SG/Video-LLaMA-2-7B-Finetuned@9d9519ffac4e48ef6510e829b1a1a643771a4dd0"
    "/imagebind_huge.pth"
    "#sha256=d6f6c22bedcc90708448d5d2fbb7b2db9c73f505dc89bd0b2e09b23af1b62157"
)
FILE = (
    "The authors publish imagebind_huge.pth at dl.fbaipublicfiles.com/imagebind, without a "
    "checksum. The card names a copy on the hub; four repositories list the same checksum for it, "
    "which has not been compared with the authors' own file. That it is float32 is a guess."
)
SCALING = "How the authors scaled {} is not known here: preprocessing is ours."
HEADS = "The number of attention heads ({}) is not told by the file's shapes and not confirmed."


MEASURED = ("image", "text", "audio")
"""Those that bear bfloat16; there are no example media of the others."""


def _encoder(modality: str, build: str, *, params: int, flops: float, note: str) -> EncoderSpec:
    return EncoderSpec(
        key=f"imagebind-{modality}",
        modality=modality,
        dim=1024,
        params=params,
        flops_per_item=flops,
        build=f"omnibind_plugin_imagebind.{build}",
        weights=(WEIGHTS,),
        sample="clip-picture-224" if modality == "image" else "",
        long=modality == "audio",
        precision="bfloat16" if modality in MEASURED else "float32",
        note=f"{note} {FILE}".strip(),
    )


IMAGEBIND = SpaceSpec(
    name="imagebind",
    dim=1024,
    encoders={
        "image": _encoder("image", "image:build", params=632_829_440, flops=335e9, note=""),
        "text": _encoder(
            "text", "text:build", params=354_032_641, flops=47.1e9, note="FLOPs are of 77 tokens."
        ),
        "audio": _encoder(
            "audio",
            "audio:build",
            params=86_235_648,
            flops=40.9e9,
            note="FLOPs are of one window of 2 s; the authors use three.",
        ),
        "depth": _encoder(
            "depth",
            "sensors:depth",
            params=21_871_872,
            flops=9.1e9,
            note=f"{SCALING.format('disparity')} {HEADS.format(8)}",
        ),
        "thermal": _encoder(
            "thermal",
            "sensors:thermal",
            params=86_211_072,
            flops=35.0e9,
            note=f"{SCALING.format('pictures')} {HEADS.format(12)}",
        ),
        "imu": _encoder(
            "imu",
            "sensors:imu",
            params=19_600_384,
            flops=10.3e9,
            note=f"FLOPs are of 5 s. {SCALING.format('readings')} {HEADS.format(8)}",
        ),
    },
    licence="CC-BY-NC-SA-4.0",
    commercial_use=False,
    revision="imagebind_huge",
    paper="Girdhar et al. 2023, ImageBind: One Embedding Space To Bind Them All, arXiv:2305.05665",
    training_data=(
        "image and text: OpenCLIP ViT-H/14 on LAION-2B, kept as it was; audio: AudioSet; "
        "depth: SUN RGB-D; thermal: LLVIP; IMU: Ego4D; each paired with pictures or video"
    ),
)


def _modality(name: str, extensions: tuple[str, ...], units: str) -> Modality:
    module = f"omnibind_plugin_imagebind.{name}"
    return Modality(
        name=name,
        extensions=extensions,
        load=f"{module}:load",
        claims=f"{module}:claims",
        digest=f"{module}:digest",
        units=units,
    )


@hookimpl
def provide_modalities() -> Iterable[Modality]:
    """Depth maps, thermal pictures and movement."""
    return [
        _modality("depth", (".pfm",), "distances [height, width] in m, 0 where unknown"),
        _modality("thermal", (), "levels [height, width] in [0, 1], brighter is warmer"),
        _modality("imu", (), "readings [6, time]: accelerations in m/s², turns in rad/s; with Hz"),
    ]


@hookimpl
def provide_spaces() -> Iterable[SpaceSpec]:
    """ImageBind-huge."""
    return [IMAGEBIND]
