"""Heads: batched is what each would have learned alone; what cannot be trained is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from omnibind.errors import ShapeError, TrainingError
from omnibind.projectors import HeadEnsemble, Identity
from omnibind.training import project
from omnibind.training.descent import DescentSettings, descend
from omnibind.training.heads import HeadObjective, HeadSettings, new_heads
from omnibind.training.tuples import RowsInMemory


def _objective(recipe, rows, tuples, spaces, settings) -> HeadObjective:
    groups = [HeadEnsemble.stacked([new_heads(s, 12, recipe, seed=0) for s in spaces])]
    return HeadObjective(recipe, groups, rows, tuples, settings).train()


def test_own_batches_with_the_same_items_give_the_rows_of_the_usual_pass():
    torch.manual_seed(0)
    ensemble = HeadEnsemble(["a", "b"], 6, 8, heads=3, hidden=5).eval()
    x = F.normalize(torch.randn(2, 10, 6), dim=-1)
    usual = ensemble.unit_heads({"a": x[0], "b": x[1]})
    own = F.normalize(ensemble.own_batches(x[:, None].expand(-1, 3, -1, -1)), dim=2).mT
    for at, name in enumerate("ab"):
        assert torch.allclose(own[at].transpose(0, 1), usual[name], atol=1e-6)


def test_statistics_of_a_head_are_those_of_its_own_items():
    torch.manual_seed(0)
    ensemble = HeadEnsemble(["a"], 6, 8, heads=3, hidden=5).train()
    x = torch.randn(1, 3, 40, 6)
    ensemble.own_batches(x)
    means = ensemble.first_norm.running_mean.view(3, 5)
    for head in range(3):
        product = x[0, head] @ ensemble.first[0].view(3, 5, 6)[head].T
        assert torch.allclose(means[head], 0.1 * product.mean(0), atol=1e-6)


def test_rows_of_another_width_are_refused():
    with pytest.raises(ShapeError, match="space 'a, b'"):
        HeadEnsemble(["a", "b"], 6, 8).own_batches(torch.randn(2, 7, 4, 5))


def test_spaces_learn_together_what_they_learn_alone(recipe, rows, tuples, heads, tmp_path):
    both = _objective(recipe, rows, tuples, ["second", "sound"], heads)
    descend(both, heads.descent, tmp_path / "both", inputs="")
    for name in ("second", "sound"):
        alone = _objective(recipe, rows, tuples, [name], heads)
        descend(alone, heads.descent, tmp_path / name, inputs="")
        together = both.ensembles[0].of_space(name).state_dict()
        for key, value in alone.ensembles[0].state_dict().items():
            assert torch.allclose(together[key], value, atol=1e-4), key


def test_a_space_in_the_backbones_coordinates_is_taken_as_it_is(
    recipe, rows, tuples, heads, tmp_path
):
    aligned = replace(recipe, aligned=("second",))
    found = project.run(tmp_path, recipe=aligned, rows=rows, tuples=tuples, settings=heads)
    projectors = project.read_projectors(tmp_path)
    assert isinstance(projectors["second"], Identity)
    assert found.facts["spaces"] == ["sound"]


def test_the_loss_falls(recipe, rows, tuples, tmp_path):
    settings = HeadSettings(batch=96, descent=DescentSettings(steps=60, rate=3e-3))
    objective = _objective(recipe, rows, tuples, ["second", "sound"], settings)
    with torch.no_grad():
        before = objective.parts(60)
    descend(objective, settings.descent, tmp_path, inputs="")
    with torch.no_grad():
        after = objective.parts(60)
    assert (after < 0.8 * before).all()


def test_a_fixed_temperature_stays_and_a_learned_one_moves(recipe, rows, tuples, heads, tmp_path):
    for learned in (True, False):
        settings = replace(heads, learn_temperature=learned)
        objective = _objective(recipe, rows, tuples, ["second"], settings)
        first = objective.figures(0)["temperature"]
        descend(objective, settings.descent, tmp_path / str(learned), inputs="")
        assert first == pytest.approx(0.07)
        assert (objective.figures(0)["temperature"] != first) is learned


def test_an_aggregate_over_a_cold_reference_is_the_nearest_row(recipe, rows, tuples, heads):
    cold = replace(heads, aggregate=5000, aggregate_temperature=1e-4)
    pairs = _objective(recipe, rows, tuples, ["second"], heads)
    aggregated = _objective(recipe, rows, tuples, ["second"], cold)
    warm = _objective(recipe, rows, tuples, ["second"], replace(cold, aggregate_temperature=0.1))
    with torch.no_grad():
        assert torch.allclose(aggregated.parts(0), pairs.parts(0), atol=0.2)
        assert not torch.allclose(warm.parts(0), pairs.parts(0), atol=0.2)


def test_a_row_that_is_not_finite_stops_with_step_space_and_head(
    recipe, world, tuples, heads, tmp_path
):
    spoilt = {m: dict(world._pool(m, 300, f"pool:{m}")) for m in world.modalities}
    spoilt["audio"]["sound"][:] = torch.nan
    with pytest.raises(TrainingError, match="finite loss at step 0") as caught:
        project.run(
            tmp_path, recipe=recipe, rows=RowsInMemory(spoilt), tuples=tuples, settings=heads
        )
    assert "sound/mix: nan" in str(caught.value)
    assert "second" not in str(caught.value)


def test_a_batch_that_the_modalities_cannot_share_is_refused(recipe, rows, tuples, heads):
    with pytest.raises(TrainingError, match="multiple of 12"):
        _objective(recipe, rows, tuples, ["second"], replace(heads, batch=49)).parts(0)


def test_a_backbone_of_another_width_than_the_recipe_says_is_refused(
    recipe, rows, tuples, heads, tmp_path
):
    wrong = replace(recipe, joint_dim=17)
    with pytest.raises(TrainingError, match="width 16"):
        project.run(tmp_path, recipe=wrong, rows=rows, tuples=tuples, settings=heads)


@pytest.mark.parametrize("gone", ["back", "sound"])
def test_a_space_without_rows_is_refused_by_name(gone, recipe, world, tuples, heads, tmp_path):
    pools = {m: world._pool(m, 300, f"pool:{m}") for m in world.modalities}
    for pool in pools.values():
        pool["other"] = next(iter(pool.values()))
        pool.pop(gone, None)
    with pytest.raises(TrainingError, match=gone):
        project.run(
            tmp_path, recipe=recipe, rows=RowsInMemory(pools), tuples=tuples, settings=heads
        )
