"""The contract of a space: tests that a plugin's test class inherits.

@pytest.fixture
def space() -> SpaceSpec:
    return omnibind_plugin_mine.MINE

class TestMine(SpaceContract):
    pass
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import pytest
from torch import Tensor, nn

from omnibind.errors import OmnibindError, PluginError
from omnibind.specs import EncoderSpec, Size, SpaceSpec
from omnibind.testing import cards, devices, loading, longmedia, preprocessing, rows, samples
from omnibind.testing.subject import Check, Fault, Subject
from omnibind.weights import build_encoder
from omnibind.weights.build import Weights

__all__ = ["SpaceContract"]


class SpaceContract:
    """What every encoder of a space has to keep, so that the engine can run it.

    The module of the test class has a fixture `space` that gives the card.

    Attributes:
        size: `tiny`; `full` in a second class, marked as slow.
        weights: `random`; `official` at full size.
        tolerance: how far a row alone may be from the same row in a batch.
        largest_tiny: parameters that a tiny encoder may have.
        slowest_tiny: time that building it may take.
    """

    size: ClassVar[Size] = "tiny"
    weights: ClassVar[Weights] = "random"
    tolerance: ClassVar[float] = 1e-5
    largest_tiny: ClassVar[int] = 20_000_000
    slowest_tiny: ClassVar[float] = 10.0
    _built: ClassVar[dict[str, nn.Module]]

    def __init_subclass__(cls) -> None:
        cls._built = {}

    def items(self, modality: str) -> Sequence[Any]:
        """Decoded items to encode; override it for a modality of your own."""
        return samples.media(modality)

    def published(self, encoder: nn.Module) -> Mapping[str, Tensor] | None:
        """A state in the layout of the published checkpoint, made of the encoder's tensors.

        Override it where `load_official` renames keys, so that loading is tested in full.
        """
        return None

    def test_the_card_of_the_space_can_be_used(self, space: SpaceSpec) -> None:
        _raise(cards.describes_the_space(space))

    def test_the_cards_of_the_encoders_can_be_used(self, space: SpaceSpec) -> None:
        self._hold(space, cards.describes_the_encoder)

    def test_cards_count_the_parameters_of_the_full_size(self, space: SpaceSpec) -> None:
        self._hold(space, cards.counts_its_parameters)

    def test_the_tiny_size_is_tiny(self, space: SpaceSpec) -> None:
        if self.size != "tiny":
            pytest.skip("this class tests the full size")
        limits = {"most_params": self.largest_tiny, "most_seconds": self.slowest_tiny}
        self._hold(space, partial(cards.tiny, **limits))

    def test_rows_are_floats_of_the_cards_width(self, space: SpaceSpec) -> None:
        self._hold(space, rows.shaped)

    def test_rows_have_unit_norm(self, space: SpaceSpec) -> None:
        self._hold(space, rows.unit)

    def test_the_same_item_gives_the_same_row(self, space: SpaceSpec) -> None:
        self._hold(space, rows.repeatable)

    def test_the_same_seed_gives_the_same_encoder(self, space: SpaceSpec) -> None:
        self._hold(space, rows.same_seed_same_weights)

    def test_a_row_does_not_depend_on_its_batch(self, space: SpaceSpec) -> None:
        self._hold(space, rows.independent_of_the_batch)

    def test_media_longer_than_a_clip_become_rows_both_ways(self, space: SpaceSpec) -> None:
        self._hold(space, longmedia.both_ways)

    def test_preprocess_makes_cpu_tensors(self, space: SpaceSpec) -> None:
        self._hold(space, preprocessing.makes_cpu_tensors)

    def test_preprocess_is_thread_safe(self, space: SpaceSpec) -> None:
        self._hold(space, preprocessing.thread_safe)

    def test_preprocess_leaves_the_item_alone(self, space: SpaceSpec) -> None:
        self._hold(space, preprocessing.leaves_the_item_alone)

    def test_preprocess_is_apart_from_the_network(self, space: SpaceSpec) -> None:
        self._hold(space, preprocessing.apart_from_the_network)

    def test_finish_makes_the_same_of_a_sample_and_of_a_batch(self, space: SpaceSpec) -> None:
        self._hold(space, preprocessing.finishes_anywhere)

    def test_it_builds_on_the_meta_device(self, space: SpaceSpec) -> None:
        self._hold(space, devices.builds_on_meta)

    def test_it_runs_on_any_device(self, space: SpaceSpec) -> None:
        self._hold(space, devices.runs_on_another_device)

    def test_it_runs_in_half_precision(self, space: SpaceSpec) -> None:
        self._hold(space, devices.runs_in_half_precision)

    def test_its_source_names_no_device(self, space: SpaceSpec) -> None:
        self._hold(space, devices.source_names_no_device)

    def test_loading_published_weights_is_strict(self, space: SpaceSpec) -> None:
        self._hold(space, loading.strict)

    def _hold(self, space: SpaceSpec, check: Check) -> None:
        _raise(fault for subject in self._subjects(space) for fault in check(subject))

    def _subjects(self, space: SpaceSpec) -> Iterator[Subject]:
        for modality, spec in space.encoders.items():
            encoder = self._encoder(spec)
            yield Subject(
                spec=spec,
                size=self.size,
                weights=self.weights,
                encoder=encoder,
                media=self.items(modality),
                atol=self.tolerance,
                published=self.published(encoder),
            )

    def _encoder(self, spec: EncoderSpec) -> nn.Module:
        if spec.key not in self._built:
            self._built[spec.key] = build_encoder(spec, size=self.size, weights=self.weights)
        return self._built[spec.key]


def _raise(faults: Iterable[OmnibindError]) -> None:
    try:
        listed = list(faults)
    except (Fault, PluginError) as error:
        listed = [error]
    if listed:
        pytest.fail("\n\n".join(map(str, listed)), pytrace=False)
