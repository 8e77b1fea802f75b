"""Pools: what is an item, what is passed over, what is wrong; nothing is extracted or held."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnibind.errors import PoolError, UnknownNameError
from omnibind.plugins import load_registry
from omnibind.seen import content_id
from omnibind.training.pools import Listed, Pool, Unlisted, parse_pool, survey
from omnibind.training.reading import batches_of

MODALITIES = load_registry([]).modalities or load_registry().modalities


def pool(modality: str, where: Path | str, **facts: bool) -> Pool:
    return Pool(modality=MODALITIES[modality], where=str(where), **facts)


def items(modality: str, where: Path | str, **facts: bool) -> list[Listed]:
    return [item for item in pool(modality, where, **facts).items() if isinstance(item, Listed)]


def archive(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


SAMPLES = {
    "a/01.json": b'{"label": "cat"}',
    "a/01.PNG": b"cat picture",
    "a/01.txt": b"a cat",
    "a/02.png": b"dog picture",
    "a/02.txt": b"a dog",
}


def test_a_folder_gives_the_files_its_modality_reads_in_order(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("b/2.PNG", "1.jpg", ".hidden.png", "notes.pdf", "3.wav"):
        (tmp_path / name).write_bytes(name.encode())
    found = items("image", tmp_path)
    assert [Path(item.source).name for item in found] == ["1.jpg", "2.PNG"]
    assert found[0].read() == tmp_path / "1.jpg"


def test_lines_are_texts_and_a_bad_line_is_one_error(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbfa cat\n\n  a dog \n\xff\xfe\na cow")
    found = list(pool("text", tmp_path / "t.txt").items())
    assert [item.source for item in found if isinstance(item, Listed)] == [
        "a cat",
        "a dog",
        "a cow",
    ]
    (bad,) = [item for item in found if isinstance(item, Unlisted)]
    assert bad.source.endswith("t.txt:4")
    assert "not UTF-8" in bad.reason


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_a_manifest_has_paths_beside_it_and_keeps_its_other_columns(tmp_path, ending):
    (tmp_path / "cat.png").write_bytes(b"x")
    table = tmp_path / f"m{ending}"
    columns = {"path": ["cat.png", "gone.png", ""], "label": ["cat", "dog", "cow"]}
    if ending == ".parquet":
        pq.write_table(pa.table(columns), table)
    else:
        mark = "," if ending == ".csv" else "\t"
        rows = zip(*columns.values(), strict=True)
        table.write_text("".join(f"{mark.join(row)}\n" for row in [tuple(columns), *rows]))
    cat, gone, empty = pool("image", table).items()
    assert (cat.read(), json.loads(cat.metadata)) == (tmp_path / "cat.png", {"label": "cat"})
    assert "FileNotFoundError" in gone.reason
    assert empty.reason == "no path in it"


def test_texts_of_a_manifest_are_items_themselves(tmp_path):
    (tmp_path / "m.csv").write_text("text,split\n a cat ,train\n")
    (item,) = items("text", tmp_path / "m.csv")
    assert (item.read(), json.loads(item.metadata)) == ("a cat", {"split": "train"})


@pytest.mark.parametrize(("ending", "mode"), [(".tar", "w"), (".tar.gz", "w:gz")])
def test_an_archive_is_read_in_memory_sample_by_sample(tmp_path, ending, mode):
    shard = archive(tmp_path / f"s{ending}", SAMPLES, mode)
    found = [(item.read(), item.metadata) for item in pool("image", shard).items()]
    assert found == [(b"cat picture", '{"label": "cat"}'), (b"dog picture", "{}")]
    assert [item.read() for item in pool("text", shard).items()] == [b"a cat", b"a dog"]
    assert [path.name for path in tmp_path.iterdir()] == [shard.name]


def test_hidden_members_of_an_archive_are_passed_over(tmp_path):
    hidden = ("._01.png", "a/._01.png", ".cache/01.png", "a/.git/01.png", "a/._01.json")
    members = dict.fromkeys(hidden, b"no picture")
    shard = archive(tmp_path / "s.tar", {**members, "./a/01.png": b"cat", "a.b/02.png": b"dog"})
    assert [item.read() for item in pool("image", shard).items()] == [b"cat", b"dog"]


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="nobody counts what is read")
@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
def test_a_compressed_archive_is_read_once_from_its_first_byte_to_its_last(tmp_path, ending):
    random = np.random.default_rng(0)
    contents = [random.bytes(1024 * (n % 3 + 1)) for n in range(60)]
    members = {f"{n}.png": content for n, content in enumerate(contents)}
    shard = archive(tmp_path / f"s.tar.{ending}", members, f"w:{ending}")
    shard = shard.rename(tmp_path / "s.tar")  # what counts is what is in it
    reads = _bytes_read()
    failed: list[str] = []
    batches = batches_of([pool("image", shard)], 7, lambda source, reason: failed.append(reason))
    found = [item.given for batch in batches for item in batch]
    assert (found, failed) == (contents, [])
    assert _bytes_read() - reads < 3 * shard.stat().st_size


def _bytes_read() -> int:
    """By this process, from files."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.parametrize(("name", "mode"), [("s.tar", "w"), ("s.tar.gz", "w:gz")])
