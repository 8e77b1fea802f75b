"""The towers are transformers'; how pictures and texts enter them is all there is to write."""

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import normalize, pad
from torchvision.transforms import functional as F
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from omnibind.weights import LoadReport, load_state

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
START, END, LENGTH = 49406, 49407, 77
TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
SIZES = {"full": {}, "tiny": {**TINY, "num_attention_heads": 2}}


class Clip(nn.Module):
    def __init__(self, network, preprocess, *others: str) -> None:
        super().__init__()
        self.network, self.preprocess = network, preprocess
        self.dropped = {f"{name}*": "of the other tower" for name in (*others, "logit_scale")}

    def forward(self, batch) -> Tensor:
        return normalize(self.network(**batch)[0], dim=-1)

    def load_official(self, state) -> LoadReport:
        dropped = {**self.dropped, "*.position_ids": "0, 1, 2, ...: made when building"}
        return load_state(self, state, rename=lambda key: f"network.{key}", dropped=dropped)


def pixels(media) -> dict[str, Tensor]:
    square = F.center_crop(F.resize(media, 224, F.InterpolationMode.BICUBIC), 224)
    return {"pixel_values": F.normalize(F.to_tensor(square), MEAN, STD)}


def image(size, assets) -> Clip:
    network = CLIPVisionModelWithProjection(CLIPVisionConfig(**SIZES[size]))
    return Clip(network, pixels, "text_")


def text(size, assets) -> Clip:
    words = Tokenizer.from_file(str(assets["vocabulary"])) if assets else None

    def ids(media) -> dict[str, Tensor]:
        found = words.encode(media).ids[1:-1] if words else list(media.encode())
        kept = torch.tensor([START, *found[: LENGTH - 2], END])
        return {"input_ids": pad(kept, (0, LENGTH - len(kept)), value=END)}

    config = CLIPTextConfig(bos_token_id=START, eos_token_id=END, **SIZES[size])
    return Clip(CLIPTextModelWithProjection(config), ids, "vision_", "visual_")
