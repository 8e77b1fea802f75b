"""Projectors: what they compute, how they are stacked, stored and refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from omnibind.errors import CheckpointError, ShapeError
from omnibind.projectors import (
    HeadEnsemble,
    Identity,
    Linear,
    ProjectorSet,
    read_projector,
    write_projector,
)


def _ensemble(name: str, dim: int = 6, seed: int = 0) -> HeadEnsemble:
    torch.manual_seed(seed)
    ensemble = HeadEnsemble([name], dim, 8, heads=3, hidden=5)
    for norm in (ensemble.first_norm, ensemble.second_norm):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    return ensemble.eval()


def _rows(dim: int = 6, items: int = 4) -> torch.Tensor:
    return F.normalize(torch.randn(items, dim), dim=-1)


def _one_head(ensemble: HeadEnsemble, head: int, x: torch.Tensor) -> torch.Tensor:
    """One head as the paper writes it: Linear, BN, ReLU, Linear, BN, L2."""
    h, j = ensemble.hidden, ensemble.joint
    first, second = ensemble.first_norm, ensemble.second_norm
    a, b = slice(head * h, head * h + h), slice(head * j, head * j + j)
    x = F.linear(x, ensemble.first[0, a], ensemble.first_bias[0, a])
    x = F.batch_norm(x, first.running_mean[a], first.running_var[a], first.weight[a], first.bias[a])
    x = F.linear(F.relu(x), ensemble.second[head], ensemble.second_bias[head])
    x = F.batch_norm(
        x, second.running_mean[b], second.running_var[b], second.weight[b], second.bias[b]
    )
    return F.normalize(x, dim=-1)


def test_batched_heads_equal_a_loop_over_heads() -> None:
    ensemble, x = _ensemble("a"), _rows()
    loop = torch.stack([_one_head(ensemble, head, x) for head in range(3)]).mean(0)
    assert torch.allclose(ensemble({"a": x})["a"], loop, atol=1e-6)


def test_the_mean_of_heads_is_not_normalised_again() -> None:
    norms = _ensemble("a")({"a": _rows()})["a"].norm(dim=-1)
    assert (norms < 0.999).all()


@pytest.mark.parametrize("asked", [["a", "b", "c"], ["a", "c"], ["b"], ["c", "a"]])
def test_stacked_spaces_give_the_rows_they_give_alone(asked: list[str]) -> None:
    alone = {name: _ensemble(name, seed=k) for k, name in enumerate("abc")}
    rows = {name: _rows() for name in asked}
    together = ProjectorSet(alone)(rows)
    assert set(together) == set(asked)
    for name in asked:
        assert torch.allclose(together[name], alone[name](rows)[name], atol=1e-6)


def test_a_space_taken_out_of_a_stack_is_what_went_in() -> None:
    alone = {name: _ensemble(name, seed=k) for k, name in enumerate("abc")}
    back = ProjectorSet(alone).of_space("b")
    for key, value in alone["b"].state_dict().items():
        assert torch.equal(back.state_dict()[key], value)


def test_widths_are_stacked_apart() -> None:
    projectors = ProjectorSet({"a": _ensemble("a", 6), "b": _ensemble("b", 9)})
    found = projectors({"a": _rows(6), "b": _rows(9)})
    assert {name: tuple(row.shape) for name, row in found.items()} == {"a": (4, 8), "b": (4, 8)}


def test_training_updates_running_statistics_of_the_spaces_in_the_batch() -> None:
    ensemble = HeadEnsemble.stacked([_ensemble("a"), _ensemble("b", seed=1)]).train()
    before = ensemble.first_norm.running_mean.clone()
    ensemble({"b": _rows()})
    half = len(before) // 2
    assert torch.equal(ensemble.first_norm.running_mean[:half], before[:half])
    assert not torch.equal(ensemble.first_norm.running_mean[half:], before[half:])


@pytest.mark.parametrize("projector", [_ensemble("a"), Linear("a", 6, 8), Identity("a", 6)])
def test_rows_of_another_width_are_refused_by_name(projector: torch.nn.Module) -> None:
    with pytest.raises(ShapeError, match="space 'a'"):
        projector({"a": _rows(7)})


@pytest.mark.parametrize("projector", [_ensemble("a"), Linear("a", 6, 8), Identity("a", 6)])
def test_a_projector_file_gives_back_the_projector(
    projector: HeadEnsemble | Linear | Identity, tmp_path: Path
) -> None:
    x = _rows()
    if isinstance(projector, Linear):
        torch.nn.init.normal_(projector.weight)
    write_projector(projector, tmp_path / "a.safetensors", backbone="b")
    assert torch.equal(
        read_projector(tmp_path / "a.safetensors")({"a": x})["a"], projector({"a": x})["a"]
    )


def test_half_precision_in_a_file_is_full_precision_in_memory(tmp_path: Path) -> None:
    ensemble, x = _ensemble("a"), _rows()
    before = ensemble({"a": x})["a"]
    write_projector(ensemble.half(), tmp_path / "a.safetensors", backbone="b")
    found = read_projector(tmp_path / "a.safetensors")({"a": x})["a"]
    assert found.dtype == torch.float32
    assert torch.allclose(found, before, atol=5e-3)


def test_a_damaged_projector_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_projector(_ensemble("a"), path, backbone="b")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        read_projector(path)