def test_a_truncated_archive_keeps_what_comes_before(tmp_path, name, mode):
    random = np.random.default_rng(0)
    members = {f"{n}.png": random.bytes(30_000) for n in range(4)}
    shard = archive(tmp_path / name, members, mode)
    shard.write_bytes(shard.read_bytes()[:80_000])
    failed: list[str] = []
    (batch,) = batches_of([pool("image", shard)], 10, lambda source, reason: failed.append(reason))
    assert [item.source.rpartition("!")[2] for item in batch] == ["0.png", "1.png"]
    assert failed
    assert all("EOFError" in reason or "ReadError" in reason for reason in failed)


def test_a_glob_names_several_archives(tmp_path):
    for shard in ("b", "a"):
        archive(tmp_path / f"{shard}.tar", {f"{shard}.png": b"x"})
    assert [item.source[-5:] for item in items("image", tmp_path / "*.tar")] == ["a.png", "b.png"]


def test_a_benchmark_of_several_modalities_gives_each_its_own(tmp_path):
    (tmp_path / "cat.png").touch()
    (tmp_path / "m.csv").write_text("path,text\ncat.png,a cat\nmeow.wav,a meow\n")
    manifest = tmp_path / "m.csv"
    assert [i.source[-7:] for i in items("image", manifest, mixed=True)] == ["cat.png"]
    assert [i.source for i in items("text", manifest, mixed=True)] == ["a cat", "a meow"]
    assert items("points", manifest, mixed=True) == []


BENCHMARK = "path,text,label\ncat.png,,cat\n,a sleeping cat,cat\n,,\nnote.txt,,note\n"


def test_rows_of_other_modalities_are_no_failures_of_a_mixed_table(tmp_path):
    (tmp_path / "m.csv").write_text(BENCHMARK)
    for name in ("cat.png", "note.txt"):
        (tmp_path / name).touch()
    found = {
        m: list(pool(m, tmp_path / "m.csv", mixed=True).items()) for m in ("image", "text", "audio")
    }
    assert [Path(i.source).name for i in found["image"]] == ["cat.png"]
    assert [Path(i.source).name for i in found["text"]] == ["a sleeping cat", "note.txt"]
    assert found["audio"] == []


def test_a_mixed_table_may_say_the_modality_of_a_row(tmp_path):
    (tmp_path / "scan.png").touch()
    (tmp_path / "m.csv").write_text("path,modality\nscan.png,thermal\n")
    listed = {m: items(m, tmp_path / "m.csv", mixed=True) for m in ("image", "thermal")}
    assert {m: len(several) for m, several in listed.items()} == {"image": 0, "thermal": 1}


@pytest.mark.parametrize(
    ("modality", "name", "content", "said"),
    [
        ("image", "gone", None, "no such file or folder"),
        ("image", "a.xlsx", b"x", "ending '.xlsx'"),
        ("image", "m.csv", b"file,label\na,b\n", "the columns file, label"),
        ("image", "m.parquet", b"PAR1 not", "Arrow"),
        ("text", "m.csv", b"text\n\xff\xfe\n", "UnicodeDecodeError"),
    ],
)
def test_what_is_no_pool_is_refused(tmp_path, modality, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PoolError, match=said):
        list(pool(modality, tmp_path / name).items())


@pytest.mark.parametrize("text", ["photos/", "image=", "=photos/"])
def test_a_pool_is_a_modality_and_a_place(text):
    with pytest.raises(PoolError, match="MODALITY=WHERE"):
        parse_pool(text, MODALITIES)


def test_an_unknown_modality_is_named():
    with pytest.raises(UnknownNameError, match="'smell'"):
        parse_pool("smell=x", MODALITIES)


def test_a_survey_changes_with_the_items(tmp_path):
    (tmp_path / "1.png").write_bytes(b"1")
    before = survey([pool("image", tmp_path)])
    assert survey([pool("image", tmp_path)]) == before
    (tmp_path / "2.png").write_bytes(b"2")
    after = survey([pool("image", tmp_path)])
    assert (before.count, after.count) == (1, 2)
    assert after.fingerprint != before.fingerprint


def test_equal_content_is_equal_wherever_it_lies(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa cat\n")
    assert content_id("text", tmp_path / "a.txt") == content_id("text", " a cat")
    (tmp_path / "a.png").write_bytes(b"x")
    assert content_id("image", tmp_path / "a.png") == content_id("image", b"x")
    assert content_id("image", b"x") != content_id("text", b"x")
