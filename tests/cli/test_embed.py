"""`embed`: what is taken, what fails, what is kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnibind.search import read_table

TINY = ("--recipe", "toys", "--size", "tiny")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six pictures in a folder of folders."""
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    for at in range(6):
        where = folder / ("deep" if at % 2 else ".") / f"{at}.png"
        Image.new("RGB", (8, 8), (40 * at, 0, 255 - 40 * at)).save(where)
    return folder


def test_a_folder_becomes_a_table_with_everything_a_row_depends_on(omnibind, pictures, tmp_path):
    out = tmp_path / "rows.parquet"
    ran = omnibind("embed", pictures, "--out", out, *TINY)
    assert ran.code == 0
    assert "6 rows, 6 of them new" in ran.out
    table = read_table(out)
    assert table.column("id") == list(range(6))
    assert set(table.column("modality")) == {"image"}
    assert np.allclose(np.linalg.norm(table.rows, axis=1), 1, atol=1e-5)
    assert table.facts.binding.recipe == "toys"
    assert table.facts.binding.spaces == ("toy", "toy-nc")
    assert dict(table.column("weights")[0]).keys() == {"toy", "toy-nc"}


def test_stdout_has_the_json_and_nothing_else(omnibind, pictures, tmp_path):
    ran = omnibind("embed", pictures, "--out", tmp_path / "r.npz", *TINY, "--json")
    assert json.loads(ran.out)["added"] == 6
    assert "6 items" in ran.err


@pytest.mark.parametrize("ending", [".parquet", ".npz", ".safetensors"])
def test_every_format_is_read_back_and_added_to(omnibind, pictures, tmp_path, ending):
    out = tmp_path / f"rows{ending}"
    omnibind("embed", pictures / "deep", "--out", out, *TINY)
    ran = omnibind("embed", pictures, "--text", "a cat", "--out", out, *TINY, "--json")
    assert json.loads(ran.out)["there"] == 3
    table = read_table(out)
    assert sorted(table.column("id")) == list(range(7))
    assert table.column("source").count("a cat") == 1


@pytest.mark.filterwarnings("default:long=.official. changes nothing")
def test_the_way_of_long_media_is_kept_with_the_table(omnibind, tmp_path):
    out = tmp_path / "rows.parquet"
    ran = omnibind("embed", "--text", "a cat", "--out", out, *TINY, "--long", "official")
    assert "long='official' changes nothing" in ran.err
    assert read_table(out).facts.binding.long == "official"
    again = omnibind("embed", "--text", "a dog", "--out", out, *TINY)
    assert again.code == 2
    assert "long: official in the table, windows asked for now" in again.err
    assert omnibind("search", out, "a cat").code == 0


def test_texts_come_from_options_and_files_and_once_each(omnibind, tmp_path):
    (tmp_path / "t.txt").write_text("a dog\n\n a cat \na dog\n")
    out = tmp_path / "rows.parquet"
    ran = omnibind("embed", "--text", "a cat", "--texts", tmp_path / "t.txt", "--out", out, *TINY)
    assert ran.code == 0
    assert read_table(out).column("source") == ["a cat", "a dog"]
    assert "2 named again and taken once" in ran.err


def test_a_list_on_stdin_may_mix_files_and_words(process, pictures, tmp_path):
    out = tmp_path / "rows.parquet"
    given = f"{pictures / '0.png'}\na red bicycle\n".encode()
    ran = process("embed", "-", "--out", out, *TINY, given=given)
    assert (ran.code, ran.out) == (0, f"{out}: 2 rows, 2 of them new\n")
    assert read_table(out).column("modality") == ["image", "text"]


def test_a_bad_file_takes_nobody_with_it(omnibind, pictures, tmp_path):
    (pictures / "3b.png").write_bytes(b"\x89PNG not really")
    out = tmp_path / "rows.parquet"
    ran = omnibind("embed", pictures, tmp_path / "missing.png", "--out", out, *TINY)
    assert ran.code == 1
    assert "6 rows" in ran.out
    assert "2 items failed" in ran.err
    kept = [json.loads(line) for line in Path(f"{out}.failures.jsonl").read_text().splitlines()]
    assert sorted(Path(failed["source"]).name for failed in kept) == ["3b.png", "missing.png"]
    assert {failed["stage"] for failed in kept} == {"decode"}


