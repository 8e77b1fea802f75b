"""One encoder under test: its card, the built network, and media to feed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from omnibind.engine.finishing import batch_of, collated
from omnibind.errors import OmnibindError, PluginError
from omnibind.specs import Encoder, EncoderSpec, Size
from omnibind.weights import build_encoder, lay_out
from omnibind.weights.build import Weights

__all__ = ["Check", "Fault", "Sample", "Subject", "preprocess", "same"]

Sample = dict[str, Tensor]


class Fault(OmnibindError):
    """What a check found wrong: what was asked, what was found, what to do next."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One encoder of a space, built once for all checks that leave it as it is.

    Attributes:
        spec: its card.
        size, weights: as it was built.
        encoder: the network.
        media: decoded items of its modality.
        atol: how far rows may be from one another where they should be equal.
        published: a state in the published layout, where the test class gives one.
    """

    spec: EncoderSpec
    size: Size
    weights: Weights
    encoder: nn.Module
    media: Sequence[Any]
    atol: float
    published: Mapping[str, Tensor] | None = None

    @property
    def title(self) -> str:
        """How messages begin."""
        return f"the {self.spec.modality} encoder {self.spec.key!r}"

    def fault(self, promise: str, found: str, next_step: str) -> Fault:
        """A fault of this encoder."""
        return Fault(f"{self.title}: {promise}", found=found, next_step=next_step)

    def another(self) -> nn.Module:
        """A second build, to be spoiled."""
        return build_encoder(self.spec, size=self.size, weights=self.weights)

    def on_meta(self, size: Size) -> nn.Module:
        """Built where tensors have no storage, without files.

        Raises:
            Fault: the builder does not get through.
        """
        try:
            return lay_out(self.spec, size=size)
        except PluginError as error:
            cause = error.__cause__
            if isinstance(cause, KeyError):
                raise self.fault(
                    "it is built without files, as it is with random weights",
                    f"the asset {cause} was asked for at size {size!r}",
                    "take numbers of the network from the code, and a toy tokenizer without assets",
                ) from error
            if isinstance(cause, RuntimeError):
                raise self.no_meta(f"{type(cause).__name__}: {cause}") from error
            raise

    def no_meta(self, found: str) -> Fault:
        """The fault of an encoder that needs real memory to be built."""
        return self.fault(
            'it can be built under torch.device("meta")',
            found,
            "make parameters with torch functions and no device; no .item() or .numpy() of them",
        )

    def samples(self) -> list[Sample]:
        """Every item, preprocessed."""
        return [preprocess(self.encoder, item) for item in self.media]

    def batch(self, samples: Sequence[Sample], *, early: bool = False) -> Sample:
        """What `forward` receives; `early` says that the samples are finished.

        Raises:
            Fault: the samples do not stack, and there is no `collate`.
        """
        try:
            collated(self.encoder, samples)
        except RuntimeError as error:
            raise self.fault(
                "items of different length in one batch",
                f"{type(error).__name__}: {error}",
                "make tensors of one size in preprocess, or pad in collate(samples) with a mask",
            ) from error
        return batch_of(self.encoder, samples, early=early)

    def rows(self, samples: Sequence[Sample]) -> Tensor:
        """Rows as `forward` gives them."""
        with torch.inference_mode():
            return cast("Encoder", self.encoder)(self.batch(samples))


Check = Callable[[Subject], Iterator[Fault]]


def preprocess(encoder: nn.Module, item: Any) -> Any:
    """What the encoder makes of one item: its tensors by name, where it keeps the contract."""
    return cast("Encoder", encoder).preprocess(item)


def same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    """Whether two dictionaries hold the same tensors, bit for bit."""
    return left.keys() == right.keys() and all(
        left[key].dtype == right[key].dtype and torch.equal(left[key], right[key]) for key in left
    )
