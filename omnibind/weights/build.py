"""From an encoder card to a network that can run: random at any size, or with its weights."""

from __future__ import annotations

import threading
import warnings
import zlib
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from omnibind.errors import OmnibindError, PluginError, WeightsError
from omnibind.specs import EncoderSpec, Size, resolve
from omnibind.weights.initial import initialised
from omnibind.weights.meta import Weightless
from omnibind.weights.placement import place
from omnibind.weights.recorded import UnrecordableError
from omnibind.weights.references import locate
from omnibind.weights.state import LoadReport, State, read_state

__all__ = ["Weights", "build_encoder", "lay_out", "merged_state", "seeded", "skeleton"]

Weights = Literal["official", "random"]
SEEDING = threading.Lock()  # torch has one random state, and encoders are built by many threads


def build_encoder(
    spec: EncoderSpec,
    *,
    size: Size = "full",
    weights: Weights = "official",
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    products: torch.dtype | None = None,
    drawn_on: torch.device | None = None,
) -> nn.Module:
    """Makes an encoder in eval mode, without gradients.

    Args:
        spec: its card.
        size: `tiny` is the same architecture at toy width; it has no published weights and
            is always random.
        weights: `official` loads the card's references; `random` keeps a seeded initialisation
            and needs no file at any size.
        seed: of the random initialisation, together with the key.
        device: where it is to be; weights go there, or are drawn there, tensor by tensor. Random
            ones are the same for the same seed on the same kind of device.
        dtype: of its numbers. By default published weights keep their own on an accelerator
            (the wider one of a mixed file) and become float32 on a CPU; random ones stay as the
            builder made them.
        products: of the weights of layers that multiply matrices, where theirs is another (see
            `omnibind.weights.placement.dtypes`); such a network runs under `torch.autocast`.
        drawn_on: where random weights are drawn; by default on `device`. For a network that waits
            on the host and has to be what it would be on an accelerator.

    Raises:
        WeightsError: a file is missing or does not fit, or a tensor stays empty.
        PluginError: the card names no callable that makes an `nn.Module`, or the plugin's code
            fails, or moves what it makes.
    """
    if size == "tiny" or weights == "random":
        module = _random(spec, size, seed, torch.device(device), dtype, products, drawn_on)
    else:
        module = _with_weights(spec, torch.device(device), dtype, products)
    return module.eval().requires_grad_(False)


def lay_out(spec: EncoderSpec, *, size: Size = "full") -> nn.Module:
    """An encoder wholly on the meta device, without files: to count and to look at.

    Raises:
        PluginError: the card names no callable that makes an `nn.Module`.
    """
    with _named(spec, f"the builder {spec.build!r}"), torch.device("meta"):
        return _make(spec, size, {})


def skeleton(spec: EncoderSpec, *, size: Size = "full", weights: Weights = "official") -> nn.Module:
    """An encoder that can preprocess but not run: no weights, its buffers and assets are real.

    Raises:
        WeightsError: an asset is missing.
        PluginError: the card names no callable that makes an `nn.Module`.
    """
    without_files = size == "tiny" or weights == "random"
    assets = (
        {}
        if without_files
        else {name: locate(reference) for name, reference in spec.assets.items()}
    )

    def bare() -> nn.Module:
        with _named(spec, f"the builder {spec.build!r}"), Weightless():
            return _make(spec, size, assets)

    return seeded(bare, spec.key, 0).eval().requires_grad_(False)


def seeded(
    make: Callable[[], nn.Module], name: str, seed: int, device: torch.device | None = None
) -> nn.Module:
    """Runs a constructor with a random state of its own: same name and seed, same weights.

    Args:
        make: the constructor.
        name, seed: say what is drawn.
        device: on which it draws too, besides the CPU.
    """
    others = [device] if device is not None and device.type == "cuda" else []
    with SEEDING, torch.random.fork_rng(devices=others):
        torch.manual_seed(zlib.crc32(name.encode()) + seed)
        return make()


def merged_state(references: Iterable[str]) -> dict[str, Tensor]:
    """The tensors of several references as one dictionary.

    Raises:
        WeightsError: a key that two files claim.
    """
    merged: dict[str, Tensor] = {}
    for reference in references:
        state = read_state(locate(reference))
        both = merged.keys() & state.keys()
        if both:
            raise WeightsError(
                f"the tensors of {reference!r} beside those of the card's other files",
                found=f"keys that both have: {', '.join(sorted(both)[:5])}",
                next_step="rename them in the file that the plugin ships",
            )
        merged.update(state)
    return merged


