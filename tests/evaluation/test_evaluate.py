"""The bound model beside its members: paired intervals, ablation, report and picture."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
import torch
from torch.nn import functional as F

from omnibind.binder import Binder
from omnibind.errors import SetupError, ShapeError
from omnibind.evaluation import LabelledRows, ablate, bound, evaluate, members, retrieval
from omnibind.projectors import Identity
from omnibind.specs import Recipe, Slot

ITEMS = 60
READS = {"good": ("text", "image"), "poor": ("text", "image"), "deaf": ("text",)}
NOISE = {"good": 0.8, "poor": 1.6, "deaf": 0.3}


def _noisy(shown, space, modality):
    seed = sum(f"{space}{modality}".encode())
    noise = torch.randn(shown.shape, generator=torch.Generator().manual_seed(seed))
    return F.normalize(shown + NOISE[space] * noise, dim=-1)


@pytest.fixture(scope="module")
def data():
    shown = torch.randn(ITEMS, 8, generator=torch.Generator().manual_seed(0))
    rows = {
        m: {s: _noisy(shown, s, m) for s, reads in READS.items() if m in reads}
        for m in ("text", "image")
    }
    return LabelledRows(rows=rows, labels={m: range(ITEMS) for m in rows})


@pytest.fixture(scope="module")
def binder():
    slots = {m: tuple(Slot.of(s) for s in READS if m in READS[s]) for m in ("text", "image")}
    recipe = Recipe(name="toy", backbone="good", joint_dim=8, slots=slots)
    return Binder(recipe, {s: Identity(s, 8) for s in ("poor", "deaf")}).eval()


@pytest.fixture(scope="module")
def found(binder, data):
    return evaluate(binder, data, name="toy", facts={"overlap": "none"}, resamples=300)


def test_members_are_measured_alone_in_the_directions_they_can_do(data):
    alone = members(data, resamples=10)
    assert set(alone) == {"good", "poor"}
    own = {m: spaces["good"] for m, spaces in data.rows.items()}
    expected = retrieval(own["text"], own["image"], torch.eye(ITEMS).bool(), resamples=10)
    assert alone["good"].pairs["text", "image"] == expected


def test_the_difference_is_to_the_best_member_and_its_interval_is_paired(found):
    name, difference = found.differences("mAP")["text", "image"]
    whole = found.whole.pairs["text", "image"].mean_average_precision
    alone = found.alone["good"].pairs["text", "image"].mean_average_precision
    assert name == "good"
    assert difference.value == pytest.approx(whole.value - alone.value)
    assert difference.low < difference.value < difference.high
    unpaired = (whole.high - whole.low) + (alone.high - alone.low)
    assert difference.high - difference.low < unpaired


def test_a_model_differs_from_itself_by_nothing(found):
    one = found.whole.pairs["text", "image"]
    same = one.minus(one, "R@1")
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_models_that_were_asked_other_queries_are_not_compared():
    rows = torch.eye(5)
    five, four = (retrieval(rows[:n], rows[:n], torch.eye(n).bool()) for n in (5, 4))
    with pytest.raises(ShapeError, match="5 and 4 queries"):
        five.minus(four, "mAP")


def test_a_slot_that_helps_costs_something_when_it_is_left_out(binder, data):
    without = ablate(binder, data, resamples=100)
    losses = without.losses("mAP")
    assert set(losses) == {"good", "poor", "deaf"}
    assert losses["good"]["text", "image"].value > losses["poor"]["text", "image"].value
    assert losses["good"]["text", "image"].low > 0


def test_the_only_slot_of_a_modality_stays(data):
    slots = {"text": (Slot.of("good"), Slot.of("poor")), "image": (Slot.of("good"),)}
    recipe = Recipe(name="toy", backbone="good", joint_dim=8, slots=slots)
    lonely = Binder(recipe, {"poor": Identity("poor", 8)}).eval()
    table = bound(lonely, data, without=["good"], resamples=10)
    text, image = data.rows["text"]["poor"], data.rows["image"]["good"]
    expected = retrieval(text, image, torch.eye(ITEMS).bool(), resamples=10)
    assert table.pairs["text", "image"] == expected


def test_a_slot_left_out_hands_its_weight_to_the_others(binder, data):
    rows = binder("text", data.rows["text"], without=["good"])
    assert rows.slots == ("poor", "deaf")
    assert torch.allclose(rows.weights, torch.tensor(0.5))
    assert rows.degraded == ()


def test_pairs_with_nothing_in_common_are_left_out(data):
    labels = {"text": range(ITEMS), "image": range(ITEMS), "audio": ["hum"] * ITEMS}
    rows = {**data.rows, "audio": {"good": data.rows["text"]["good"]}}
    alone = members(LabelledRows(rows=rows, labels=labels), resamples=10)["good"]
    assert set(alone.pairs) == {("text", "image"), ("image", "text")}
    assert len(alone.left_out) == 4


def test_a_benchmark_without_any_direction_is_refused_by_name(binder, data):
    apart = LabelledRows(rows=data.rows, labels={"text": ["a"] * ITEMS, "image": ["b"] * ITEMS})
    with pytest.raises(SetupError, match=r"by toys[^`]*no label that two of these share"):
        evaluate(binder, apart, name="toys", resamples=10)
    with pytest.raises(SetupError, match="no label that two"):
        ablate(binder, apart, resamples=10)


def test_the_report_is_written_as_json_markdown_and_pictures(found, tmp_path):
    found.write(tmp_path)
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(content["members"]) == {"good", "poor"}
    assert content["bound_minus_best_member"]["R@1"][0]["member"] == "good"
    table = (tmp_path / "evaluation.md").read_text()
    assert "| text -> image | bound | 60 | 60 |" in table
    assert "* overlap: none" in table
    assert {p.name for p in tmp_path.glob("*.svg")} == {
        "r_at_1.svg",
        "r_at_5.svg",
        "r_at_10.svg",
        "map.svg",
    }


def test_a_picture_has_a_dot_for_each_model_and_direction(found):
    root = ElementTree.fromstring(found.to_svg("mAP"))
    circles = root.findall("{http://www.w3.org/2000/svg}circle")
    legend = 3
    assert len(circles) == legend + 3 * 2
