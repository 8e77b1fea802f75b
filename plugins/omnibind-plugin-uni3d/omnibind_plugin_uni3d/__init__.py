"""Uni3D: spaces of shapes, images and texts. Cards only; no torch in here.

Images and texts are read by EVA02-CLIP-E-14+, which Uni3D learnt from: the very same cards.
"""

from __future__ import annotations

from collections.abc import Iterable

from omnibind_plugin_evaclip import SPACES as EVA_CLIP

from omnibind.plugins import hookimpl
from omnibind.specs import EncoderSpec, SpaceSpec

__all__ = ["SPACES", "provide_spaces"]

COMMIT = "3d8233b76aa350d72f6213ecd2123c2026b42355"
TEACHER = EVA_CLIP["eva02-e14-plus"]
GIANT = (1_012_864_129, 1131e9)
NOTE = (
    "Checksums are those that another project lists for this commit; sizes agree with the hub's "
    "pages, but no file was downloaded. Layout proven at tiny size on a checkpoint filled by "
    "formula. Files are float16. Clouds without colour are grey (0.4) and y points up, as in the "
    "authors' training code. Computed in float32: random weights cannot tell whether it bears "
    "bfloat16."
)
COPIES = (
    "OmniBind's repository Viglong/OmniBind carries a file of this name and size; that the two are "
    "equal has not been checked. How the three checkpoints of this size differ is not documented."
)


def _space(
    name: str, scale: str, file: str, sha256: str, counts: tuple[int, float], copied: bool = False
) -> SpaceSpec:
    """A card from what differs; `copied` are the files that OmniBind redistributes."""
    params, flops = counts
    points = EncoderSpec(
        key=f"{name}-points",
        modality="points",
        dim=1024,
        params=params,
        flops_per_item=flops,
        build=f"omnibind_plugin_uni3d.points:{scale}",
        sample="uni3d-points",
        weights=(f"hub:BAAI/Uni3D@{COMMIT}/modelzoo/{file}/model.pt#sha256={sha256}",),
        note=f"{NOTE} {COPIES}" if copied else NOTE,
    )
    return SpaceSpec(
        name=name,
        dim=1024,
        encoders={"points": points, **TEACHER.encoders},
        licence="none stated; redistributed as CC-BY-4.0" if copied else "none stated",
        commercial_use=None,
        revision=COMMIT,
        paper="Zhou et al. 2023, Uni3D: Exploring Unified 3D Representation at Scale, "
        "arXiv:2310.06773",
        training_data="Objaverse (LVIS shapes among them), ShapeNet, 3D-FUTURE, ABO; images and "
        f"texts: {TEACHER.training_data}",
    )


SPACES = {
    card.name: card
    for card in (
        _space(
            "uni3d-lvis",
            "g",
            "uni3d-g/lvis",
            "f0d8ecd047935b037fcc40bdfd66bef632631a968c37fef0f90f1351641573c3",
            GIANT,
            copied=True,
        ),
        _space(
            "uni3d-modelnet40",
            "g",
            "uni3d-g/mnet40",
            "bcbcd6bea00e55d031b083ff06d4783e3d23bff0f02f23f076ed98db58b8a468",
            GIANT,
            copied=True,
        ),
        _space(
            "uni3d-scanobjectnn",
            "g",
            "uni3d-g/scanobjnn",
            "d2b26da86c71ce48383a915a3f320b89843c774064edad2728324ef71145149b",
            GIANT,
            copied=True,
        ),
        _space(
            "uni3d-l",
            "l",
            "uni3d-l",
            "540a3cafac52c251cbda1844d109bc598f142b4f5a2118db87cd722b01800c20",
            (304_671_553, 373e9),
        ),
        _space(
            "uni3d-b",
            "b",
            "uni3d-b",
            "bb533f918957e939f0e500376bef5166437883443da10fd9adccde0d1b512fba",
            (86_951_297, 134e9),
        ),
        _space(
            "uni3d-s",
            "s",
            "uni3d-s",
            "9a6342fda2245f00fa0200eb7fc667ee67fee9a953c82961e04d242130a3350f",
            (22_498_433, 63.4e9),
        ),
        _space(
            "uni3d-ti",
            "ti",
            "uni3d-ti",
            "6ff7e821e6997cb814b529e6dc3b224ad8349500471c8517e491685a718688e0",
            (6_221_825, 44.6e9),
        ),
    )
}
"""The cards by name."""


@hookimpl
def provide_spaces() -> Iterable[SpaceSpec]:
    """Three checkpoints of the largest size, and the four smaller sizes."""
    return list(SPACES.values())
