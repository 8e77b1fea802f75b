"""Cards: what a plugin says about modalities, encoders, spaces and recipes. No torch in here.

A card is a frozen, keyword-only dataclass. Code that needs torch is named by a reference
`"package.module:attribute"`, which is imported only when somebody builds or loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, runtime_checkable

from omnibind.errors import PluginError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Command",
    "Dataset",
    "Encoder",
    "EncoderSpec",
    "Long",
    "Modality",
    "Precision",
    "Recipe",
    "Size",
    "Slot",
    "SpaceSpec",
    "resolve",
]

Size = Literal["full", "tiny"]
Long = Literal["windows", "official"]
"""What becomes of media longer than an encoder's clip.

`windows`: windows spread over all of it, and the mean of their rows. `official`: what the encoder's
authors do, with nothing left to chance.
"""
Precision = Literal["float32", "bfloat16"]
"""The narrowest numbers that a network's matrix products bear; see `omnibind.engine.precision`."""
EMPTY: Mapping[str, Any] = MappingProxyType({})


@runtime_checkable
class Encoder(Protocol):
    """One network, one modality: what a plugin author writes (an `nn.Module`).

    Optional methods:

    * `collate(samples) -> dict`, where stacking will not do. Beside a `finish` it may be handed
      tensors on the device.
    * `finish(tensors) -> dict`: the rest of preprocessing, where it is the same arithmetic for all
      items: mel spectrograms, the scale of pixels. It is handed a batch on the network's device
      (accelerators) or one sample on the CPU, without an item axis (CPUs), so it counts axes from
      the end. Always float32, never under autocast; what it is handed is shared, so it writes
      into nothing. It may read the network's buffers.
    * `load_official(state) -> LoadReport`, which maps the published checkpoint's keys
      (see `omnibind.weights.load_state`).
    """

    def preprocess(self, media: Any) -> dict[str, Tensor]:
        """Turns one decoded item into tensors: CPU, thread-safe, deterministic, no device."""
        ...

    def __call__(self, batch: dict[str, Tensor]) -> Tensor:
        """Turns a batch into unit rows `[item, dim]`, float32 or the network's own dtype."""
        ...


