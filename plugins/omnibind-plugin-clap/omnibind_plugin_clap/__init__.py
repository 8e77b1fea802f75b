"""LAION CLAP: two spaces of sounds and texts. Cards only; no torch in here."""

from __future__ import annotations

from collections.abc import Iterable

from omnibind.plugins import hookimpl
from omnibind.specs import EncoderSpec, SpaceSpec

COMMIT = "b3708341862f581175dba5c356a4ebf74a9b6651"
HUB = f"hub:lukewys/laion_clap@{COMMIT}"
GENERAL = f"{HUB}/630k-fusion-best.pt"
MUSIC = (
    f"{HUB}/music_speech_audioset_epoch_15_esc_89.98.pt"
    "#sha256=51c68f12f9d7ea25fdaaccf741ec7f81e93ee594455410f3bca4f47f88d8e006"
)
VOCABULARY = (
    "hub:FacebookAI/roberta-base@e2da8e2f811d1448a5b465c236feacd80ffbac7b/tokenizer.json"
    "#sha256=847bbeab6174d66a88898f729d52fa8d355fafe1bea101cf960dd404581df70e"
)
PAPER = "Wu et al. 2023, Large-scale Contrastive Language-Audio Pretraining, arXiv:2211.06687"
SAME_FILE = (
    "OmniBind's repository Viglong/OmniBind carries a file of this name and size; that the two "
    "are equal has not been checked."
)
NO_CHECKSUM = f"The file's checksum is not known. {SAME_FILE}"


def _text(space: str, weights: str, file: str) -> EncoderSpec:
    return EncoderSpec(
        key=f"{space}-text",
        modality="text",
        dim=512,
        params=125_302_016,
        flops_per_item=13.3e9,
        build="omnibind_plugin_clap.text:build",
        weights=(weights,),
        sample="clap-text",
        precision="bfloat16",
        assets={"vocabulary": VOCABULARY},
        note=f"FLOPs are of 77 tokens; shorter texts need fewer, for padding is left out. {file}",
    )


GENERAL_SPACE = SpaceSpec(
    name="clap-general",
    dim=512,
    encoders={
        "audio": EncoderSpec(
            key="clap-general-audio",
            modality="audio",
            dim=512,
            params=28_205_512,
            flops_per_item=11.8e9,
            build="omnibind_plugin_clap.audio:general",
            long=True,
            weights=(GENERAL,),
            precision="bfloat16",
            note=f"FLOPs are of one window of 10 s. {NO_CHECKSUM}",
        ),
        "text": _text("clap-general", GENERAL, NO_CHECKSUM),
    },
    licence="CC0-1.0",
    commercial_use=True,
    revision=COMMIT,
    paper=PAPER,
    training_data="LAION-Audio-630K, AudioCaps and Clotho, by the paper",
)

MUSIC_SPACE = SpaceSpec(
    name="clap-music",
    dim=512,
    encoders={
        "audio": EncoderSpec(
            key="clap-music-audio",
            modality="audio",
            dim=512,
            params=68_611_864,
            flops_per_item=30.6e9,
            build="omnibind_plugin_clap.audio:music",
            long=True,
            weights=(MUSIC,),
            precision="bfloat16",
            note=f"FLOPs are of one window of 10 s. {SAME_FILE}",
        ),
        "text": _text("clap-music", MUSIC, SAME_FILE),
    },
    licence="CC0-1.0",
    commercial_use=True,
    revision=COMMIT,
    paper=PAPER,
    training_data="music, speech, AudioSet and LAION-Audio-630K, about 4 million sounds",
)


@hookimpl
def provide_spaces() -> Iterable[SpaceSpec]:
    """CLAP for any sound (630k, fusion) and CLAP for music, speech and sounds."""
    return [GENERAL_SPACE, MUSIC_SPACE]
