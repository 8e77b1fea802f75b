"""Checks that a card says what its encoder is, and that the tiny size is tiny."""

from __future__ import annotations

import re
from collections.abc import Iterator
from time import perf_counter

from torch import nn

from omnibind.errors import OmnibindError
from omnibind.plugins import LoadedPlugin, Registry
from omnibind.specs import Encoder, EncoderSpec, SpaceSpec, resolve
from omnibind.testing.subject import Fault, Subject
from omnibind.weights.hub import TARGET
from omnibind.weights.references import parse

__all__ = ["counts_its_parameters", "describes_the_encoder", "describes_the_space", "tiny"]

COMMIT = re.compile(r"[0-9a-f]{40}")


def describes_the_space(space: SpaceSpec) -> Iterator[OmnibindError]:
    """The registry takes the card, it has encoders and a licence, its references can be read."""
    plugin = LoadedPlugin(name="under test", distribution="", version="", provides={})
    try:
        Registry().add(plugin, [space])
        for reference in _references(space):
            _readable(reference)
    except OmnibindError as error:
        yield error
    for field in ("licence", "revision"):
        if not str(getattr(space, field)).strip():
            yield Fault(
                f"the space {space.name!r} states its {field}",
                found="nothing",
                next_step=f"fill in `{field}`; a licence as SPDX, or as its publisher calls it",
            )
    if not space.encoders:
        yield Fault(
            f"the space {space.name!r} reads something",
            found="no encoders on its card",
            next_step="encoders={'image': EncoderSpec(...), ...}",
        )


def describes_the_encoder(subject: Subject) -> Iterator[Fault]:
    """The builder is found and makes an encoder; numbers are there."""
    spec, built = subject.spec, subject.encoder
    if not callable(resolve(spec.build)) or not isinstance(built, Encoder):
        yield subject.fault(
            f"{spec.build!r} builds a network with preprocess(media)",
            f"{type(built).__name__} without it",
            "write `def preprocess(self, media)`, which returns a dictionary of tensors",
        )
    if not (spec.flops_per_item > 0 and spec.revision and spec.key):
        yield subject.fault(
            "its card has a key, a revision and flops_per_item",
            f"key={spec.key!r}, revision={spec.revision!r}, flops_per_item={spec.flops_per_item}",
            "count 2 x multiply-adds of one item at full size (torch.utils.flop_counter)",
        )
    if spec.weights and not hasattr(built, "load_official"):
        yield subject.fault(
            "the weights on its card can be loaded",
            "no load_official(state) method",
            "write one: `return load_state(self, state, rename=...)` of omnibind.weights",
        )
    for word in _unsaid(spec):
        yield subject.fault(
            f"its note says that the {word} of a hub file is not known",
            f"a hub reference without it, and the note {spec.note!r}",
            "write hub:owner/name@COMMIT/path#sha256=HEX, or say in `note` what is unknown",
        )


def counts_its_parameters(subject: Subject) -> Iterator[Fault]:
    """At full size the network has as many parameters as the card says."""
    found = _count(subject.on_meta("full"))
    if found != subject.spec.params:
        yield subject.fault(
            f"params={subject.spec.params:_} on its card",
            f"{found:_} parameters at full size",
            f"write params={found:_}",
        )


def tiny(subject: Subject, most_params: int, most_seconds: float) -> Iterator[Fault]:
    """The tiny size is small, and built at once."""
    started = perf_counter()
    count = _count(subject.another())
    seconds = perf_counter() - started
    if count > most_params or seconds > most_seconds:
        yield subject.fault(
            f"at tiny size at most {most_params:_} parameters, built in {most_seconds:g} s",
            f"{count:_} parameters, {seconds:.1f} s",
            "fewer layers and narrower ones when size == 'tiny'; it needs no files",
        )


def _references(space: SpaceSpec) -> Iterator[str]:
    yield from space.projectors.values()
    for encoder in space.encoders.values():
        yield from _files_of(encoder)


def _files_of(encoder: EncoderSpec) -> Iterator[str]:
    yield from encoder.weights
    yield from encoder.assets.values()


def _unsaid(encoder: EncoderSpec) -> list[str]:
    """What neither the hub references of a card nor its note tell."""
    files = [parse(text) for text in _files_of(encoder)]
    targets = [(file, TARGET.fullmatch(file.target)) for file in files if file.kind == "hub"]
    unknown = {
        "checksum": any(file.sha256 is None for file, _ in targets),
        "revision": any(hub and not COMMIT.fullmatch(hub["revision"]) for _, hub in targets),
    }
    return [word for word, missing in unknown.items() if missing and word not in encoder.note]


def _readable(text: str) -> None:
    reference = parse(text)
    if reference.kind == "hub" and not TARGET.fullmatch(reference.target):
        raise Fault(
            f"the reference {text!r} pins a file of a hub repository",
            found="no owner/name@revision/path",
            next_step="write hub:owner/name@REVISION/path#sha256=HEX",
        )
    if reference.kind in ("package", "module") and "/" not in reference.target:
        raise Fault(
            f"the reference {text!r} names a file",
            found="a package without a path inside",
            next_step=f"write {reference.kind}:{reference.target}/path/inside",
        )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
