"""A golden case: what its folder says, its filled checkpoint, and the plugin code that runs it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from omnibind.errors import SetupError, UnknownNameError
from omnibind.specs import resolve
from omnibind.testing.golden.fill import fill
from omnibind.weights import read_state

__all__ = ["GROUP", "Case", "Run"]

GROUP = "omnibind.golden"
Facts = dict[str, Any]
State = Mapping[str, Tensor]
Run = Callable[[Facts, Path, State, State], Mapping[str, Tensor]]

OWN: Mapping[str, str] = {
    "joint": "omnibind.testing.golden.joint:run_joint",
    "projector-head": "omnibind.testing.golden.joint:run_head",
    "resampling": "omnibind.testing.golden.resampling:run",
}
"""The cases of omnibind's own networks; those of spaces come with their plugins."""

EMPTY_ENTRIES: Mapping[str, Any] = {"int": 0, "str": "", "dict": {}}


@dataclass(frozen=True)
class Case:
    """One case folder."""

    folder: Path

    @cached_property
    def facts(self) -> Facts:
        """The content of case.json."""
        path = self.folder / "case.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SetupError(
                f"the golden case {self.folder}",
                found=f"{type(error).__name__}: {error}",
                next_step="give folders that hold a case.json",
            ) from error

    @property
    def name(self) -> str:
        """Of the case, which is also that of its output file."""
        return str(self.facts["case"])

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        """The tensors of inputs.safetensors."""
        path = self.folder / "inputs.safetensors"
        return load_file(path) if path.exists() else {}

    @property
    def expected(self) -> dict[str, Tensor] | None:
        """The original's outputs, where they are known."""
        path = self.folder / "expected.safetensors"
        return load_file(path) if path.exists() else None

    def run(self) -> Mapping[str, Tensor]:
        """Runs the case in its published layout.

        Raises:
            UnknownNameError: no plugin has code for it.
        """
        with torch.inference_mode():
            return self._run(self.facts["checkpoints"])

    def run_other_layouts(self) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        """Runs the case in each further layout that the original's loader takes, by description."""
        for entry in self.facts["checkpoints"]:
            for other in entry.get("also_accepted_by_upstream_loader", ()):
                with torch.inference_mode():
                    yield json.dumps(other), self._run([{**entry, **other}])

    def _run(self, checkpoints: list[Facts]) -> Mapping[str, Tensor]:
        return self._code()(self.facts, self.folder, self._state(checkpoints), self.inputs)

    def _code(self) -> Run:
        """The function of the plugin whose entry point is named after the case or its space."""
        codes = {**OWN, **{point.name: point.value for point in entry_points(group=GROUP)}}
        asked = [_slug(self.name), _slug(str(self.facts["space"]).partition(" (")[0])]
        begun = [name for name in codes for full in asked if f"{full}-".startswith(f"{name}-")]
        if not begun:
            raise UnknownNameError(
                "code for the golden case",
                self.name,
                codes,
                next_step=f"install the plugin of the space {self.facts['space']!r}, "
                f"or name a function under the entry-point group {GROUP!r}",
            )
        return cast("Run", resolve(codes[max(begun, key=len)]))

    def _state(self, entries: list[Facts]) -> dict[str, Tensor]:
        """The checkpoints' tensors, once through a file stored as the published one is."""
        state: dict[str, Tensor] = {}
        with TemporaryDirectory(prefix="omnibind-golden-") as folder:
            for number, entry in enumerate(entries):
                path = Path(folder) / f"{number}{_suffix(entry['file'])}"
                _save(self._filled(entry), entry, path)
                state |= read_state(path)
        return state

    def _filled(self, entry: Facts) -> dict[str, Tensor]:
        layout = json.loads((self.folder / entry["keys"]).read_text(encoding="utf-8"))["keys"]
        new_names = entry.get("rename", {})
        return {
            entry["prefix"] + new_names.get(key, key): self._tensor(key, spec, entry["seed"])
            for key, spec in layout.items()
        }

    def _tensor(self, key: str, spec: list[Any], seed: int) -> Tensor:
        shape, dtype, how = spec
        if how == "skip":
            return torch.zeros(shape, dtype=getattr(torch, dtype))
        if how.startswith("buffer:"):
            return self.inputs[how.partition(":")[2]].clone()
        return fill(key, shape, dtype, seed, how)


def _save(tensors: dict[str, Tensor], entry: Facts, path: Path) -> None:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
        return
    content: dict[str, Any] = tensors
    for name in reversed(entry["wrap"]):
        content = {name: content}
    torch.save({**_beside(entry.get("other_top_level_entries", ())), **content}, path)


def _beside(described: list[str] | tuple[()]) -> dict[str, Any]:
    """What else a published file carries, described as `epoch (int)`, with empty values."""
    found = [re.match(r"(\w+) \((\w+)", text) for text in described]
    return {match[1]: EMPTY_ENTRIES[match[2]] for match in found if match}


def _suffix(file: str) -> str:
    found = re.search(r"\.(safetensors|pth|pt|bin|ckpt)\b", file)
    return found[0] if found else ".pt"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
