"""Attention goes through torch's fused product, in every installed encoder that has any."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from omnibind.engine.forward import run_batch
from omnibind.engine.precision import build
from omnibind.plugins import load_registry
from omnibind.specs import EncoderSpec
from omnibind.testing import samples

REGISTRY = load_registry()
FUSED = ("scaled_dot_product", "native_multi_head_attention")
NONE = ("efficientnet", "views-", "aisfx", "birdnet", "wordllama")
"""Encoders without attention."""


class Calls(TorchDispatchMode):
    """Counts kernels: fused attention, and softmax by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), options: Any = None
    ) -> Any:
        name = function.overloadpacket.__name__.lstrip("_")
        self.counts["fused"] += name.startswith(FUSED)
        self.counts["softmax"] += name in ("softmax", "safe_softmax")
        return function(*args, **(options or {}))


def _cards() -> list[EncoderSpec]:
    """One of each network, and one of SigLIP 2, whose sizes have one builder."""
    every = {e.key: e for space in REGISTRY.spaces.values() for e in space.encoders.values()}
    kept = [e for e in every.values() if "siglip2" not in e.key or "base-patch32" in e.key]
    return [e for e in kept if e.modality in ("text", "image", "audio", "points")]


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # timm's RMS norm
@pytest.mark.parametrize("spec", _cards(), ids=lambda spec: spec.key)
@pytest.mark.parametrize("numbers", ["float32", "bfloat16"])
def test_attention_is_fused(spec: EncoderSpec, numbers: str) -> None:
    module = build(spec, numbers, size="tiny", weights="random")
    item = module.preprocess(samples.media(spec.modality)[0])
    with Calls() as calls:
        run_batch(spec, module, [item], torch.device("cpu"), numbers)
    if spec.key.startswith(NONE):
        assert not calls.counts["fused"]
    else:
        assert calls.counts["fused"]
        assert not calls.counts["softmax"]
