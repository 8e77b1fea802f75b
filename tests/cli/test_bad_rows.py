"""Spaces that do not link and rows without numbers are refused by `bind`; nothing is lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from omnibind.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:no pool for the queries of head")
FAST = ("--min-pairs", "5", "--steps", "3", "--router-steps", "2", "--batch", "12")
SHAPES = Path(__file__).parents[2] / "examples" / "media"
APART = """
from omnibind.plugins import hookimpl
from omnibind.specs import Recipe, Slot
import toybind

@hookimpl
def provide_spaces():
    facts = {"licence": "CC0-1.0", "commercial_use": True}
    return [toybind._space("shapes", {"points": "shapes-points"}, **facts)]

@hookimpl
def provide_recipes():
    slots = {"text": (Slot.of("toy"),), "points": (Slot.of("shapes"),)}
    return [Recipe(name="apart", backbone="toy", joint_dim=8, slots=slots)]
"""
SICK = """
import torch
from omnibind.testing.toys import text_8

class Sick(torch.nn.Module):
    def __init__(self, size, assets):
        super().__init__()
        self.well = text_8(size, assets)

    def preprocess(self, media):
        sample = self.well.preprocess(media)
        return sample | {"sick": torch.tensor(SAID in media)}

    def collate(self, samples):
        sick = torch.stack([sample.pop("sick") for sample in samples])
        return self.well.collate(samples) | {"sick": sick}

    def forward(self, batch):
        sick = batch.pop("sick")
        return self.well(batch).masked_fill(sick[:, None], float("nan"))
"""


@pytest.fixture
def pools(make_pools) -> tuple[str, ...]:
    """Some pictures and some texts."""
    return make_pools(40, 60)


@pytest.fixture
def bind(omnibind, pools, tmp_path):
    def run(*words: object):
        return omnibind(
            "bind", "toys", *pools, "--out", tmp_path / "out", "--size", "tiny", *FAST, *words
        )

    return run


def refused(ran, folder: Path) -> bool:
    """Exit code 2, asked, found and next on stderr; no traceback, no checkpoint."""
    parts = (ran.code == 2, "error: " in ran.err, "found: " in ran.err, "next: " in ran.err)
    whole = all(parts) and "Traceback" not in ran.err and not ran.out
    return whole and not (folder / "checkpoint").exists()


@pytest.fixture
def sick(site):
    """Makes the text encoder of the toy spaces give NaN for texts with these words."""

    def make(said: str) -> None:
        (site.folder / "sick.py").write_text(SICK.replace("SAID", repr(said)))
        plugin = site.folder / "toybind.py"
        text = plugin.read_text()
        built = 'build=f"omnibind.testing.toys:{modality}_8"'
        assert built in text
        here = 'build="sick:Sick" if key == "toy-text" else f"omnibind.testing.toys:{modality}_8"'
        plugin.write_text(text.replace(built, here))

    yield make
    sys.modules.pop("sick", None)


def test_a_modality_that_no_space_links_is_named(omnibind, site, monkeypatch, tmp_path):
    site.install("apart", APART)
    monkeypatch.setenv("OMNIBIND_PLUGINS", "toybind,apart")
    (tmp_path / "texts.txt").write_text("".join(f"{n} cats\n" for n in range(60)))
    pools = ("--pool", f"text={tmp_path / 'texts.txt'}", "--pool", f"points={SHAPES}")
    out = tmp_path / "out"
    ran = omnibind("bind", "apart", *pools, "--out", out, "--size", "tiny", *FAST)
    assert refused(ran, out), ran.err
    assert "points" in ran.err
    assert "--link" in ran.err


def test_an_encoder_that_gives_nothing_but_nan_is_refused(bind, sick, tmp_path):
    sick("cats")
    ran = bind()
    assert refused(ran, tmp_path / "out"), ran.err
    assert "text" in ran.err


def test_items_whose_row_is_nan_are_listed_and_the_others_are_bound(bind, sick, tmp_path):
    sick("7 cats")
    ran = bind()
    assert ran.code == 0, ran.err
    errors = (tmp_path / "out" / "embed" / "errors.jsonl").read_text().splitlines()
    assert len(errors) == 6
    assert all("NaN or infinity" in json.loads(line)["reason"] for line in errors)
    assert Store(tmp_path / "out" / "store").count("text") == 54
    assert (tmp_path / "out" / "checkpoint" / "recipe.json").is_file()


def spoil(out: Path, modality: str, encoder: str) -> None:
    """Puts NaN in the place of an encoder's first row, as a broken disk or program would."""
    place = out / "store" / f"{modality}.lance"
    table = lance.dataset(place).to_table()
    number = next(n for n, name in enumerate(table.column_names) if encoder in name)
    column = table.column(number).combine_chunks()
    rows = np.stack(column.to_numpy(zero_copy_only=False)).astype(np.float16)
    rows[0] = np.nan
    spoiled = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    table = table.set_column(number, table.schema.field(number), spoiled)
    lance.write_dataset(table, place, mode="overwrite")


@pytest.mark.parametrize("stage", ["pair", "project"])
def test_rows_of_the_store_that_are_nan_are_refused_and_mended(bind, omnibind, tmp_path, stage):
    out = tmp_path / "out"
    before = ("embed",) if stage == "pair" else ("embed", "pair")
    assert bind(*(word for name in before for word in ("--stage", name))).code == 0
    spoil(out, "text", "toy-text")
    kept = Store(out / "store").count("text")
    ran = bind(*(("--stage", stage) if stage == "project" else ()))
    assert refused(ran, out), ran.err
    assert "store verify" in ran.err
    assert Store(out / "store").count("text") == kept
    assert omnibind("store", "drop", out, "toy-text").code == 0
    mended = bind()
    assert mended.code == 0, mended.err
