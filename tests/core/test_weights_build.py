"""Encoders are built random without any file, or with published weights, where they are wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from omnibind.errors import PluginError, WeightsError
from omnibind.specs import EncoderSpec, resolve
from omnibind.weights import build_encoder, lay_out, load_state
from omnibind.weights.build import skeleton
from omnibind.weights.meta import Weightless


class _Net(nn.Linear):
    def __init__(self, size: str, assets: object) -> None:
        super().__init__(3, 4 if size == "full" else 2)
        self.register_buffer("steps", torch.arange(3), persistent=False)
        self.register_buffer("table", torch.ones(3), persistent=False)

    def load_official(self, state: dict[str, torch.Tensor]) -> object:
        return load_state(self, state)


class _Forgetful(_Net):
    def load_official(self, state: dict[str, torch.Tensor]) -> object:
        return None


def _no_module(size: str, assets: object) -> str:
    return "no module"


def _spec(build: str = "_Net", weights: tuple[str, ...] = ()) -> EncoderSpec:
    return EncoderSpec(
        key="net",
        modality="text",
        dim=4,
        params=16,
        flops_per_item=1.0,
        build=f"{__name__}:{build}",
        weights=weights,
    )


@pytest.fixture
def published(tmp_path: Path) -> str:
    save_file({"weight": torch.ones(4, 3), "bias": torch.zeros(4)}, tmp_path / "w.safetensors")
    return f"file:{tmp_path / 'w.safetensors'}"


def test_random_weights_depend_on_key_and_seed_alone() -> None:
    torch.manual_seed(5)
    one = build_encoder(_spec(), weights="random")
    torch.manual_seed(6)
    two, other = (
        build_encoder(_spec(), weights="random"),
        build_encoder(_spec(), weights="random", seed=1),
    )
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, other.weight)


@pytest.mark.parametrize(("size", "rows"), [("tiny", 2), ("full", 4)])
def test_random_weights_need_no_file(size: str, rows: int) -> None:
    card = replace(_spec(weights=("file:/nowhere",)), assets={"words": "file:/nowhere"})
    assert build_encoder(card, size=size, weights="random").weight.shape == (rows, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_become_float32_on_a_cpu_unless_asked(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {"weight": torch.full((4, 3), 0.1).to(dtype), "bias": torch.ones(4).to(dtype)}
    save_file(state, tmp_path / "half.safetensors")
    card = _spec(weights=(f"file:{tmp_path / 'half.safetensors'}",))
    assert torch.equal(build_encoder(card).weight, state["weight"].float())
    kept = build_encoder(card, dtype=dtype)
    assert torch.equal(kept.weight, state["weight"])
    assert kept.table.dtype == dtype
    assert kept.steps.dtype == torch.int64


def test_on_an_accelerator_weights_keep_their_precision(tmp_path: Path) -> None:
    half = {"weight": torch.ones(4, 3).half(), "bias": torch.ones(4).half()}
    save_file(half, tmp_path / "half.safetensors")
    save_file(half | {"bias": torch.ones(4)}, tmp_path / "mixed.safetensors")
    for file, dtype in {"half": torch.float16, "mixed": torch.float32}.items():
        card = _spec(weights=(f"file:{tmp_path / file}.safetensors",))
        assert {p.dtype for p in build_encoder(card, device="meta").parameters()} == {dtype}


class _Tied(_Net):
    def __init__(self, size: str, assets: object) -> None:
        super().__init__(size, assets)
        self.twin = nn.Linear(3, 4)
        self.twin.weight = self.weight

    def load_official(self, state: dict[str, torch.Tensor]) -> object:
        report = load_state(
            self, {**state, "twin.weight": state["weight"], "twin.bias": state["bias"]}
        )
        self.twin.weight = self.weight
        return report


def test_shared_tensors_stay_shared_when_converted(published: str) -> None:
    module = build_encoder(_spec("_Tied", (published,)), dtype=torch.float16)
    assert module.twin.weight is module.weight
    assert module.weight.dtype == torch.float16


def test_files_of_every_kind_keep_their_values_when_converted(tmp_path: Path) -> None:
    """Pages are given back while they are converted: only those that are pages of a file."""
    weight, bias = torch.randn(4, 3).half(), torch.randn(4).half()
    torch.save({"weight": weight}, tmp_path / "zip.pt")
    torch.save({"weight": weight}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    np.save(tmp_path / "bias.npy", bias.numpy())
    for file in ("zip.pt", "old.pt"):
        files = (f"file:{tmp_path / file}", f"file:{tmp_path / 'bias.npy'}")
        module = build_encoder(_spec(weights=files))
        assert torch.equal(module.weight, weight.float())
        assert torch.equal(module.bias, bias.float())


def test_published_weights_are_loaded_and_frozen(published: str) -> None:
    module = build_encoder(_spec(weights=(published,)))
    assert torch.equal(module.weight, torch.ones(4, 3))
    assert module.steps.tolist() == [0, 1, 2]
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())


def test_a_tensor_that_stays_empty_is_refused(published: str) -> None:
    with pytest.raises(WeightsError, match="none for weight, bias"):
        build_encoder(_spec("_Forgetful", (published,)))


class _Silent(_Net):
    def load_official(self, state: dict[str, torch.Tensor]) -> object:
        load_state(self, state)


def test_a_load_official_without_a_report_is_refused(published: str) -> None:
    with pytest.raises(PluginError, match="return what omnibind"):
        build_encoder(_spec("_Silent", (published,)))


def test_two_files_that_claim_one_key_are_refused(published: str) -> None:
    with pytest.raises(WeightsError, match="both have: bias, weight"):
        build_encoder(_spec(weights=(published, published)))


def test_an_encoder_without_published_weights_says_so() -> None:
    with pytest.raises(WeightsError, match="no weights on its card"):
        build_encoder(_spec())


def test_a_builder_that_makes_no_module_is_named() -> None:
    with pytest.raises(PluginError, match="_no_module"):
        build_encoder(_spec("_no_module"), weights="random")


class _Broken(_Net):
    def __init__(self, size: str, assets: object) -> None:
        super().__init__(size, assets)
        self.words = {}["words"]


class _Mover(_Net):
    def __init__(self, size: str, assets: object) -> None:
        super().__init__(size, assets)
        self.to("meta")  # stands for .cuda()


class _Reader(_Net):
    def load_official(self, state: dict[str, torch.Tensor]) -> object:
        return state["no such key"]


@pytest.mark.parametrize("way", [lay_out, skeleton, build_encoder])
def test_a_builder_that_fails_is_named_with_its_plugin(way: Callable[..., object]) -> None:
    with pytest.raises(PluginError) as error:
        way(_spec("_Broken"), size="tiny")
    assert f"the builder '{__name__}:_Broken' of the encoder 'net'" in str(error.value)
    assert "KeyError: 'words'" in str(error.value)
    assert f"mend the plugin {__name__.partition('.')[0]};" in error.value.next_step


@pytest.mark.filterwarnings("ignore:random weights of 'net' are made on the host")
def test_a_builder_that_fails_while_it_is_recorded_is_named_too() -> None:
    with pytest.raises(PluginError, match="_Broken' of the encoder 'net'"):
        build_encoder(_spec("_Broken"), size="tiny", products=torch.bfloat16)


def test_a_builder_that_moves_its_network_is_named() -> None:
    with pytest.raises(PluginError, match=r"of the encoder 'net'(.|\n)*weight on meta: it moves"):
        build_encoder(_spec("_Mover"), size="tiny")


def test_a_load_official_that_fails_is_named(published: str) -> None:
    with pytest.raises(PluginError, match=r"load_official of .*_Reader' of the encoder 'net'"):
        build_encoder(_spec("_Reader", (published,)))


class _Probing(nn.Module):
    """Learns a width by a run on zeros, as timm's hybrid stems do."""

    def __init__(self, size: str = "full", assets: object = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 5, 2), nn.BatchNorm2d(5))
        self.out = nn.Linear(self.stem(torch.zeros(1, 3, 4, 4)).shape[1], 2)
        self.register_buffer("table", torch.arange(4.0).cos(), persistent=False)


def test_a_network_that_probes_itself_is_laid_out_without_memory() -> None:
    with Weightless():
        laid = _Probing()
    assert laid.out.weight.shape == (2, 5)
    assert all(parameter.is_meta for parameter in laid.parameters())
    assert torch.equal(laid.table, _Probing().table)


@pytest.mark.parametrize("model", ["ViTamin-L datacomp1b", "MobileCLIP-B datacompdr"])
def test_hybrid_networks_of_timm_are_laid_out_at_full_size_without_memory(model: str) -> None:
    networks = pytest.importorskip("omnibind_plugin_openclip.networks").__name__
    with Weightless():
        laid = resolve(f"{networks}:image {model}")("full", {})
    assert sum(parameter.numel() for parameter in laid.parameters()) > 80e6
    assert [name for name, parameter in laid.named_parameters() if not parameter.is_meta] == []
    assert [name for name, buffer in laid.named_buffers() if buffer.is_meta] == []
