"""Which items a command line or a caller names: files, folders, globs, lists, texts. No torch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from glob import glob, has_magic
from hashlib import blake2b
from pathlib import Path

from omnibind.errors import SetupError
from omnibind.specs import Modality

__all__ = ["Key", "Listing", "Source", "gather", "key_of"]

Key = tuple[str, bool]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One item to embed.

    Attributes:
        name: the absolute path, or the text itself.
        given: what the model gets.
        modality: what it is read as; None where its ending or its words decide.
        state: changes when the item does: size and time of a file, hash of a text.
    """

    name: str
    given: Path | str | bytes
    modality: str | None
    state: str

    @property
    def key(self) -> Key:
        """What makes it the same item when it is named again."""
        return key_of(self.name, self.state)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The items that were named, each once, in order.

    Attributes:
        sources: the items.
        passed_over: files in folders that no modality reads: ending -> how many.
        repeated: how often an item was named again.
    """

    sources: tuple[Source, ...]
    passed_over: Mapping[str, int] = field(default_factory=dict[str, int])
    repeated: int = 0


def gather(
    paths: Iterable[str | Path] = (),
    *,
    texts: Iterable[str | bytes] = (),
    lines: Iterable[str | bytes] = (),
    modalities: Mapping[str, Modality],
    modality: str | None = None,
    leave_out: Path | None = None,
) -> Listing:
    """Lists items.

    Args:
        paths: files, folders (searched through, in order of their names) and globs. A path that
            is not there is listed too: it becomes an item that fails, not a gap.
        texts: items that are the words themselves.
        lines: each is a file where one is there, else a text.
        modalities: those that are installed; a folder's other files are passed over.
        modality: read every path and line as this; in folders, files with its endings only.
        leave_out: a file that is not an item wherever it turns up, such as the table itself.

    Raises:
        SetupError: a glob without a match, or nothing at all.
    """
    chosen = [modalities[modality]] if modality else list(modalities.values())
    walk = _Walk(endings=frozenset(e for m in chosen for e in m.extensions), leave_out=leave_out)
    found = [file_source(path, modality) for path in walk.files(paths)]
    found += [_line_source(line, modality) for line in lines if line.strip()]
    found += [text_source(text) for text in texts if text.strip()]
    once: dict[Key, Source] = {}
    for source in found:
        once.setdefault(source.key, source)
    if not once:
        raise SetupError(
            "items to embed",
            found=_count(walk.passed_over) or "nothing was named",
            next_step="name files, folders or globs, or give --text, --texts FILE or - for a list",
        )
    return Listing(
        sources=tuple(once.values()),
        passed_over=dict(walk.passed_over),
        repeated=len(found) - len(once),
    )


def key_of(name: str, state: str) -> Key:
    """The same for a row of a table: a file and a text of that name are two items."""
    return name, state.startswith("text:")


def file_source(path: Path, modality: str | None = None) -> Source:
    """A file as an item; one that is not there has the state `missing`."""
    path = Path(os.path.abspath(path))
    try:
        facts = path.stat()
        state = f"file:{facts.st_size}:{facts.st_mtime_ns}"
    except (OSError, ValueError):
        state = "missing"
    return Source(name=_printable(str(path)), given=path, modality=modality, state=state)


def text_source(text: str | bytes) -> Source:
    """A text as an item; bytes that are not UTF-8 become an item that fails and says so."""
    given = _decoded(text)
    name = given.strip() if isinstance(given, str) else given.decode("utf-8", "backslashreplace")
    content = name.encode("utf-8", "surrogatepass") if isinstance(given, str) else given
    digest = blake2b(content, digest_size=16).hexdigest()
    return Source(name=_printable(name), given=given, modality="text", state=f"text:{digest}")


def _line_source(line: str | bytes, modality: str | None) -> Source:
    words = line.rstrip(b"\r\n") if isinstance(line, bytes) else line.rstrip("\r\n")
    path = Path(os.fsdecode(words))
    try:
        if modality not in (None, "text") or path.exists():
            return file_source(path, modality)
    except (OSError, ValueError):
        pass  # too long for a path, or with a NUL: a text
    text = text_source(words)
    if modality == "text" or isinstance(text.given, bytes):
        return text
    return Source(name=text.name, given=text.given, modality=None, state=text.state)


@dataclass
class _Walk:
    endings: frozenset[str]
    leave_out: Path | None
    passed_over: Counter[str] = field(default_factory=Counter[str])

    def files(self, paths: Iterable[str | Path]) -> Iterator[Path]:
        for given in paths:
            path = Path(given).expanduser()
            if path.is_dir():
                yield from self._folder(path)
            elif isinstance(given, str) and has_magic(given) and not path.exists():
                yield from self._glob(str(path))
            else:
                yield path

    def _glob(self, pattern: str) -> Iterator[Path]:
        matches = sorted(glob(pattern, recursive=True))
        if not matches:
            raise SetupError(
                f"the files that match {pattern!r}",
                found="none",
                next_step="correct the pattern; quote it so that the shell leaves it alone",
            )
        for match in map(Path, matches):
            yield from self._folder(match) if match.is_dir() else self._wanted(match)

    def _folder(self, folder: Path) -> Iterator[Path]:
        for where, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                yield from self._wanted(Path(where, name))

    def _wanted(self, path: Path) -> Iterator[Path]:
        if self.leave_out and path.absolute() == self.leave_out.absolute():
            return
        if path.suffix.lower() in self.endings and not path.name.startswith("."):
            yield path
        else:
            self.passed_over[path.suffix.lower() or path.name] += 1


def _decoded(text: str | bytes) -> str | bytes:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        return text


def _printable(name: str) -> str:
    """The name without lone surrogates, which neither Arrow nor JSON can hold."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _count(passed_over: Mapping[str, int]) -> str:
    listed = ", ".join(f"{ending} ({count})" for ending, count in sorted(passed_over.items()))
    return f"only files that no installed modality reads: {listed}" if listed else ""
