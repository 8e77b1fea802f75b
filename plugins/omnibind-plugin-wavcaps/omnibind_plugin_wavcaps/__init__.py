"""WavCaps: three spaces of sounds and texts, one network. Cards only; no torch in here."""

from __future__ import annotations

from collections.abc import Iterable

from omnibind.plugins import hookimpl
from omnibind.specs import EncoderSpec, SpaceSpec

HUB = "hub:Viglong/OmniBind@main/checkpoints/wavcaps"
VOCABULARY = (
    "hub:google-bert/bert-base-uncased@86b5e0934494bd15c9632b12f734a8a67f723594/vocab.txt"
    "#sha256=07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
)
UNTOLD = "float32: random weights cannot tell whether it bears bfloat16."
NOTE = (
    "The authors state no licence for the weights; OmniBind's repository gives them as CC-BY-4.0. "
    "From memory, to be checked: the data set's page says CC-BY-4.0 and its text allows academic "
    "use only. Not known: that repository's revision (its main branch is read) and the file's "
    "checksum. The file holds 2,707,200 more parameters, classifiers of the tower's own "
    "pre-training and a temperature, which are not loaded."
)
WAVCAPS = "WavCaps (FreeSound, BBC Sound Effects, SoundBible, AudioSet with strong labels)"


def _space(name: str, file: str, training_data: str) -> SpaceSpec:
    weights = (f"{HUB}/{file}",)
    return SpaceSpec(
        name=name,
        dim=1024,
        encoders={
            "audio": EncoderSpec(
                key=f"{name}-audio",
                modality="audio",
                dim=1024,
                params=29_371_544,
                flops_per_item=11.8e9,
                build="omnibind_plugin_wavcaps.audio:build",
                sample="wavcaps-audio",
                long=True,
                weights=weights,
                note=f"FLOPs are of one window of 10 s. {UNTOLD} {NOTE}",
            ),
            "text": EncoderSpec(
                key=f"{name}-text",
                modality="text",
                dim=1024,
                params=110_728_704,
                flops_per_item=5.1e9,
                build="omnibind_plugin_wavcaps.text:build",
                sample="wavcaps-text",
                precision="bfloat16",
                weights=weights,
                assets={"vocabulary": VOCABULARY},
                note=f"FLOPs are of 30 tokens. {NOTE}",
            ),
        },
        licence="none stated; redistributed as CC-BY-4.0",
        commercial_use=None,
        revision="main (no commit known)",
        paper="Mei et al. 2023, WavCaps, arXiv:2303.17395",
        training_data=training_data,
    )


PT = _space(
    "wavcaps-pt",
    "HTSAT-BERT-PT.pt",
    f"{WAVCAPS}; by the repository's settings AudioCaps and Clotho as well, which has not been "
    "checked for this file",
)
AUDIOCAPS = _space(
    "wavcaps-audiocaps",
    "HTSAT-BERT-FT-AudioCaps.pt",
    f"{WAVCAPS}, then AudioCaps",
)
CLOTHO = _space("wavcaps-clotho", "HTSAT-BERT-FT-Clotho.pt", f"{WAVCAPS}, then Clotho")


@hookimpl
def provide_spaces() -> Iterable[SpaceSpec]:
    """WavCaps as pre-trained, and fine-tuned on AudioCaps and on Clotho."""
    return [PT, AUDIOCAPS, CLOTHO]