def test_a_mended_file_is_taken_and_its_failure_forgotten(omnibind, pictures, tmp_path):
    (pictures / "9.png").write_bytes(b"no picture")
    out = tmp_path / "rows.parquet"
    omnibind("embed", pictures, "--out", out, *TINY)
    Image.new("RGB", (4, 4)).save(pictures / "9.png")
    assert omnibind("embed", pictures, "--out", out, *TINY).code == 0
    assert len(read_table(out)) == 7
    assert not Path(f"{out}.failures.jsonl").exists()


def test_a_changed_file_replaces_its_row_and_keeps_its_id(omnibind, pictures, tmp_path):
    out = tmp_path / "rows.parquet"
    omnibind("embed", pictures, "--out", out, *TINY)
    before = read_table(out)
    Image.new("RGB", (9, 9), (0, 255, 0)).save(pictures / "0.png")
    omnibind("embed", pictures, "--out", out, *TINY)
    after = read_table(out)
    assert sorted(after.column("id")) == list(range(6))
    at = after.column("source").index(str(pictures / "0.png"))
    assert after.column("id")[at] == 0
    assert not np.allclose(after.rows[at], before.rows[0], atol=1e-3)


def test_a_modality_the_recipe_cannot_read_is_an_item_that_fails(omnibind, tmp_path):
    (tmp_path / "shape.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    out = tmp_path / "rows.parquet"
    ran = omnibind("embed", tmp_path / "shape.obj", "--text", "a cat", "--out", out, *TINY)
    assert ran.code == 1
    assert "the recipe 'toys' reads text, image, audio" in ran.err
    assert len(read_table(out)) == 1


def test_files_nobody_reads_are_passed_over_aloud(omnibind, pictures, tmp_path):
    (pictures / "notes.pdf").touch()
    ran = omnibind("embed", pictures, "--out", tmp_path / "rows.parquet", *TINY)
    assert ran.code == 0
    assert ".pdf (1)" in ran.err


def test_the_table_itself_is_no_item_of_its_folder(omnibind, pictures):
    for _ in range(2):
        ran = omnibind("embed", pictures, "--out", pictures / "rows.npz", *TINY)
        assert ran.code == 0


def test_rows_of_another_binding_are_not_mixed_in(omnibind, pictures, tmp_path):
    out = tmp_path / "rows.parquet"
    omnibind("embed", pictures, "--out", out, *TINY)
    ran = omnibind("embed", pictures, "--out", out, *TINY, "--without", "toy-nc")
    assert ran.code == 2
    assert "spaces: toy, toy-nc in the table, toy asked for now" in ran.err
    assert omnibind(
        "embed", pictures, "--out", out, *TINY, "--commercial-only", "--overwrite"
    ).code == 0  # fmt: skip
    assert read_table(out).facts.binding.spaces == ("toy",)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere/*.png",), "the files that match"),
        (("--texts", "nowhere.txt"), "FileNotFoundError"),
        ((), "nothing was named"),
        (("--text", "a", "--modality", "smell"), "the modality 'smell'"),
        (("--text", "a", "--recipe", "toyz"), "the recipe 'toyz'"),
    ],
)
def test_what_cannot_start_ends_with_2(omnibind, tmp_path, words, said):
    ran = omnibind("embed", "--out", tmp_path / "rows.parquet", *TINY, *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert not (tmp_path / "rows.parquet.parts").exists()


def test_a_table_has_one_of_three_endings(omnibind, tmp_path):
    ran = omnibind("embed", "--text", "a", "--out", tmp_path / "rows.csv", *TINY)
    assert ran.code == 2
    assert "one of .parquet, .safetensors, .npz" in ran.err


def test_a_file_that_is_no_table_is_not_overwritten(omnibind, tmp_path):
    out = tmp_path / "rows.parquet"
    out.write_text("my only copy")
    assert omnibind("embed", "--text", "a", "--out", out, *TINY).code == 2
    assert out.read_text() == "my only copy"


def test_strict_stops_at_an_item_that_fails(omnibind, tmp_path):
    ran = omnibind("--strict", "embed", tmp_path / "no.png", "--out", tmp_path / "r.npz", *TINY)
    assert ran.code == 1
    assert ran.err.splitlines()[1].startswith("error: a row for every item")


def test_lines_that_are_not_utf_8_fail_alone(omnibind, tmp_path):
    (tmp_path / "t.txt").write_bytes(b"a dog\nna\xefve\n")
    out = tmp_path / "rows.parquet"
    ran = omnibind("embed", "--texts", tmp_path / "t.txt", "--out", out, *TINY)
    assert ran.code == 1
    assert "not UTF-8" in ran.err
    assert read_table(out).column("source") == ["a dog"]
