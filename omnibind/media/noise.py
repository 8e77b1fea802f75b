"""Keeps the known chatter of decoding libraries from the user, and nothing else.

Libraries warn about damaged metadata that no row depends on. `warnings.catch_warnings` cannot be
used for that: it swaps process-wide state and is not thread-safe. `hush` puts in its own filters
while any thread decodes and takes out exactly those. Log records of the named loggers are dropped
only in threads that are decoding. The libtiff inside Pillow's wheels prints to the terminal; it is
told not to, for it also fails with an error.
"""

from __future__ import annotations

import ctypes
import logging
import re
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import PIL

_RULES = (
    # (action, message, category, module that warns)
    ("ignore", r"Image size \(\d+ pixels\) exceeds limit", Warning, r"PIL\.Image$"),
    ("ignore", "", UserWarning, r"PIL\."),
    ("ignore", "", Warning, r"<unknown>$"),  # odd literals in the header of a damaged .npy
    ("error", "string or file could not be read", DeprecationWarning, r"trimesh\."),
    ("error", "loadtxt: input contained no data", UserWarning, r"omnibind\.media\."),
)
_FILTERS = [
    (action, re.compile(message, re.I) if message else None, category, re.compile(module), 0)
    for action, message, category, module in _RULES
]
_lock = threading.Lock()
_inside = 0
_this_thread = threading.local()


@contextmanager
def hush() -> Generator[None, None, None]:
    """Silences, while the block runs, what is known to be said about damaged files."""
    _enter()
    _this_thread.depth = getattr(_this_thread, "depth", 0) + 1
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        _this_thread.depth -= 1
        _leave()


def _enter() -> None:
    global _inside
    with _lock:
        _inside += 1
        active = _active()
        if _FILTERS[0] not in active:  # another thread's catch_warnings may have dropped them
            active[:0] = _FILTERS


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if not _inside:
            active = _active()
            active[:] = [entry for entry in active if entry not in _FILTERS]


def _active() -> list[Any]:
    # Not `warnings.filterwarnings`: it would make Python forget which warnings it has shown.
    return cast("list[Any]", warnings.filters)


def _is_not_decoding(_: logging.LogRecord) -> bool:
    return not getattr(_this_thread, "depth", 0)


def quiet_libtiff() -> None:
    """Stops Pillow's own libtiff from printing; a no-op where Pillow was built another way."""
    for folder in (Path(PIL.__file__).parents[1] / "pillow.libs", Path(PIL.__path__[0], ".dylibs")):
        for library in folder.glob("libtiff*"):
            ctypes.CDLL(str(library)).TIFFSetErrorHandler(None)


for _name in ("trimesh.util", "PIL.TiffImagePlugin"):
    logging.getLogger(_name).addFilter(_is_not_decoding)
