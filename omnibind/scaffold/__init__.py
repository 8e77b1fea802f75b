"""A new plugin: a pip package with a small working space that passes its tests at once."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

import omnibind
from omnibind.errors import SetupError

__all__ = ["render"]

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
PREFIX = "omnibind-plugin-"
RESERVED = ("builtin", "plugin")


def render(name: str, folder: Path = Path()) -> list[Path]:
    """Writes the pip package `omnibind-plugin-<name>`.

    Args:
        name: what comes after `omnibind-plugin-`; lower case, digits, single dashes.
        folder: where the folder `omnibind-plugin-<name>` is made.

    Returns:
        the files that were written; the first is `pyproject.toml`, beside which the others lie.

    Raises:
        SetupError: no usable name, or something is there already.
    """
    _check_name(name)
    package = folder / f"{PREFIX}{name}"
    _check_free(package)
    module = f"omnibind_plugin_{name.replace('-', '_')}"
    words = {
        "name": name,
        "module": module,
        "title": "".join(word.capitalize() for word in name.split("-")),
        "version": omnibind.__version__,
    }
    template = files("omnibind.scaffold") / "template"
    targets = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "package/__init__.py": f"{module}/__init__.py",
        "package/encoder.py": f"{module}/encoder.py",
        "tests/test_plugin.py": f"tests/test_{name.replace('-', '_')}.py",
    }
    return [
        _write(template / f"{source}.txt", package / target, words)
        for source, target in targets.items()
    ]


def _check_name(name: str) -> None:
    if NAME.fullmatch(name) and name not in RESERVED and not name.startswith(PREFIX):
        return
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix(PREFIX)).strip("-")
    usable = bool(NAME.fullmatch(plain)) and plain not in RESERVED
    raise SetupError(
        f"a plugin named {name!r}",
        found="a name that is no lower-case letters, digits and single dashes after a letter"
        if name not in RESERVED
        else "a name that omnibind keeps for itself",
        next_step=f"omnibind new-plugin {plain if usable else 'my-space'}",
    )


def _check_free(package: Path) -> None:
    if package.is_dir() and not any(package.iterdir()):
        return
    if package.exists() or package.is_symlink():
        raise SetupError(
            f"a new plugin in {package}",
            found="a folder with files in it" if package.is_dir() else "a file",
            next_step="choose another name or folder, or move it away: nothing is overwritten",
        )


def _write(source: Traversable, target: Path, words: dict[str, str]) -> Path:
    text = Template(source.read_text(encoding="utf-8")).substitute(words)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8", newline="\n")
    return target
