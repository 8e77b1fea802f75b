"""The golden runner fills, stores, reads and compares as the case's files say."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from omnibind.testing.golden import Case, compare, fill
from omnibind.testing.golden.__main__ import main

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
here = pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden cases beside the project")


def judged(made, known, **check):
    name = {"dtype": str(known.dtype).removeprefix("torch."), "shape": list(known.shape)}
    checks = [{"id": "one", "outputs": {"x": name}, "compare": "close", "atol": 1e-5, **check}]
    (verdict,) = compare(checks, {} if made is None else {"x": made}, {"x": known})
    return verdict


def test_close_tensors_pass_and_say_how_close():
    verdict = judged(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 4e-6]))
    assert verdict.passes
    assert verdict.found.startswith("max|d| 4")


@pytest.mark.parametrize("wrong", [2.001, float("nan")])
def test_a_number_beyond_the_tolerance_fails(wrong):
    assert not judged(torch.tensor([1.0, wrong]), torch.tensor([1.0, 2.0])).passes


def test_a_tensor_may_have_a_tolerance_of_its_own():
    near = torch.tensor([1.0]), torch.tensor([1.001])
    assert judged(*near, atol_per={"x": 0.01}).passes
    assert not judged(*near, atol_per={"y": 0.01}).passes


@pytest.mark.parametrize("kind", ["exact", "exact_u8", "exact_then_close"])
def test_integers_have_to_be_the_same(kind):
    assert judged(torch.tensor([1, 2]), torch.tensor([1, 2]), compare=kind).passes
    assert judged(torch.tensor([1, 3]), torch.tensor([1, 2]), compare=kind).found == "1 of 2 differ"


def test_an_overlap_counts_common_values():
    made, known = torch.tensor([3, 1, 2]), torch.tensor([1, 2, 9])
    assert judged(made, known, compare="overlap", min_overlap=2).passes
    assert not judged(made, known, compare="overlap", min_overlap=3).passes


def test_rows_with_a_quirk_are_left_out():
    made, known = torch.tensor([[1.0], [5.0]]), torch.tensor([[1.0], [2.0]])
    assert judged(made, known, quirk_rows=[1]).passes


def test_another_shape_or_type_fails():
    assert not judged(torch.zeros(2, 1), torch.zeros(2)).passes
    assert not judged(torch.zeros(2).double(), torch.zeros(2)).passes


def test_what_is_optional_may_be_missing():
    assert judged(None, torch.zeros(2), optional=True).passes
    assert not judged(None, torch.zeros(2)).passes


@here
def test_filled_values_are_those_of_the_case_format():
    for spec in json.loads((GOLDEN / "fill_check.json").read_text())["tensors"]:
        made = fill(spec["key"], spec["shape"], spec["dtype"], spec["seed"], spec["how"])
        assert sha256(made.numpy().tobytes()).hexdigest() == spec["sha256"]


@here
def test_a_case_passes_is_written_and_says_so(tmp_path, capsys):
    assert main([str(GOLDEN / "projector-head"), "--out", str(tmp_path)]) == 0
    assert "ok    one_head" in capsys.readouterr().out
    assert set(load_file(tmp_path / "projector-head.safetensors")) == {"head0", "mean7", "norm7"}


@here
def test_it_works_without_expected_values_and_fails_on_wrong_ones(tmp_path, capsys):
    shutil.copytree(GOLDEN / "projector-head", tmp_path / "head", copy_function=shutil.copy)
    expected = tmp_path / "head" / "expected.safetensors"
    known = load_file(expected)
    expected.unlink()
    assert main([str(tmp_path / "head")]) == 0
    assert "no expected values" in capsys.readouterr().out
    save_file({**known, "norm7": known["norm7"] + 1}, expected)
    assert main([str(tmp_path / "head")]) == 1
    assert "FAIL  mean_of_seven  norm7" in capsys.readouterr().out


def test_a_case_of_an_unknown_space_says_what_to_install(tmp_path, capsys):
    facts = {"case": "nobody-1", "space": "nobody", "checkpoints": [], "checks": []}
    (tmp_path / "case.json").write_text(json.dumps(facts))
    assert main([str(tmp_path)]) == 1
    assert "install the plugin of the space 'nobody'" in capsys.readouterr().err


def test_a_folder_without_a_case_is_named_and_left_out(tmp_path, capsys):
    (tmp_path / "assets").mkdir()
    facts = {"case": "nobody-1", "space": "nobody", "checkpoints": [], "checks": []}
    (tmp_path / "case.json").write_text(json.dumps(facts))
    assert main([str(tmp_path / "assets"), str(tmp_path)]) == 1
    assert "assets: no case.json in it, left out" in capsys.readouterr().err


def test_folders_without_any_case_are_a_mistake_and_so_is_a_wrong_path(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path)])
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_a_checkpoint_is_stored_as_the_published_one_is(tmp_path):
    entry = {
        "file": "model.pt (one of three)",
        "keys": "keys.json",
        "seed": 1,
        "wrap": ["state_dict"],
        "prefix": "module.",
        "other_top_level_entries": ["epoch (int)", "optimizer (dict, assumed)"],
    }
    layout = {"w": [[2, 3], "float32", "auto"], "mask": [[2], "int64", "skip"]}
    (tmp_path / "keys.json").write_text(json.dumps({"keys": layout}))
    state = Case(tmp_path)._state([entry])
    assert set(state) == {"state_dict.module.w", "state_dict.module.mask"}
    assert torch.equal(state["state_dict.module.w"], fill("w", [2, 3], "float32", 1))
    assert not state["state_dict.module.mask"].any()
