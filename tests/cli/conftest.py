"""A site folder with a toy plugin in it, seen by this process and by subprocesses alike."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnibind.cli import main
from omnibind.engine.shared import forget_engines
from omnibind.plugins import registry
from omnibind.projectors import Linear, write_projector

TINY = ("--recipe", "toys", "--size", "tiny")


@dataclass(frozen=True)
class Site:
    """A folder on the import path, as `pip install` would fill it."""

    folder: Path

    def install(self, name: str, source: str, *, version: str = "1.0") -> None:
        """A plugin of one module."""
        (self.folder / f"{name}.py").write_text(source)
        info = self.folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[omnibind]\n{name} = {name}\n")


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The toy plugin, installed; real plugins of this machine are left out."""
    folder = tmp_path / "site"
    shutil.copytree(Path(__file__).parent / "site", folder)
    site = Site(folder)
    site.install("toybind", (folder / "toybind.py").read_text())
    files = folder / "toybind_files"
    files.mkdir()
    (files / "__init__.py").touch()
    write_projector(Linear("toy-nc", 8, 8), files / "toy-nc.safetensors", backbone="toy")
    for name in os.environ.keys() & {"OMNIBIND_STRICT", "OMNIBIND_DISABLE_PLUGINS"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMNIBIND_PLUGINS", "toybind")
    monkeypatch.setenv("OMNIBIND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMNIBIND_OFFLINE", "1")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(folder)
    yield site
    registry.cache_clear()
    forget_engines()
    for name in [name for name in sys.modules if name.startswith("toybind")]:
        del sys.modules[name]


@pytest.fixture
def make_pools(tmp_path: Path) -> Callable[[int, int], tuple[str, ...]]:
    """Writes so many pictures and texts, and gives the options that name them."""

    def make(pictures: int, texts: int) -> tuple[str, ...]:
        folder, lines = tmp_path / "pictures", tmp_path / "texts.txt"
        folder.mkdir()
        for n in range(pictures):
            pixels = np.random.default_rng(n).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{n}.png")
        lines.write_text("".join(f"{n} cats\n" for n in range(texts)))
        return "--pool", f"image={folder}", "--pool", f"text={lines}"

    return make


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder that a module's tests share, and one for what its first test has bound there."""
    return tmp_path_factory.mktemp("shared"), tmp_path_factory.mktemp("kept")


@pytest.fixture
def shared_path(kept: tuple[Path, Path]) -> Path:
    """Empty, and at the same place for all tests of a module: bindings remember paths."""
    shutil.rmtree(kept[0])
    kept[0].mkdir()
    return kept[0]


@pytest.fixture
def once(kept: tuple[Path, Path]) -> Callable[[Callable[[], Ran]], None]:
    """Runs a command in `shared_path` for the first test, and copies what it left for the rest."""

    def run(command: Callable[[], Ran]) -> None:
        folder, copy = kept
        if not any(copy.iterdir()):
            ran = command()
            assert ran.code == 0, ran.err
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("site"), dirs_exist_ok=True)
        shutil.copytree(copy, folder, dirs_exist_ok=True)  # with the dates of the files

    return run


@pytest.fixture
def omnibind(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    """Runs a command line in this process."""
    registry.cache_clear()

    def run(*words: object) -> Ran:
        monkeypatch.setenv("OMNIBIND_STRICT", "0")
        capsys.readouterr()
        code = main([str(word) for word in words])
        registry.cache_clear()
        shown = capsys.readouterr()
        return Ran(code, shown.out, shown.err)

    return run


@pytest.fixture
def process(site: Site) -> Callable[..., Ran]:
    """Runs a command line as a user does, in a process of its own."""

    def run(*words: object, given: bytes = b"") -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "omnibind.cli", *map(str, words)],
            capture_output=True,
            input=given,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run
