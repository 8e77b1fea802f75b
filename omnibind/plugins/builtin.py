"""The four built-in modalities, registered through the same hook as anybody's."""

from __future__ import annotations

from omnibind.plugins.hooks import hookimpl
from omnibind.specs import Modality

IMAGES = ".png .jpg .jpeg .webp .gif .bmp .tif .tiff .ppm .pgm .tga .avif .jp2"
SOUNDS = ".wav .flac .ogg .oga .opus .mp3 .aif .aiff .au .caf .m4a .aac .mka .mp4 .webm"
SHAPES = ".obj .ply .stl .glb .gltf .off .xyz .pcd .npz .npy"


def _modality(name: str, extensions: str, units: str, *, lasts: bool = False) -> Modality:
    module = f"omnibind.media.{name}"
    return Modality(
        name=name,
        extensions=tuple(extensions.split()),
        load=f"{module}:load",
        claims=f"{module}:claims",
        digest=f"{module}:digest",
        units=units,
        cut=f"{module}:cut" if lasts else "",
    )


@hookimpl
def provide_modalities() -> list[Modality]:
    """Text, image, audio, points."""
    return [
        _modality("text", ".txt .md", "str"),
        _modality("image", IMAGES, "PIL RGB picture, 8 bit"),
        _modality(
            "audio", SOUNDS, "waveform [channel, time] in [-1, 1] with its rate in Hz", lasts=True
        ),
        _modality("points", SHAPES, "xyz [point, 3], rgb [point, 3] in [0, 1]; y is up"),
    ]
