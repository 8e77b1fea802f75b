"""The recipes of the paper: base, large and full. Their spaces come from plugins of their own.

Source: the authors' released inference code at commit d574f1b; slots, router inputs, the text
temperature and the 0.1 / 0.9 mix are theirs, by name instead of by position. The linking spaces are
those that reviewers report; which of the WavCaps and Uni3D spaces is meant is our reading.
"""

from __future__ import annotations

from omnibind.plugins.hooks import hookimpl
from omnibind.specs import Recipe, Slot

__all__ = ["provide_recipes"]

BACKBONE = "eva-clip-18b"
IMAGEBIND = "imagebind"
WAVCAPS = ("wavcaps-pt", "wavcaps-audiocaps", "wavcaps-clotho")
SOUNDS = ("clap-general", "clap-music", *WAVCAPS)
PICTURES = ("dfn5b-h14", "eva02-e14-plus", "siglip-l", "siglip-so400m")
SHAPES = ("uni3d-lvis", "uni3d-modelnet40", "uni3d-scanobjectnn")
LINKS = {
    "audio-text": "wavcaps-pt",
    "audio-image": IMAGEBIND,
    "image-text": BACKBONE,
    "image-points": "uni3d-lvis",
    "points-text": "uni3d-lvis",
}
SOURCE = "arXiv:2407.11895 and its released code"


def _slots(*spaces: str) -> tuple[Slot, ...]:
    return tuple(Slot.of(space) for space in spaces)


UNIT = Slot.of(IMAGEBIND, normalise=True)
MIX = Slot(name="backbone", parts={IMAGEBIND: 0.1, BACKBONE: 0.9}, normalise=True)


def _recipe(name: str, picture: str, slots: dict[str, tuple[Slot, ...]]) -> Recipe:
    return Recipe(
        name=name,
        backbone=BACKBONE,
        joint_dim=1536,
        slots=slots,
        router_inputs={
            "audio": ("wavcaps-pt",),
            "image": (picture,),
            "points": ("uni3d-lvis",),
            "text": ("wavcaps-pt", picture, "uni3d-lvis"),
        },
        temperature={"text": 10.0},
        links=LINKS,
        source=SOURCE,
    )


BASE = _recipe(
    "base",
    "eva02-e14-plus",
    {
        "audio": _slots(*WAVCAPS, IMAGEBIND),
        "image": (*_slots("eva02-e14-plus", "uni3d-lvis"), UNIT),
        "points": _slots("uni3d-lvis"),
        "text": (*_slots(*WAVCAPS, "eva02-e14-plus", "uni3d-lvis"), UNIT),
    },
)
LARGE = _recipe(
    "large",
    "siglip-so400m",
    {
        "audio": _slots(*SOUNDS, IMAGEBIND),
        "image": (*_slots(*PICTURES, *SHAPES), UNIT),
        "points": _slots(*SHAPES),
        "text": (*_slots(*SOUNDS, *PICTURES, *SHAPES), UNIT),
    },
)
FULL = _recipe(
    "full",
    "siglip-so400m",
    {
        "audio": _slots(*SOUNDS, IMAGEBIND),
        "image": (*_slots(*PICTURES), MIX),
        "points": _slots(*SHAPES),
        "text": (*_slots(*SOUNDS, *PICTURES, *SHAPES), MIX),
    },
)


@hookimpl
def provide_recipes() -> list[Recipe]:
    """The three published sizes."""
    return [BASE, LARGE, FULL]
