"""`omnibind.scaffold`: a new plugin loads and passes its tests as it was written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from omnibind.errors import SetupError
from omnibind.plugins import load_registry
from omnibind.scaffold import render

Install = Callable[[Path], Path]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A rendered plugin, with what `pip install -e` would leave beside it."""
    made = render("my-own", tmp_path)[0].parent
    project = tomllib.loads((made / "pyproject.toml").read_text())["project"]
    info = made / "omnibind_plugin_my_own-0.1.0.dist-info"
    info.mkdir()
    facts = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(facts)
    points = [f"{name} = {value}" for name, value in project["entry-points"]["omnibind"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[omnibind]", *points]))
    return made


def _run(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(package),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMNIBIND_OFFLINE": "1",
    }
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=package, env=environment, capture_output=True, text=True, check=False
    )


def test_it_writes_five_files_and_says_which(tmp_path: Path) -> None:
    made = render("mine", tmp_path / "new")
    package = tmp_path / "new" / "omnibind-plugin-mine"
    assert [str(path.relative_to(package)) for path in made] == [
        "pyproject.toml",
        "README.md",
        "omnibind_plugin_mine/__init__.py",
        "omnibind_plugin_mine/encoder.py",
        "tests/test_mine.py",
    ]
    assert not any("$" in path.read_text() for path in made)


def test_the_plugin_is_short(tmp_path: Path) -> None:
    code = [path for path in render("mine", tmp_path) if path.parent.name == "omnibind_plugin_mine"]
    lines = [line for path in code for line in path.read_text().splitlines() if line.strip()]
    assert len(code) == 2
    assert 35 <= len(lines) <= 60


def test_a_new_plugin_passes_its_tests_at_once(package: Path) -> None:
    done = _run(package, "-m", "pytest", "-q", "-W", "error", "-p", "no:dash", "-p", "no:cov")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"20 passed in \S+", done.stdout.splitlines()[-1])


def test_a_new_plugin_is_found_once_installed_and_imports_no_torch(package: Path) -> None:
    code = (
        "import sys; from omnibind.plugins import registry; "
        "assert 'my-own' in registry().spaces, registry().failures; "
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    done = _run(package, "-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr


def test_its_entry_point_loads(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(package)
    (info,) = package.glob("*.dist-info")
    known = load_registry([*Distribution.at(info).entry_points], strict=True)
    assert known.plugins[0].distribution == "omnibind-plugin-my-own"
    assert known.plugins[0].provides == {"SpaceSpec": ("my-own",)}
    assert sorted(known.encoders()) == ["my-own-image", "my-own-text"]


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("Mine", "mine"),
        ("my_space", "my-space"),
        ("omnibind-plugin-mine", "mine"),
        ("a--b", "a-b"),
        ("-x", "x"),
        ("../evil", "evil"),
        ("3d", "my-space"),
        ("", "my-space"),
        ("ü", "my-space"),
        ("builtin", "my-space"),
    ],
)
def test_a_name_that_will_not_do_is_refused_with_one_that_will(
    name: str, instead: str, tmp_path: Path
) -> None:
    with pytest.raises(SetupError) as refused:
        render(name, tmp_path)
    assert refused.value.next_step == f"omnibind new-plugin {instead}"
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (kept, *_) = render("mine", tmp_path)
    kept.write_text("precious")
    with pytest.raises(SetupError, match="a folder with files in it"):
        render("mine", tmp_path)
    assert kept.read_text() == "precious"
    (tmp_path / "omnibind-plugin-other").write_text("a file")
    with pytest.raises(SetupError, match="nothing is overwritten"):
        render("other", tmp_path)


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "omnibind-plugin-mine").mkdir()
    assert len(render("mine", tmp_path)) == 5
