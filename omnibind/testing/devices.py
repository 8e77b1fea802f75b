"""Checks that an encoder leaves devices to the engine: it is built and run where it has no data."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch

from omnibind.engine.finishing import batch_of
from omnibind.specs import Encoder, resolve
from omnibind.testing.subject import Fault, Subject
from omnibind.weights import build_encoder

__all__ = [
    "builds_on_meta",
    "runs_in_half_precision",
    "runs_on_another_device",
    "source_names_no_device",
]

DEVICE = re.compile(r"(cpu|cuda|mps|xpu|hpu)(:\d+)?")
STRAYED = ("not on the expected device", "Cannot copy out of meta", "Expected all tensors")
LEAVE_IT = "leave it out: the engine moves, casts and compiles; use `device=x.device` of an input"


def builds_on_meta(subject: Subject) -> Iterator[Fault]:
    """Built under `torch.device("meta")`, no parameter takes memory."""
    module = subject.on_meta("tiny")
    real = [name for name, tensor in module.named_parameters() if not tensor.is_meta]
    if real:
        yield subject.no_meta(f"real memory for {', '.join(real[:5])}")


def runs_on_another_device(subject: Subject) -> Iterator[Fault]:
    """Moved as a whole, it runs: nothing of it stays behind on the CPU.

    The other device is `meta`, which every machine has. A network that looks at the values of its
    tensors cannot be run there; for it the source alone is checked.
    """
    samples, moved, found = subject.samples(), subject.another().to("meta"), ""
    subject.batch(samples)
    try:
        with torch.inference_mode():
            rows = cast("Encoder", moved)(batch_of(moved, samples, "meta"))
        found = "" if rows.is_meta else f"rows on {rows.device}"
    except (RuntimeError, NotImplementedError) as error:
        if any(sign in str(error) for sign in STRAYED):
            found = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    if found:
        yield subject.fault(
            "it runs on any device once the engine has moved it",
            found,
            "register_buffer what forward and finish need; "
            "make new tensors with device=x.device of an input",
        )


def runs_in_half_precision(subject: Subject) -> Iterator[Fault]:
    """All of it in bfloat16, as published files may be, and float32 from preprocess."""
    build = partial(build_encoder, size=subject.size, weights=subject.weights)
    half = replace(subject, encoder=build(subject.spec, dtype=torch.bfloat16))
    try:
        half.rows(subject.samples()[:1])
    except RuntimeError as error:
        if "type" in str(error):
            yield subject.fault(
                "it runs in half precision, in which `build_encoder` keeps files that are so",
                f"{type(error).__name__}: {str(error).splitlines()[0]}",
                "cast what preprocess made: `values.to(self.layers[0].weight.dtype)`",
            )


def source_names_no_device(subject: Subject) -> Iterator[Fault]:
    """No `.cuda()`, `.cpu()`, `.to(device)`, `torch.compile`, device names, nor salted `hash()`."""
    for path in _files(subject):
        for line, words, instead in _strays(ast.parse(path.read_text(encoding="utf-8"))):
            yield subject.fault(
                "its source leaves devices alone", f"{words} at {path.name}:{line}", instead
            )


def _files(subject: Subject) -> list[Path]:
    """The plugin's own files among those that define the builder and the network's classes."""
    builder = resolve(subject.spec.build).__module__
    top = builder.partition(".")[0]
    names = {builder, *(type(module).__module__ for module in subject.encoder.modules())}
    own = [name for name in sorted(names) if name.partition(".")[0] == top]
    return [Path(inspect.getfile(sys.modules[name])) for name in own if name in sys.modules]


def _strays(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name == "hash":
                yield node.lineno, "hash(...)", "use zlib.crc32: hash() differs from run to run"
            elif (
                name == "torch.compile"
                or name.endswith((".cuda", ".cpu"))
                or name.startswith("torch.cuda.")
                or any(_is_device(name, word) for word in _arguments(node))
            ):
                yield node.lineno, ast.unparse(node), LEAVE_IT


def _arguments(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    for value in call.args:
        yield "", value
    for keyword in call.keywords:
        yield keyword.arg or "", keyword.value


def _is_device(function: str, argument: tuple[str, ast.expr]) -> bool:
    """A device as a name in quotes anywhere, or in any form inside `.to(...)`."""
    keyword, value = argument
    moves = function.endswith(".to")
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        takes = moves or keyword == "device" or function.endswith(("torch.device", "Generator"))
        return takes and DEVICE.fullmatch(value.value) is not None
    return moves and (keyword == "device" or ast.unparse(value).split(".")[-1] == "device")
