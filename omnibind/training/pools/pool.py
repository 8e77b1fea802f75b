"""Which items `--pool image=PHOTOS` names, how many there are, and whether they have changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from glob import glob, has_magic
from pathlib import Path

from omnibind.errors import PoolError, UnknownNameError
from omnibind.specs import Modality
from omnibind.training.pools import manifest, webdataset
from omnibind.training.pools.folder import folder_items
from omnibind.training.pools.lines import line_items
from omnibind.training.pools.listed import Listed, Unlisted, listed_file
from omnibind.training.pools.manifest import manifest_items
from omnibind.training.pools.webdataset import archive_items

__all__ = ["Pool", "Survey", "parse_pool", "survey"]

MAGIC = re.compile(r"[*?[]")
LINES = (".txt", ".md", "")
"""Endings of files of lines, where the modality is not said."""
Reader = Callable[[Path, Modality], Iterator[Listed | Unlisted]]


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Items of one modality.

    Attributes:
        modality: its card.
        where: a folder, manifest, archive, file of lines, one item, or a quoted glob of these.
        mixed: items of other modalities lie there too, and are passed over.
        apart: a folder whose files are no items, because `omnibind bind` writes there.
    """

    modality: Modality
    where: str
    mixed: bool = False
    apart: Path | None = None

    def items(self) -> Iterator[Listed | Unlisted]:
        """Lists its items, in the same order every time; nothing is held.

        Raises:
            PoolError: there is nothing at that place, or it cannot be read as a pool.
        """
        for path in self._paths():
            yield from self._reader(path)(path, self.modality)

    def _paths(self) -> list[Path]:
        path = Path(self.where).expanduser()
        if path.exists():
            return [path]
        found = sorted(glob(str(path), recursive=True)) if has_magic(self.where) else []
        if found:
            return [Path(name) for name in found if not self._apart(Path(name))]
        raise PoolError(
            f"the {self.modality.name} pool {self.where}",
            found="no such file or folder",
            next_step="correct the path; quote a glob so that the shell leaves it alone",
        )

    def _apart(self, path: Path) -> bool:
        """Whether a glob found it where `bind` writes, and does not itself begin there."""
        if self.apart is None:
            return False
        begin = Path(MAGIC.split(str(Path(self.where).expanduser()), maxsplit=1)[0] + "x").parent
        place = self.apart.resolve()
        return path.resolve().is_relative_to(place) and not begin.resolve().is_relative_to(place)

    def _reader(self, path: Path) -> Reader:
        name = path.name.lower()
        if path.is_dir():
            return partial(folder_items, apart=self.apart)
        if name.endswith(manifest.ENDINGS):
            return partial(manifest_items, mixed=self.mixed)
        if name.endswith(webdataset.ENDINGS):
            return archive_items
        if path.suffix.lower() in self.modality.extensions and self.modality.name != "text":
            return _one_item
        if self.modality.name == "text" and not (self.mixed and path.suffix.lower() not in LINES):
            return line_items
        if self.mixed:
            return _nothing
        kinds = (*manifest.ENDINGS, *webdataset.ENDINGS, *self.modality.extensions)
        raise PoolError(
            f"the {self.modality.name} pool {path}",
            found=f"a file with the ending {path.suffix!r}",
            next_step=f"a folder, or a file with one of {', '.join(kinds)}",
        )


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What the pools of one modality list, before anything is read.

    Attributes:
        count: items, those that cannot be listed included.
        fingerprint: changes when an item is added, removed or changed.
    """

    count: int
    fingerprint: str


def parse_pool(text: str, modalities: Mapping[str, Modality]) -> Pool:
    """Reads `MODALITY=WHERE`.

    Raises:
        PoolError: it is not of that form.
        UnknownNameError: no such modality is installed.
    """
    name, equals, where = text.partition("=")
    if not (equals and name and where):
        raise PoolError(
            f"the pool {text!r}",
            found="no MODALITY=WHERE",
            next_step="for example image=photos/, audio=sounds.parquet, text=captions.txt",
        )
    if name not in modalities:
        raise UnknownNameError(
            "modality", name, modalities, next_step="write MODALITY=WHERE with one of these"
        )
    return Pool(modality=modalities[name], where=where)


def survey(pools: Iterable[Pool]) -> Survey:
    """Lists pools once, reading no more than names, sizes and times (and lines of text)."""
    count, digest = 0, hashlib.blake2b(digest_size=16)
    for pool in pools:
        for item in pool.items():
            count += 1
            state = item.state if isinstance(item, Listed) else "unlisted"
            digest.update(f"{item.source}\0{state}\n".encode("utf-8", "backslashreplace"))
    return Survey(count=count, fingerprint=digest.hexdigest())


def _one_item(path: Path, modality: Modality) -> Iterator[Listed | Unlisted]:
    yield listed_file(path.absolute())


def _nothing(path: Path, modality: Modality) -> Iterator[Listed | Unlisted]:
    return iter(())