def _random(
    spec: EncoderSpec,
    size: Size,
    seed: int,
    device: torch.device,
    dtype: torch.dtype | None,
    products: torch.dtype | None,
    drawn_on: torch.device | None,
) -> nn.Module:
    """Random weights; they are made on the host as a whole only where a constructor needs that."""

    def make() -> nn.Module:
        return _make(spec, size, {})

    source = drawn_on or device
    only_cpu = device.type == source.type == "cpu"
    as_made = {dtype, products} <= {None, torch.float32} and only_cpu
    if not as_made and device.type != "meta":
        try:
            return seeded(
                lambda: initialised(make, device, dtype, products, drawn_on=source),
                spec.key,
                seed,
                source,
            )
        except UnrecordableError as error:
            warnings.warn(
                f"random weights of {spec.key!r} are made on the host as a whole: {error}",
                stacklevel=2,
            )
    with _named(spec, f"the builder {spec.build!r}"):
        module = seeded(make, spec.key, seed)
    _refuse_moved(spec, module)
    place(module, device, dtype, products)
    return module


def _with_weights(
    spec: EncoderSpec,
    device: torch.device,
    dtype: torch.dtype | None,
    products: torch.dtype | None,
) -> nn.Module:
    module = skeleton(spec)
    load = cast(
        "Callable[[Mapping[str, Tensor]], object] | None",
        getattr(module, "load_official", None),
    )
    if load is None or not spec.weights:
        raise WeightsError(
            f"published weights for the encoder {spec.key!r}",
            found="no load_official method" if load is None else "no weights on its card",
            next_step="use weights='random', or ask the plugin's author",
        )
    state = merged_state(spec.weights)
    with _named(spec, f"load_official of {spec.build!r}"):
        report = load(state)
    _refuse_empty(spec, module)
    if not isinstance(report, LoadReport):
        raise PluginError(
            f"a LoadReport of load_official of the encoder {spec.key!r}",
            found=type(report).__name__,
            next_step="return what omnibind.weights.load_state gives",
        )
    place(module, device, dtype or _precision(state, report, device), products)
    return module


def _precision(state: State, report: LoadReport, device: torch.device) -> torch.dtype:
    """Ours: that of the used tensors on an accelerator, and float32 on a CPU."""
    used = [state[key] for key in report.used if key in state]
    kinds = {tensor.dtype for tensor in used if tensor.is_floating_point()}
    if device.type == "cpu" or not kinds:
        return torch.float32
    return reduce(torch.promote_types, kinds)


def _refuse_empty(spec: EncoderSpec, module: nn.Module) -> None:
    named = [*module.named_parameters(), *module.named_buffers()]
    empty = [name for name, tensor in named if tensor.is_meta]
    if empty:
        raise WeightsError(
            f"every tensor of the encoder {spec.key!r} to have a value",
            found=f"none for {', '.join(empty[:8])}",
            next_step="fill it in load_official, or make the buffer from numbers when building",
        )


def _refuse_moved(spec: EncoderSpec, module: nn.Module) -> None:
    """A constructor makes its tensors where torch makes them."""
    named = [*module.named_parameters(), *module.named_buffers()]
    usual = {"cpu", torch.get_default_device().type}
    for name, tensor in named:
        if tensor.device.type not in usual:
            raise PluginError(
                f"the builder {spec.build!r} of the encoder {spec.key!r}",
                found=f"{name} on {tensor.device}: it moves itself",
                next_step="leave devices to the engine: no .to(), .cuda() or .cpu() in the plugin",
            )


@contextmanager
def _named(spec: EncoderSpec, part: str) -> Generator[None]:
    """Errors of a plugin's own code say whose they are; what stands for itself stays as it is."""
    try:
        yield
    except (OmnibindError, UnrecordableError, MemoryError, torch.OutOfMemoryError):
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit too, which would end the program without a word
        package = spec.build.partition(":")[0].partition(".")[0]
        raise PluginError(
            f"{part} of the encoder {spec.key!r}",
            found=f"{type(error).__name__}: {error}",
            next_step=f"mend the plugin {package}; the engine builds without memory too, and moves "
            "what was built: no .to(), .cuda() or .cpu() in it",
        ) from error


def _make(spec: EncoderSpec, size: Size, assets: Mapping[str, Path]) -> nn.Module:
    module = resolve(spec.build)(size, assets)
    if not isinstance(module, nn.Module):
        raise PluginError(
            f"the builder {spec.build!r} of the encoder {spec.key!r}",
            found=f"{type(module).__name__}, not an nn.Module",
            next_step="return the network",
        )
    return module