@dataclass(frozen=True, kw_only=True)
class Modality:
    """How a path, bytes or an object in memory becomes decoded media.

    Attributes:
        name: `image`, `audio`, ... as used in every other card.
        extensions: lower-case file endings with their dot.
        load: `"module:function"`, `load(source) -> media`; raises MediaError.
        claims: `"module:function"`, `claims(object) -> bool`: is this object mine?
        digest: `"module:function"`, `digest(media) -> bytes`: equal media, equal digest.
        units: what the decoded media holds, with units, for people.
        cut: `"module:function"`, `cut(media, seconds) -> [(start in s, media), ...]`: windows of
            one length, of media that last; empty for others.
    """

    name: str
    extensions: tuple[str, ...]
    load: str
    claims: str
    digest: str
    units: str
    cut: str = ""


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """One network of one modality.

    Attributes:
        key: names the *weights*; two spaces that share a network carry the same key.
        modality: the modality it reads.
        dim: width of its rows.
        params: number of parameters at full size.
        flops_per_item: floating-point operations an item (2 x multiply-add) at full size.
        build: `"module:function"`, `build(size, assets) -> nn.Module` with its own random
            initialisation; works under `torch.device("meta")`. At size `tiny` the network is
            the same architecture at toy width. The mapping `assets` is empty at that size and
            with random weights: the network is built without any file then.
        weights: references (see `omnibind.weights`) whose tensors are merged and handed to
            `load_official`.
        assets: further files by name (vocabularies, label lists), resolved to paths.
        sample: encoders of one modality with the same name here preprocess and finish alike: the
            engine makes one sample of an item for all of them. Empty: this one's own.
        long: whether the network has a setting `long` (see `Long`); rows depend on it.
        precision: `bfloat16` where rows of bfloat16 products have a cosine of at least 0.999 with
            those of float32 (`omnibind bench precision`); `float32` where they have not, and the
            note says so, or where nobody has measured it.
        revision: changes whenever rows change; part of every cache key.
        note: facts that are not certain, said aloud on the card.
    """

    key: str
    modality: str
    dim: int
    params: int
    flops_per_item: float
    build: str
    weights: tuple[str, ...]
    assets: Mapping[str, str] = field(default_factory=dict)
    sample: str = ""
    long: bool = False
    precision: Precision = "float32"
    revision: str = "1"
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class SpaceSpec:
    """Encoders that share one set of coordinates.

    Attributes:
        name: `lower-case-with-dashes`.
        dim: width of its rows; every encoder has the same.
        encoders: by modality.
        projectors: by backbone, a weights reference to the projector file the space ships.
        licence: of the weights, SPDX where there is one.
        commercial_use: False where the licence forbids it; None where it is unclear.
        revision: of the published weights.
        paper: where the space comes from.
        training_data: what its encoders have seen.
    """

    name: str
    dim: int
    encoders: Mapping[str, EncoderSpec]
    licence: str
    commercial_use: bool | None
    revision: str
    paper: str = ""
    training_data: str = ""
    projectors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Slot:
    """What a router weighs: one space's projected row, or a fixed mix of several.

    Attributes:
        name: unique within its modality.
        parts: space -> share. The backbone's own row enters as it is, unprojected.
        normalise: whether the mixed row is scaled to unit norm before it is weighed.
    """

    name: str
    parts: Mapping[str, float]
    normalise: bool = False

    @classmethod
    def of(cls, space: str, *, normalise: bool = False) -> Slot:
        """The usual slot: one space, named after it."""
        return cls(name=space, parts={space: 1.0}, normalise=normalise)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Which spaces, slots and router inputs make a joint space. Names, never positions.

    Attributes:
        name: of the recipe, and the default name of a checkpoint bound by it.
        backbone: the space whose coordinates are the joint ones.
        joint_dim: width of a joint row.
        slots: modality -> its slots, in the routers' order.
        router_inputs: modality -> spaces whose rows are concatenated for its router.
            A modality without an entry has no router: its slots weigh by `priors`.
        temperature: modality -> factor on the sigmoid before the softmax; 1 where missing.
        priors: modality -> slot -> weight where no trained router decides; 1 where missing.
        aligned: spaces that live in the backbone's coordinates already; their rows are taken as
            they are, and no heads are trained for them. Ours.
        rotated: groups of spaces that have their coordinates in common, each carried into the
            backbone's by one rotation (`omnibind.training.rotate`) instead of by heads. Ours.
        hidden: width of a projector head's hidden layer.
        heads: query subsets the heads of a projector are trained on, by name.
        links: `"audio-text"` -> the space by whose rows items of the two modalities are paired
            for training; where it says nothing, a space that reads both is taken.
        checkpoint: a weights reference to `recipe.json` in the folder of the bound checkpoint that
            the plugin ships: its projectors and routers are loaded. Where it says nothing, they
            are the projector files of the spaces, and slots weigh by `priors`.
        source: paper or project, for people.
    """

    name: str
    backbone: str
    joint_dim: int
    slots: Mapping[str, tuple[Slot, ...]]
    router_inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    temperature: Mapping[str, float] = field(default_factory=dict)
    priors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    aligned: tuple[str, ...] = ()
    rotated: tuple[tuple[str, ...], ...] = ()
    hidden: int = 2048
    heads: tuple[str, ...] = ("mix", "A", "T", "V", "AT", "AV", "TV")
    links: Mapping[str, str] = field(default_factory=dict)
    checkpoint: str = ""
    source: str = ""

    @property
    def spaces(self) -> tuple[str, ...]:
        """Every space that a slot or a router input names, in order of first mention."""
        return tuple(dict.fromkeys(self._mentions()))

    @property
    def headless(self) -> tuple[str, ...]:
        """Spaces that no heads are trained for: the backbone, aligned and rotated ones."""
        return (self.backbone, *self.aligned, *self.rotated_spaces)

    @property
    def rotated_spaces(self) -> tuple[str, ...]:
        """The spaces of all groups in `rotated`."""
        return tuple(space for group in self.rotated for space in group)

    def _mentions(self) -> Iterator[str]:
        for slots in self.slots.values():
            for slot in slots:
                yield from slot.parts
        for inputs in self.router_inputs.values():
            yield from inputs


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Labelled items for evaluation. `load` is `"module:function"`, `load() -> items`."""

    name: str
    load: str
    licence: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """A sub-command of `omnibind`. `app` is `"module:typer_app"`, imported when it is called."""

    name: str
    app: str
    help: str


def resolve(reference: str) -> Callable[..., Any]:
    """Imports what a card names as `"package.module:attribute"`.

    Raises:
        PluginError: the reference is malformed, or the module or attribute is not there.
    """
    module_name, _, attribute = reference.partition(":")
    if not (module_name and attribute):
        raise PluginError(
            f"a card names code as {reference!r}",
            found="no 'package.module:attribute'",
            next_step="mend the card in the plugin",
        )
    try:
        return cast("Callable[..., Any]", getattr(import_module(module_name), attribute))
    except (ImportError, AttributeError) as error:
        raise PluginError(
            f"a card names code as {reference!r}",
            found=f"{type(error).__name__}: {error}",
            next_step="install what is missing, or mend the card in the plugin",
        ) from error
