"""What cannot be bound well is refused by the command, with the number and the culprit."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnibind.engine.shared import forget_engines
from omnibind.store import only_writer

pytestmark = pytest.mark.filterwarnings("ignore:no pool for the queries of head")
FAST = ("--steps", "3", "--router-steps", "2", "--batch", "12", "--size", "tiny")


def pictures(folder: Path, shown) -> Path:
    folder.mkdir()
    for n, pixels in enumerate(shown):
        Image.fromarray(np.asarray(pixels, np.uint8)).save(folder / f"{n}.png")
    return folder


def noise(count: int, spread: int = 256):
    random = np.random.default_rng(0)
    return [random.integers(0, spread, (8, 8, 3)) for _ in range(count)]


@pytest.fixture
def bind(omnibind, tmp_path):
    """Binds a folder of pictures and a file of texts."""
    (tmp_path / "texts.txt").write_text("".join(f"{n} cats\n" for n in range(200)))

    def run(pool: Path, *words: object):
        texts = f"text={tmp_path / 'texts.txt'}"
        out = ("--out", tmp_path / "out")
        return omnibind(
            "bind", "toys", "--pool", f"image={pool}", "--pool", texts, *out, *FAST, *words
        )

    return run


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ([], "the image items of"),
        (noise(1), "image-text: 1"),
        ([noise(1)[0]] * 80, "image-text: 1"),
        ([200 + one for one in noise(80, spread=2)], "at least 64 distinct pairs"),
    ],
    ids=["empty", "one item", "duplicates only", "one class"],
)
def test_a_pool_that_teaches_nothing_is_refused(bind, tmp_path, shown, said):
    ran = bind(pictures(tmp_path / "pictures", shown))
    assert (ran.code, said in ran.err) == (2, True), ran.err
    assert not (tmp_path / "out" / "checkpoint").exists()


def test_a_file_is_no_folder_to_bind_into(bind, tmp_path):
    (tmp_path / "out").touch()
    ran = bind(tmp_path / "pictures")
    assert (ran.code, "is a file" in ran.err) == (2, True), ran.err


def test_a_second_command_on_the_same_folder_is_told_who_binds(bind, tmp_path):
    pool = pictures(tmp_path / "pictures", noise(2))
    with only_writer(tmp_path / "out"):
        ran = bind(pool)
    assert ran.code == 2
    assert "to bind into the folder" in ran.err


def test_rows_of_another_revision_of_an_encoder_are_refused(bind, site, tmp_path):
    pool = pictures(tmp_path / "pictures", noise(10))
    few = ("--min-pairs", "2", "--stage", "embed")
    assert bind(pool, *few).code == 0
    plugin = site.folder / "toybind.py"
    plugin.write_text(plugin.read_text().replace("params=1000,", 'params=1000, revision="2",'))
    del sys.modules["toybind"]
    forget_engines()
    ran = bind(pool, *few)
    assert (ran.code, "made by revision 1" in ran.err) == (2, True), ran.err


def test_the_same_seed_gives_the_same_checkpoint_byte_for_byte(omnibind, tmp_path):
    pool = pictures(tmp_path / "pictures", noise(40))
    (tmp_path / "texts.txt").write_text("".join(f"{n} cats\n" for n in range(100)))
    pools = ("--pool", f"image={pool}", "--pool", f"text={tmp_path / 'texts.txt'}")
    found = []
    for name in ("a", "b"):
        words = ("--out", tmp_path / name, "--min-pairs", "5", *FAST)
        assert omnibind("bind", "toys", *pools, *words).code == 0
        folder = tmp_path / name / "checkpoint"
        files = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        assert files.pop(Path("timings.json"))
        found.append(files)
    assert len(found[0]) == 4
    assert found[0] == found[1]
