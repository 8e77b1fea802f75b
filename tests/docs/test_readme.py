"""The README's Python runs as it stands, on the real starter spaces."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_ten_lines_of_python_find_the_cat(monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    exec(block, names)
    found = names["found"]
    assert found.rows.shape == (4, 384)
    assert found.errors == ()
    cat, truck = names["model"].compare([names["media"] / "cat.jpg"], ["a cat", "a truck"])[0]
    assert cat > truck


def test_links_of_the_readme_lead_to_files() -> None:
    links = re.findall(r"\]\(([^):]+)\)", (ROOT / "README.md").read_text())
    assert links
    missing = [link for link in links if not (ROOT / link).exists()]
    assert missing == []
