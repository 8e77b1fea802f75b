"""Which items a caller names."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnibind.errors import SetupError
from omnibind.plugins.builtin import provide_modalities
from omnibind.search import gather

MODALITIES = {modality.name: modality for modality in provide_modalities()}


def names(listing) -> list[str]:
    return [Path(source.name).name for source in listing.sources]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """b.png, a.wav, sub/c.png, notes.pdf and a hidden picture."""
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "a.wav", "sub/c.png", "notes.pdf", ".hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_a_folder_is_searched_through_in_order(folder):
    listing = gather([folder], modalities=MODALITIES)
    assert names(listing) == ["a.wav", "b.png", "c.png"]
    assert listing.passed_over == {".pdf": 1, ".png": 1}


def test_a_modality_picks_the_files_of_a_folder(folder):
    assert names(gather([folder], modalities=MODALITIES, modality="audio")) == ["a.wav"]


def test_a_file_that_is_named_is_taken_whatever_it_is(folder):
    assert names(gather([folder / "notes.pdf"], modalities=MODALITIES)) == ["notes.pdf"]


def test_a_glob_is_a_choice_of_files(folder):
    listing = gather([f"{folder}/**/*.png"], modalities=MODALITIES)
    assert names(listing) == ["b.png", "c.png"]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(folder):
    (folder / "[1].png").write_bytes(b"x")
    assert names(gather([str(folder / "[1].png")], modalities=MODALITIES)) == ["[1].png"]


def test_an_item_that_is_named_twice_is_taken_once(folder):
    listing = gather([folder, folder / "b.png"], texts=["x", " x "], modalities=MODALITIES)
    assert listing.repeated == 2


def test_a_text_and_a_file_of_one_name_are_two_items(folder):
    name = str(folder / "b.png")
    listing = gather([name], texts=[name], modalities=MODALITIES)
    assert [source.modality for source in listing.sources] == [None, "text"]


def test_a_line_is_a_file_where_one_is_there_and_words_else(folder):
    lines = [f"{folder}/b.png\n", "\n", b"a cat\r\n", "x" * 5000]
    listing = gather(lines=lines, modalities=MODALITIES)
    assert [type(s.given).__name__ for s in listing.sources] == ["PosixPath", "str", "str"]


def test_lines_may_all_be_read_as_one_modality(folder):
    listing = gather(lines=[f"{folder}/b.png"], modalities=MODALITIES, modality="text")
    assert listing.sources[0].modality == "text"
    assert listing.sources[0].given == folder / "b.png"
    missing = gather(lines=["gone"], modalities=MODALITIES, modality="image")
    assert missing.sources[0].state == "missing"


def test_a_changed_file_has_another_state(folder):
    before = gather([folder / "b.png"], modalities=MODALITIES).sources[0]
    (folder / "b.png").write_bytes(b"other")
    after = gather([folder / "b.png"], modalities=MODALITIES).sources[0]
    assert before.key == after.key
    assert before.state != after.state


def test_names_that_are_no_unicode_can_be_written_down(tmp_path):
    path = tmp_path / "na\udcefve.png"
    path.write_bytes(b"x")
    (source,) = gather([tmp_path], modalities=MODALITIES).sources
    source.name.encode("utf-8")
    assert source.given == path


@pytest.mark.parametrize("paths", [[], ["nowhere/*.png"]])
def test_nothing_at_all_is_an_error(paths):
    with pytest.raises(SetupError):
        gather(paths, modalities=MODALITIES)


def test_a_folder_without_items_says_what_is_in_it(folder):
    (folder / "b.png").unlink()
    with pytest.raises(SetupError, match=r"\.pdf \(1\)"):
        gather([folder], modalities=MODALITIES, modality="points")
