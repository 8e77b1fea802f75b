"""The descent: its schedule, its estimate, its golden curve; bit-identical from run to run."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from omnibind.errors import NoRoomError, TrainingError
from omnibind.training import project, route
from omnibind.training.curves import Curves, Pace, read_curves
from omnibind.training.descent import DescentSettings, descend, rate_at

# Losses at steps 0, 4, 8 and 11; made with torch 2.14.1 on x86-64 by
# `pytest tests/training/test_descent.py -k golden`, which prints what it finds where it differs.
GOLDEN_HEADS = [39.068676, 37.225948, 36.987091, 36.886593]
GOLDEN_ROUTERS = [19.524084, 18.075659, 17.463917, 18.953131]


def _files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix == ".safetensors"
    }


def _both(out, recipe, rows, tuples, heads, routers):
    project.run(out, recipe=recipe, rows=rows, tuples=tuples, settings=heads)
    route.run(out, recipe=recipe, rows=rows, tuples=tuples, settings=routers)
    return out


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    recipe, rows, tuples, heads, routers, tmp_path
):
    common = (recipe, rows, tuples)
    first = _files(_both(tmp_path / "a", *common, heads, routers))
    assert len(first) == 3
    assert first == _files(_both(tmp_path / "b", *common, heads, routers))
    other = replace(heads, descent=replace(heads.descent, seed=1))
    for name, content in _files(_both(tmp_path / "c", *common, other, routers)).items():
        assert content != first[name]


def test_the_golden_loss_curves(recipe, rows, tuples, heads, routers, tmp_path):
    run = {"recipe": recipe, "rows": rows, "tuples": tuples}
    project.run(tmp_path / "heads", settings=heads, **run)
    untrained = replace(heads, descent=replace(heads.descent, steps=0))
    project.run(tmp_path / "routers", settings=untrained, **run)
    linked = replace(routers, joint_items=0)  # near ties in the joint space would decide
    route.run(tmp_path / "routers", settings=linked, **run)
    for folder, golden in (("heads/project", GOLDEN_HEADS), ("routers/route", GOLDEN_ROUTERS)):
        found = [point["loss"] for point in read_curves(tmp_path / folder)]
        assert found == pytest.approx(golden, rel=1e-4), found


def test_a_stage_whose_inputs_are_the_same_is_skipped(recipe, rows, tuples, heads, tmp_path):
    run = {"recipe": recipe, "rows": rows, "tuples": tuples, "settings": heads}
    first = project.run(tmp_path, **run)
    again = project.run(tmp_path, **run)
    assert (first.skipped, again.skipped) == (False, True)
    assert again.facts["loss"] == first.facts["loss"]


@pytest.mark.parametrize("change", ["settings", "inputs", "tuples", "recipe"])
def test_a_stage_whose_inputs_have_changed_is_done_again(
    change, recipe, rows, tuples, heads, tmp_path
):
    run = {"recipe": recipe, "rows": rows, "tuples": tuples, "settings": heads, "inputs": ""}
    other = {
        "settings": replace(heads, temperature=0.1),
        "inputs": "another store",
        "tuples": replace(tuples, query=tuples.query.flip(0)),
        "recipe": replace(recipe, hidden=16),
    }
    project.run(tmp_path, **run)
    assert not project.run(tmp_path, **run | {change: other[change]}).skipped


def test_routing_otherwise_does_not_train_the_heads_again(recipe, rows, tuples, heads, tmp_path):
    run = {"rows": rows, "tuples": tuples, "settings": heads}
    project.run(tmp_path, recipe=recipe, **run)
    assert project.run(tmp_path, recipe=replace(recipe, temperature={}), **run).skipped


def test_parameters_that_run_away_stop_before_anything_is_saved(
    recipe, rows, tuples, heads, tmp_path
):
    wild = replace(heads, descent=DescentSettings(steps=6, rate=1e38, warmup=0.0, save_every=1))
    with pytest.raises(TrainingError, match="lower `rate`"):
        project.run(tmp_path, recipe=recipe, rows=rows, tuples=tuples, settings=wild)
    assert not (tmp_path / "project" / "done.json").exists()


def test_the_rate_rises_to_its_peak_and_falls_as_a_cosine():
    settings = DescentSettings(steps=100, rate=2.0, warmup=0.1)
    rates = [rate_at(step, settings) for step in range(100)]
    assert rates[:2] == pytest.approx([0.2, 0.4])
    assert max(rates) == rates[10] == rates[9] == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert rates[99] < 0.01


def test_the_estimate_is_the_median_step_times_what_is_left():
    pace = Pace(10)
    estimates = [pace.after_step(now) for now in (0.0, 2.0, 4.0, 60.0)]
    assert estimates[0] != estimates[0]
    assert estimates[1:] == [16.0, 14.0, 12.0]


def test_points_after_the_saved_step_are_taken_back(tmp_path):
    with Curves(tmp_path, 0) as curves:
        for step in range(6):
            curves.add(step, {"loss": float(step)})
    with (tmp_path / "curves.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    with Curves(tmp_path, 4) as curves:
        curves.add(4, {"loss": 40.0})
    assert [p["loss"] for p in read_curves(tmp_path)] == [0, 1, 2, 3, 40]


def test_tensorboard_gets_the_same_points(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    with Curves(tmp_path, 0) as curves:
        curves.add(0, {"loss": 0.5})
        curves.add(7, {"loss": 0.25})
    (file,) = (tmp_path / "curves").glob("events.out.tfevents.*")
    content, events = file.read_bytes(), []
    while content:  # length, its checksum, the event, its checksum
        (length,) = struct.unpack("<Q", content[:8])
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    points = [(e.step, v.tag, v.simple_value) for e in events for v in e.summary.value]
    assert points == [(0, "loss", 0.5), (7, "loss", 0.25)]


def _many_points(folder):
    with Curves(folder, 0) as curves:
        for step in range(1000):
            curves.add(step, {f"loss/{k}": float(step) for k in range(10)})


def test_curves_that_find_no_room_end_the_run_with_a_reason(small_files, tmp_path):
    with pytest.raises(NoRoomError, match="make room on the disk"):
        _many_points(tmp_path)
    assert read_curves(tmp_path)[0]["step"] == 0


class Parabola(nn.Module):
    """One number that wants to be 3."""

    names = ("distance",)

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(1))

    def parts(self, step: int) -> Tensor:
        return (self.x - 3).square()

    def figures(self, step: int) -> dict[str, float]:
        return {}


@pytest.mark.parametrize("damage", ["empty", "cut", "of another network"])
def test_a_saved_state_that_is_damaged_is_said_and_not_used(damage, tmp_path):
    def run(folder, width=4):
        return descend(_Bowl(width), DescentSettings(steps=6, save_every=3), folder, inputs="x")

    state = tmp_path / "a" / "state.safetensors"
    if damage == "of another network":
        run(state.parent, width=5)
    else:
        run(state.parent)
        content = state.read_bytes()
        state.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    with pytest.warns(UserWarning, match=r"state.safetensors cannot be read .*begins again"):
        again = run(state.parent)
    assert (again.resumed, again.loss) == (0, run(tmp_path / "b").loss)


class _Bowl(nn.Module):
    """The squares of its parameters."""

    names = ("bowl",)

    def __init__(self, width):
        super().__init__()
        self.at = nn.Parameter(torch.arange(1.0, 1.0 + width))

    def parts(self, step):
        return self.at.square().sum()[None]

    def figures(self, step):
        return {}


def test_a_run_that_was_killed_after_its_last_step_knows_its_loss(tmp_path):
    settings = DescentSettings(steps=10, rate=0.1)
    whole = descend(Parabola(), settings, tmp_path, inputs="same")
    again = descend(Parabola(), settings, tmp_path, inputs="same")
    assert (again.resumed, again.loss) == (10, whole.loss)
    assert 0 < whole.loss < 9
