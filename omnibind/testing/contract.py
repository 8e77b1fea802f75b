"""What every space promises, as tests that a plugin inherits.

    import pytest
    from omnibind.testing import SpaceContract
    from omnibind_plugin_mine import SPACE

    @pytest.fixture
    def space():
        return SPACE

    class TestMine(SpaceContract):
        pass
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, cast

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from omnibind.engine.encoders import run_batch
from omnibind.errors import WeightsError
from omnibind.specs import Encoder, EncoderSpec, Size, SpaceSpec, resolve
from omnibind.testing.samples import samples
from omnibind.weights import build_encoder
from omnibind.weights.build import Weights
from omnibind.weights.references import parse

__all__ = ["SpaceContract"]

CPU = torch.device("cpu")


class SpaceContract:
    """Tests of one space; needs a fixture `space` in the test's module.

    Attributes:
        size, weights: what is built. Tiny and random by default: no download, seconds.
        tolerance: largest |difference| where rows should be equal.
        largest_tiny: parameters that a tiny encoder may have.
    """

    size: ClassVar[Size] = "tiny"
    weights: ClassVar[Weights] = "random"
    tolerance: ClassVar[float] = 1e-5
    largest_tiny: ClassVar[int] = 20_000_000

    def items(self, modality: str) -> list[Any]:
        """Decoded items to try; override it for a modality of your own."""
        return samples(modality)

    def test_rows_have_the_width_of_the_card_and_unit_norm(self, space: SpaceSpec) -> None:
        for spec, encoder in self.encoders(space):
            rows = self.rows(spec, encoder, self.items(spec.modality))
            assert rows.shape[1] == space.dim, f"{spec.key}: card and forward disagree"
            assert torch.isfinite(rows).all(), f"{spec.key}: NaN or infinity"
            norms = rows.norm(dim=-1)
            assert torch.allclose(norms, torch.ones_like(norms), atol=1e-4), (
                f"{spec.key}: norms {norms.tolist()}; end forward with F.normalize(rows, dim=-1)"
            )

    def test_the_same_item_gives_the_same_row(self, space: SpaceSpec) -> None:
        for spec, encoder in self.encoders(space):
            items = self.items(spec.modality)
            once, again = (self.rows(spec, encoder, items) for _ in range(2))
            assert torch.equal(once, again), f"{spec.key}: random crops, or dropout left on?"

    def test_items_that_differ_give_rows_that_differ(self, space: SpaceSpec) -> None:
        for spec, encoder in self.encoders(space):
            rows = self.rows(spec, encoder, self.items(spec.modality))
            assert len(torch.unique(rows, dim=0)) > 1, f"{spec.key}: every item has one row"

    def test_the_same_seed_builds_the_same_encoder(self, space: SpaceSpec) -> None:
        for spec, encoder in self.encoders(space):
            twin = self.build(spec)
            items = self.items(spec.modality)
            same = torch.equal(self.rows(spec, encoder, items), self.rows(spec, twin, items))
            assert same, f"{spec.key}: draw initial weights from torch's own generator"

    def test_a_row_does_not_depend_on_the_rest_of_its_batch(self, space: SpaceSpec) -> None:
        for spec, encoder in self.encoders(space):
            items = self.items(spec.modality)
            together = self.rows(spec, encoder, items)
            alone = torch.cat([self.rows(spec, encoder, [item]) for item in items])
            worst = (together - alone).abs().max().item()
            assert worst <= self.tolerance, f"{spec.key}: off by {worst:.1e}; mask the padding"

    def test_preprocessing_in_threads_equals_preprocessing_in_turn(self, space: SpaceSpec) -> None:
        for spec, encoder in self.encoders(space):
            items = self.items(spec.modality) * 8
            in_turn = [encoder.preprocess(item) for item in items]
            with ThreadPoolExecutor(8) as pool:
                at_once = list(pool.map(encoder.preprocess, items))
            for one, other in zip(in_turn, at_once, strict=True):
                assert _equal(one, other), f"{spec.key}: preprocess shares state between threads"

    def test_preprocessing_makes_tensors_on_the_cpu_and_leaves_the_item(
        self, space: SpaceSpec
    ) -> None:
        for spec, encoder in self.encoders(space):
            for item in self.items(spec.modality):
                first, second = encoder.preprocess(item), encoder.preprocess(item)
                assert all(value.device == CPU for value in first.values()), spec.key
                assert _equal(first, second), f"{spec.key}: preprocess changes its item"

    def test_the_encoder_never_names_a_device(self, space: SpaceSpec) -> None:
        for spec, encoder in self.encoders(space):
            with _DeviceWatch() as watch:
                self.rows(spec, encoder, self.items(spec.modality))
            assert not watch.seen, f"{spec.key}: {watch.seen[0]}; devices are the engine's"

    def test_the_tiny_size_is_tiny(self, space: SpaceSpec) -> None:
        for spec in space.encoders.values():
            count = _parameters(build_encoder(spec, size="tiny"))
            assert count <= self.largest_tiny, f"{spec.key}: {count:,} parameters at tiny size"

    def test_the_full_size_has_the_parameters_of_the_card(self, space: SpaceSpec) -> None:
        for spec in space.encoders.values():
            with torch.device("meta"):
                module = cast("nn.Module", resolve(spec.build)("full", {}))
            count = _parameters(module)
            assert count == spec.params, f"{spec.key}: {count:,} built, {spec.params:,} on the card"

    def test_a_key_that_does_not_belong_is_refused(self, space: SpaceSpec) -> None:
        for spec, encoder in self.encoders(space):
            if not hasattr(encoder, "load_official"):
                assert not spec.weights, f"{spec.key}: weights on the card, no load_official"
                continue
            state = {"omnibind.no.such.key": torch.ones(1)}
            with pytest.raises(WeightsError, match="omnibind.no.such.key"):
                cast("Any", encoder).load_official(state)

    def test_the_card_is_complete(self, space: SpaceSpec) -> None:
        assert space.licence, "state the licence of the weights"
        for modality, spec in space.encoders.items():
            assert spec.modality == modality
            assert spec.dim == space.dim
            assert spec.flops_per_item > 0, f"{spec.key}: state the FLOPs an item"
            for reference in (*spec.weights, *spec.assets.values()):
                parse(reference)
        for reference in space.projectors.values():
            parse(reference)

    def encoders(self, space: SpaceSpec) -> Iterator[tuple[EncoderSpec, Encoder]]:
        """Every encoder of the space, built."""
        for spec in space.encoders.values():
            yield spec, self.build(spec)

    def build(self, spec: EncoderSpec) -> Encoder:
        """One encoder of the size and weights that this contract is about."""
        return cast("Encoder", build_encoder(spec, size=self.size, weights=self.weights))

    @staticmethod
    def rows(spec: EncoderSpec, encoder: Encoder, items: list[Any]) -> Tensor:
        """Rows as the engine makes them."""
        return run_batch(spec, encoder, [encoder.preprocess(item) for item in items], CPU)


class _DeviceWatch(TorchFunctionMode):
    """Notes every call that names a device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in (Tensor.cuda, torch.compile):
            self.seen.append(f"calls {func.__name__}()")
        if func is Tensor.to and any(isinstance(a, str) for a in args[1:]):
            self.seen.append(f"calls .to({args[1]!r})")
        return func(*args, **(kwargs or {}))


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
