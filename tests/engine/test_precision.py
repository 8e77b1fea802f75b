"""What encoders compute in: their cards are asked, and what is sensitive stays float32."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

import omnibind
from omnibind.engine import Engine, RowCache, recognise
from omnibind.engine.float8 import Float8Linear, quantised, shrunk
from omnibind.engine.forward import run_batch
from omnibind.engine.memory.budget import module_bytes
from omnibind.engine.networks import Networks
from omnibind.engine.precision import borne, build, computing, laid_out, resolved
from omnibind.errors import SetupError
from omnibind.plugins import load_registry
from omnibind.specs import EncoderSpec
from omnibind.testing import ToySpace, toy_recipe, toy_registry
from omnibind.weights import LoadReport, load_state

CPU = torch.device("cpu")
WIDTH = 768
DTYPES = ("auto", "float32", "bfloat16", "float8")

MODALITIES = load_registry().modalities


class Net(nn.Module):
    """A product of its own that is protected, then a norm and three layers."""

    def __init__(self) -> None:
        super().__init__()
        self.bands = nn.Parameter(torch.rand(32, 32))
        self.norm = nn.LayerNorm(32)
        self.widen = nn.Linear(32, WIDTH)
        self.large = nn.Linear(WIDTH, WIDTH)
        self.last = nn.Linear(WIDTH, 16)
        self.seen: list[torch.dtype] = []

    def preprocess(self, media: str) -> dict[str, Tensor]:
        return {"x": torch.linspace(-1, 1, 32) * (1 + len(media))}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        with torch.autocast(batch["x"].device.type, enabled=False):
            heard = batch["x"] @ self.bands
        hidden = self.widen(self.norm(heard))
        self.seen = [batch["x"].dtype, heard.dtype, hidden.dtype]
        return normalize(self.last(self.large(hidden).relu()), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        return load_state(self, state)


def net(size: str, assets: Mapping[str, Path]) -> Net:
    return Net()


BEARS = EncoderSpec(
    key="net",
    modality="text",
    dim=16,
    params=1,
    flops_per_item=1.0,
    build=f"{__name__}:net",
    weights=(),
    precision="bfloat16",
)
UNKNOWN = replace(BEARS, key="unknown", precision="float32")


def _built(numbers: str, spec: EncoderSpec = BEARS, **how: str) -> Net:
    return build(spec, numbers, **({"weights": "random"} | how))


def _rows(numbers: str) -> Tensor:
    module = _built(numbers)
    samples = [module.preprocess(text) for text in ("a", "bb", "cccc")]
    return run_batch(BEARS, module, samples, CPU, numbers)


@pytest.fixture
def engines() -> Iterator[Callable[..., Engine]]:
    made: list[Engine] = []

    def make(**how: object) -> Engine:
        made.append(Engine(device="cpu", weights="random", workers=1, **how))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def _encoded(engine: Engine, *specs: EncoderSpec) -> Mapping[str, Tensor]:
    item = recognise(0, "a cat", MODALITIES, "text")
    return engine.encode([item], {"text": specs}).rows


def test_auto_is_float32_on_a_cpu_and_the_rest_is_what_it_says() -> None:
    said = [resolved(d, [CPU]) for d in ("auto", "float32", "bfloat16")]
    assert said == ["float32", "float32", "bfloat16"]


@pytest.mark.usefixtures("float8_products")
def test_float8_is_what_it_says_where_torch_multiplies_it() -> None:
    assert resolved("float8", [CPU]) == "float8"


@pytest.mark.parametrize("missing", ["scaled_mm", "ScalingType"])
def test_a_torch_without_float8_products_is_named_when_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delattr(torch.nn.functional, missing)
    assert resolved("bfloat16", [CPU]) == "bfloat16"
    with pytest.raises(SetupError, match="has no scaled_mm") as error:
        resolved("float8", [CPU])
    assert "say bfloat16" in error.value.next_step


def test_float8_is_refused_where_torch_does_not_multiply_it() -> None:
    with pytest.raises(SetupError, match="dtype='float8' on mps") as error:
        resolved("float8", [torch.device("mps")])
    assert "bfloat16" in error.value.next_step


@pytest.mark.parametrize("numbers", ["float32", "bfloat16", "float8"])
def test_an_encoder_whose_card_does_not_say_that_it_bears_less_stays_float32(numbers: str) -> None:
    assert borne(UNKNOWN, numbers) == "float32"
    assert borne(BEARS, numbers) == numbers


def test_only_layers_that_multiply_become_bfloat16() -> None:
    types = {name: tensor.dtype for name, tensor in _built("bfloat16").named_parameters()}
    narrow = {name for name, dtype in types.items() if dtype == torch.bfloat16}
    assert narrow == {f"{n}.{p}" for n in ("widen", "large", "last") for p in ("weight", "bias")}
    assert {types["norm.weight"], types["bands"]} == {torch.float32}


def test_a_weight_that_another_layer_shares_stays_float32() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.out = nn.Embedding(8, 4), nn.Linear(4, 8, bias=False)
            self.out.weight = self.table.weight

    globals()["tied"] = lambda size, assets: Tied()
    module = _built("bfloat16", replace(BEARS, build=f"{__name__}:tied"))
    assert module.out.weight is module.table.weight
    assert module.out.weight.dtype == torch.float32


def test_samples_norms_and_protected_products_stay_float32_and_layers_multiply_bfloat16() -> None:
    module = _built("bfloat16")
    rows = run_batch(BEARS, module, [module.preprocess("a")], CPU, "bfloat16")
    assert module.seen == [torch.float32, torch.float32, torch.bfloat16]
    assert rows.dtype == torch.float32


@pytest.mark.usefixtures("float8_products")
def test_rows_of_narrower_numbers_are_alike_and_not_equal() -> None:
    exact, half, eighth = _rows("float32"), _rows("bfloat16"), _rows("float8")
    for near in (half, eighth):
        assert not torch.equal(exact, near)
    assert torch.cosine_similarity(exact, half).min() > 0.9999
    assert torch.cosine_similarity(half, eighth).min() > 0.995


@pytest.mark.parametrize("numbers", ["float32", "bfloat16", "float8"])
def test_bytes_are_known_before_it_is_built(numbers: str) -> None:
    assert module_bytes(laid_out(BEARS, numbers)) == module_bytes(_built(numbers))
    assert Networks("full", "random", dtype=numbers).nbytes(BEARS) == module_bytes(_built(numbers))


def test_bytes_shrink_with_the_numbers() -> None:
    full, half, eighth = (module_bytes(_built(n)) for n in ("float32", "bfloat16", "float8"))
    assert 0.5 < half / full < 0.51
    assert half - eighth == WIDTH * WIDTH - WIDTH * 4


@pytest.mark.parametrize("kept", [torch.float16, torch.bfloat16, torch.float32])
def test_the_file_does_not_say_what_is_computed_in(kept: torch.dtype, tmp_path: Path) -> None:
    save_file({n: t.to(kept) for n, t in Net().state_dict().items()}, tmp_path / "net.safetensors")
    spec = replace(BEARS, weights=(f"file:{tmp_path}/net.safetensors",))
    full, half = (_built(n, spec, weights="official") for n in ("float32", "bfloat16"))
    assert {t.dtype for t in full.parameters()} == {torch.float32}
    assert (half.norm.weight.dtype, half.large.weight.dtype) == (torch.float32, torch.bfloat16)


def test_rows_of_other_numbers_are_other_rows() -> None:
    full, half = (Networks("full", "random", dtype=d) for d in ("float32", "bfloat16"))
    assert full.identity(BEARS) != half.identity(BEARS)
    assert full.identity(UNKNOWN) == half.identity(UNKNOWN)


def test_nothing_is_computed_in_bfloat16_outside_of_a_forward() -> None:
    with computing("bfloat16", CPU):
        assert torch.is_autocast_enabled("cpu")
    with computing("float32", CPU):
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.usefixtures("float8_products")
def test_an_engine_computes_in_what_it_is_asked_for_and_its_cache_keeps_them_apart(
    engines: Callable[..., Engine], tmp_path: Path
) -> None:
    cache = RowCache(tmp_path / "rows.sqlite")
    found = {d: _encoded(engines(dtype=d, cache=cache), BEARS, UNKNOWN) for d in DTYPES}
    assert torch.equal(found["auto"]["net"], found["float32"]["net"])
    assert not torch.equal(found["float32"]["net"], found["bfloat16"]["net"])
    assert not torch.equal(found["bfloat16"]["net"], found["float8"]["net"])
    assert len({found[d]["unknown"].numpy().tobytes() for d in DTYPES}) == 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float8"])
def test_an_encoder_that_is_larger_than_the_budget_gives_the_same_rows(
    engines: Callable[..., Engine], dtype: str, request: pytest.FixtureRequest
) -> None:
    if dtype == "float8":
        request.getfixturevalue("float8_products")
    size = Networks("full", "random", dtype=dtype).nbytes(BEARS)
    whole = _encoded(engines(dtype=dtype), BEARS)["net"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a CPU keeps what it has built
        streamed = _encoded(engines(dtype=dtype, memory=size - 1), BEARS)["net"]
    assert torch.equal(whole, streamed)


def test_a_model_refuses_an_engine_of_another_dtype(engines: Callable[..., Engine]) -> None:
    toy = ToySpace("toy", modalities=["text"])
    known = toy_registry(toy, toy_recipe("toys", [toy]))
    engine = engines(dtype="bfloat16", size="tiny")
    with pytest.raises(SetupError, match="an engine that computes in bfloat16"):
        omnibind.load("toys", engine=engine, dtype="float32", size="tiny", known=known)


def test_layers_that_their_network_reads_or_that_are_small_stay_as_they_are() -> None:
    eva = nn.Module()
    eva.q_bias, eva.qkv = nn.Parameter(torch.zeros(8)), nn.Linear(WIDTH, WIDTH, bias=False)
    kept = nn.ModuleDict({"eva": eva, "heads": nn.MultiheadAttention(WIDTH, 8)})
    kept["narrow"], kept["odd"] = nn.Linear(WIDTH, 64), nn.Linear(WIDTH, WIDTH + 8)
    assert not any(isinstance(layer, Float8Linear) for layer in shrunk(kept).modules())


def test_a_large_layer_in_float8_shows_its_weights_in_bfloat16() -> None:
    layer = nn.Linear(WIDTH, WIDTH)
    narrow = Float8Linear(layer)
    assert narrow.weight.dtype == torch.bfloat16
    assert torch.cosine_similarity(narrow.weight.float(), layer.weight.detach()).min() > 0.999


def test_scaled_rows_come_back_within_half_a_step() -> None:
    rows = torch.randn(8, 64) * torch.logspace(-6, 6, 8)[:, None]
    narrow, scale = quantised(rows)
    assert ((narrow.float() * scale - rows).abs() <= rows.abs() / 16 + scale * 2**-10).all()
    assert not quantised(torch.zeros(1, 64))[0].float().any()
