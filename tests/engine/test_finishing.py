"""Preprocessing has two halves, and rows do not depend on where the second one is done."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from omnibind.engine import Engine, recognise
from omnibind.engine.finishing import batch_of, finishes_early, sample_of
from omnibind.engine.forward import run_batch
from omnibind.media.windows import joined, mean_rows
from omnibind.plugins import load_registry
from omnibind.specs import EncoderSpec
from omnibind.weights import build_encoder

MODALITIES = load_registry().modalities
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
SEEN: list[str] = []
TEXTS = ("a", "bb", "cccc")


class Letters(nn.Module):
    """Windows of letters as bytes, and later as numbers."""

    collate = staticmethod(joined)

    def __init__(self, size: str, assets: object) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 4)
        self.register_buffer("scale", torch.tensor(255.0), persistent=False)

    def preprocess(self, media: str) -> dict[str, Tensor]:
        ids = torch.tensor(list(media.encode().ljust(4)), dtype=torch.uint8)
        return {"ids": ids.view(2, 2)}

    def finish(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        made = dict(tensors)
        numbers = made.pop("ids") / self.scale
        SEEN.append(f"{numbers.dtype} {torch.is_autocast_enabled('cpu')}")
        return {"values": numbers, **made}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        SEEN.append("forward")
        rows = mean_rows(self.layer(batch["values"]).float(), batch["count"])
        return nn.functional.normalize(rows, dim=-1)


SPEC = EncoderSpec(
    key="letters",
    modality="text",
    dim=4,
    params=12,
    flops_per_item=1.0,
    build=f"{__name__}:Letters",
    weights=(),
    precision="bfloat16",
)


@pytest.fixture
def letters() -> nn.Module:
    SEEN.clear()
    return build_encoder(SPEC, weights="random")


def test_samples_are_finished_early_for_cpus_alone() -> None:
    assert finishes_early([CPU, CPU])
    assert not finishes_early([GPU])
    assert not finishes_early([CPU, GPU])


def test_an_encoder_without_a_second_half_needs_none() -> None:
    plain = build_encoder(SPEC, weights="random")
    plain.finish = None
    assert sample_of(plain, "a", early=True)["ids"].dtype == torch.uint8


def test_a_batch_is_the_same_finished_early_or_late(letters: nn.Module) -> None:
    early = batch_of(letters, [sample_of(letters, t, early=True) for t in TEXTS], early=True)
    late = batch_of(letters, [sample_of(letters, t, early=False) for t in TEXTS])
    assert early.keys() == late.keys() == {"values", "count"}
    assert all(torch.equal(early[name], late[name]) for name in late)


def test_a_batch_is_finished_where_it_has_been_moved(letters: nn.Module) -> None:
    batch = batch_of(letters.to("meta"), [letters.preprocess(text) for text in TEXTS], "meta")
    assert batch["values"].is_meta


def test_a_batch_is_finished_in_float32_and_outside_of_autocast(letters: nn.Module) -> None:
    run_batch(SPEC, letters, [letters.preprocess("a")], CPU, "bfloat16")
    assert SEEN == ["torch.float32 False", "forward"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the late half needs a GPU")
def test_on_a_gpu_a_batch_is_that_of_the_cpu(letters: nn.Module) -> None:
    samples = [letters.preprocess(text) for text in TEXTS]
    wanted = batch_of(letters, samples)
    there = batch_of(letters.to(GPU), samples, GPU)
    for name, tensor in there.items():
        torch.testing.assert_close(tensor.cpu(), wanted[name])


def test_the_engine_finishes_each_sample_once(letters: nn.Module) -> None:
    wanted = run_batch(SPEC, letters, [letters.preprocess(text) for text in TEXTS], CPU)
    SEEN.clear()
    first, twin = replace(SPEC, sample="both"), replace(SPEC, key="twin", sample="both")
    items = [recognise(k, text, MODALITIES, "text") for k, text in enumerate(TEXTS)]
    engine = Engine(device="cpu", weights="random", workers=2)
    try:
        rows = engine.encode(items, {"text": [first, twin]}).rows
    finally:
        engine.close()
    assert len([seen for seen in SEEN if seen != "forward"]) == len(TEXTS)
    assert torch.equal(rows["letters"], wanted)
