"""One self-contained HTML page: the template, with everything it shows as JSON inside."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

__all__ = ["write_page"]

PARTS = ("page.css", "shapes.js", "heatmap.js", "page.js")


def write_page(path: Path, shown: Mapping[str, Any]) -> None:
    """Writes the page; its folder is made. A page that is there is whole: it replaces at once.

    Whatever the user wrote (concepts, texts, credits, names of files and spaces) is only in the
    JSON, where `<` is escaped, and `page.js` puts it on the page as text nodes alone.

    Args:
        path: of the HTML file.
        shown: plain JSON; `page.js` says what it reads.
    """
    folder = files("omnibind.demo")
    content = {name: (folder / name).read_text(encoding="utf-8") for name in PARTS}
    content["data"] = _for_script(shown)
    template = (folder / "page.html").read_text(encoding="utf-8")
    page = re.sub(r"\{\{([\w.]+)\}\}", lambda match: content[match[1]], template)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(page, encoding="utf-8")
    part.replace(path)


def _for_script(shown: Mapping[str, Any] | Sequence[Any]) -> str:
    """JSON that no HTML parser can leave early and every JavaScript parser reads."""
    text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
