"""The demo counts what finds what, says what is missing, and writes one page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import omnibind
from omnibind.demo import DemoResult, default_media, figures_table, run
from omnibind.engine import Engine
from omnibind.errors import SetupError
from omnibind.testing import ToySpace, toy_recipe, toy_registry


@pytest.fixture(scope="module")
def result(
    media: Path, model: omnibind.Embedder, tmp_path_factory: pytest.TempPathFactory
) -> DemoResult:
    return run(media, tmp_path_factory.mktemp("page") / "new" / "demo.html", recipe=model)


def _shown(page: Path) -> dict:
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def _changed(media: Path, folder: Path, **changes: object) -> Path:
    """The folder again, with fields of its first entry changed; None takes one away."""
    entries = json.loads((media / "manifest.json").read_text())
    merged = {**entries[0], **changes}
    entries[0] = {key: value for key, value in merged.items() if value is not None}
    for path in media.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "manifest.json").write_text(json.dumps(entries))
    return folder


def test_every_modality_is_asked_by_every_other(result):
    assert len(result.table) == 12
    assert (result.items, result.concepts, result.errors, result.degraded) == (12, 3, (), ())
    assert all(found.recall[1].chance == pytest.approx(1 / 3) for _, _, found in result.table)


def test_the_table_is_for_a_console_and_the_result_is_json(result):
    console = Console(width=100, file=StringIO())
    console.print(figures_table(result))
    assert "points" in console.file.getvalue()
    assert json.loads(json.dumps(result.to_json()))["table"][0]["from"] == "text"


def test_the_page_loads_nothing_from_anywhere(result):
    wanted: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag, attrs):
            wanted.extend(value for name, value in attrs if name in ("src", "href", "srcset"))

    text = result.page.read_text(encoding="utf-8")
    Links().feed(text)
    assert wanted == ["data:,"]
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\(", text)


def test_what_users_wrote_is_data_and_never_markup(result):
    text = result.page.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert "<script>alert(2)" not in text
    shown = _shown(result.page)
    assert shown["items"][0]["concept"] == "</script><img src=x onerror=alert(1)>"
    assert shown["items"][2]["concept"] == "tap {{data}}"


def test_each_item_has_its_weights_and_something_to_look_at(result):
    for item in _shown(result.page)["items"]:
        assert sum(item["weights"].values()) == pytest.approx(1, abs=1e-3)
        assert item.keys() & {"words", "picture", "sound", "cloud"}


def test_a_bad_item_is_said_and_the_others_are_shown(media, model, tmp_path):
    folder = _changed(media, tmp_path)
    (folder / "0.png").write_bytes(b"no picture")
    result = run(folder, tmp_path / "demo.html", recipe=model)
    (error,) = result.errors
    assert (error.stage, result.items) == ("decode", 11)
    assert "0.png" in _shown(result.page)["errors"][0]["item"]


def test_a_modality_that_the_recipe_cannot_read_is_left_out_aloud(media, tmp_path):
    space = ToySpace("toy", modalities=("text", "image"))
    known = toy_registry(space, toy_recipe("toys", [space]))
    model = omnibind.load("toys", engine=Engine(device="cpu", size="tiny"), known=known)
    result = run(media, tmp_path / "demo.html", recipe=model)
    assert set(result.left_out) == {"audio", "points"}
    assert len(result.table) == 2


def test_progress_counts_every_item(media, model, tmp_path):
    seen: list[tuple[int, int]] = []
    run(media, tmp_path / "demo.html", recipe=model, progress=lambda *step: seen.append(step))
    assert seen == [(n, 12) for n in range(1, 13)]


def test_the_page_is_shown_in_a_browser_when_asked(media, model, tmp_path, monkeypatch):
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    page = run(media, tmp_path / "demo.html", recipe=model, open_browser=True).page
    assert shown == [page.as_uri()]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": "../../elsewhere.png"}, "outside"),
        ({"image": 3}, "not a string"),
        ({"concept": " "}, "no concept"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(media, model, tmp_path, changes, said):
    with pytest.raises(SetupError, match=said):
        run(_changed(media, tmp_path, **changes), tmp_path / "demo.html", recipe=model)


@pytest.mark.parametrize("content", [None, "{", "{}", "[]"])
def test_a_folder_without_a_list_of_concepts_is_refused(model, tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(SetupError, match=r"write manifest\.json"):
        run(tmp_path, tmp_path / "demo.html", recipe=model)


def test_one_modality_alone_is_no_demo(model, tmp_path):
    entries = [{"concept": "cat", "text": "a cat"}, {"concept": "dog", "text": "a dog"}]
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    with pytest.raises(SetupError, match="rows of text"):
        run(tmp_path, tmp_path / "demo.html", recipe=model)


def test_the_checkout_brings_media_and_a_wheel_says_what_to_give(tmp_path, monkeypatch):
    assert (default_media() / "manifest.json").is_file()
    monkeypatch.setattr(omnibind, "__file__", str(tmp_path / "omnibind" / "__init__.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError, match="--media"):
        default_media()
