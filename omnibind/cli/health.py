"""What works on this machine: Python, torch, devices, libraries, plugins, weights."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import omnibind
from omnibind.cli.files import FoundFile, look
from omnibind.cli.recipe_facts import files_of, files_of_space
from omnibind.plugins import Failure, Registry
from omnibind.weights import cache_folder

__all__ = ["Health", "examine"]

NEEDED = (
    "torch",
    "torchaudio",
    "torchvision",
    "numpy",
    "filelock",
    "pyarrow",
    "pillow",
    "soundfile",
    "av",
    "trimesh",
    "safetensors",
    "huggingface_hub",
    "jaxtyping",
    "pluggy",
    "psutil",
    "typer",
    "rich",
)
OPTIONAL = {
    "open3d": "open3d meshes and clouds in memory: pip install 'omnibind[open3d]'",
    "pytest": "the tests of plugins: pip install 'omnibind[testing]'",
    "pylance": "stores of rows, for `omnibind bind`: pip install 'omnibind[train]'",
    "faiss-cpu": "pairs of a million items and more: pip install 'omnibind[train]'",
    "prometheus-client": "metrics of running commands: pip install 'omnibind[metrics]'",
    "beartype": "shapes checked in tests: pip install 'omnibind[testing]'",
}
OTHER_NAMES = {"open3d": ("open3d", "open3d-cpu")}


@dataclass(frozen=True, kw_only=True)
class Health:
    """What was found.

    Attributes:
        system: facts about Python and the machine.
        devices: where networks can run.
        libraries: needed library -> version, or None.
        optional: optional library -> version, or what it would be good for.
        plugins: plugin -> version.
        failures: plugins that were left out.
        weights: space -> its files.
        not_whole: recipes that lack a file.
        problems: what must be mended, one sentence each.
    """

    system: dict[str, str]
    devices: tuple[str, ...]
    libraries: dict[str, str | None]
    optional: dict[str, str]
    plugins: dict[str, str]
    failures: tuple[Failure, ...]
    weights: dict[str, tuple[FoundFile, ...]]
    not_whole: tuple[str, ...]
    problems: tuple[str, ...]


def examine(known: Registry) -> Health:
    """Looks at everything; downloads and changes nothing."""
    libraries = {name: _version(name) for name in NEEDED}
    weights = {name: look([*files_of_space(space)]) for name, space in known.spaces.items()}
    absent = {f.file.reference for files in weights.values() for f in files if f.path is None}
    devices, trouble = _devices()
    problems = [f"{name} is not installed: pip install {name}" for name in NEEDED
                if libraries[name] is None]  # fmt: skip
    problems += [f"torch does not work: {trouble}"] if trouble else []
    problems += [f"the plugin {f.name!r} failed at {f.stage}: {f.reason}" for f in known.failures]
    return Health(
        system={
            "omnibind": omnibind.__version__,
            "python": f"{platform.python_version()} ({sys.executable})",
            "machine": f"{platform.platform()}, {os.cpu_count()} processors",
            "cache": str(cache_folder()),
        },
        devices=devices,
        libraries=libraries,
        optional={name: _version(name) or f"missing; {use}" for name, use in OPTIONAL.items()},
        plugins={plugin.name: plugin.version for plugin in known.plugins},
        failures=tuple(known.failures),
        weights=weights,
        not_whole=tuple(
            name
            for name, recipe in known.recipes.items()
            if absent & {file.reference for file in files_of(known, recipe)}
        ),
        problems=tuple(problems),
    )


def _version(name: str) -> str | None:
    for distribution in OTHER_NAMES.get(name, (name,)):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def _devices() -> tuple[tuple[str, ...], str]:
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - a broken torch is what this is to find
        return (), f"{type(error).__name__}: {error}"
    found = [f"cpu: {torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            found.append(f"cuda:{index}: {facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        found.append("mps")
    return tuple(found), ""
