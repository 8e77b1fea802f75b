"""The wheels of core and starter plugin hold all that is needed, outside of the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STARTER = ROOT / "plugins" / "omnibind-plugin-starter"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where both wheels are installed, apart from the checkout."""
    folder = tmp_path_factory.mktemp("wheels")
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT), str(STARTER))
    wheels = sorted(map(str, folder.glob("*.whl")))
    _pip("install", "--no-deps", "--no-index", "--target", str(folder / "site"), *wheels)
    return folder / "site"


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _python(site: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=site.parent,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_installed_plugin_is_found_and_its_files_are_there(site: Path) -> None:
    shown = _python(
        site,
        "import json, omnibind, omnibind.plugins as p; k = p.registry();"
        "refs = [r for s in k.spaces.values() for e in s.encoders.values() for r in e.weights"
        "        if r.startswith('module:')];"
        "refs += [r for s in k.spaces.values() for r in s.projectors.values()];"
        "refs += [r.checkpoint for r in k.recipes.values() if r.checkpoint];"
        "from omnibind.weights import locate;"
        "print(json.dumps([omnibind.__file__, list(k.recipes), [str(locate(r)) for r in refs]]))",
    )
    package, recipes, files = json.loads(shown)
    assert Path(package).is_relative_to(site)
    assert "starter" in recipes
    assert files
    assert all(Path(file).is_relative_to(site) for file in files if "starter" in file)


def test_the_installed_package_embeds_texts(site: Path) -> None:
    shown = _python(
        site,
        "import omnibind; c = omnibind.load('starter').compare(['a cat'], ['a kitten', 'a truck']);"
        "print(bool(c[0, 0] > c[0, 1]))",
    )
    assert shown.strip() == "True"


def test_data_files_of_the_core_are_in_its_wheel(site: Path) -> None:
    data = {p.suffix for p in (site / "omnibind").rglob("*") if p.suffix not in (".py", ".pyc", "")}
    assert {".html", ".css", ".js"} <= data
