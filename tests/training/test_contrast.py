import pytest
import torch
import torch.nn.functional as F

from omnibind.training.contrast import contrast
from omnibind.training.losses import info_nce

SPACES, HEADS, TARGETS, SIDES = 2, 3, 2, 2


def _given(items: int, joint: int, scale: float):
    random = torch.Generator().manual_seed(0)
    aims = F.normalize(torch.randn(HEADS, TARGETS, items, joint, generator=random), dim=-1)
    rows = torch.randn(SPACES, HEADS, joint, SIDES * items, generator=random)
    right = aims[:, 0].mT.repeat(1, 1, SIDES)  # rows that are learned already: near their aims
    rows = (rows + 2 * right * rows.norm(dim=-2, keepdim=True)).requires_grad_()
    repeated = torch.rand(HEADS, TARGETS, items, SIDES, items, generator=random) < 0.05
    repeated.diagonal(0, 2, 4).fill_(False)
    scales = torch.full((SPACES, HEADS), scale).requires_grad_()
    return rows, aims, repeated, scales


def _one_by_one(rows, aims, repeated, scales):
    """As the formula has it, in float64: every side with every target."""
    unit = F.normalize(rows, dim=2).mT.unflatten(2, (SIDES, -1))
    return sum(
        info_nce(
            unit[:, :, side],
            aims[:, target].expand_as(unit[:, :, side]),
            repeated[:, target, :, side].mT,
            scale=scales[..., None, None],
        )
        for side in range(SIDES)
        for target in range(TARGETS)
    )


def _with_gradients(loss, rows, scales):
    weights = torch.arange(1, loss.numel() + 1, dtype=loss.dtype).view_as(loss)
    return loss.detach(), *torch.autograd.grad((loss * weights).sum(), [rows, scales])


@pytest.mark.parametrize("scale", [1.0, 14.0, 80.0, 100.0])
@pytest.mark.parametrize(("items", "joint"), [(5, 7), (96, 160), (300, 32)])
def test_loss_and_gradients_are_those_of_info_nce_one_by_one(items, joint, scale) -> None:
    rows, aims, repeated, scales = _given(items, joint, scale)
    found = _with_gradients(contrast(rows, aims, repeated, scales), rows, scales)
    exact = [part.detach().double() for part in (rows, aims, scales)]
    rows, scales = exact[0].requires_grad_(), exact[2].requires_grad_()
    asked = _with_gradients(_one_by_one(rows, exact[1], repeated, scales), rows, scales)
    for one, other in zip(found, asked, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=3e-5, atol=3e-6 * other.abs().max())


def test_without_repeats_every_other_place_is_a_negative() -> None:
    rows, aims, repeated, scales = _given(6, 8, 14.0)
    without = contrast(rows, aims, None, scales)
    assert torch.equal(without, contrast(rows, aims, torch.zeros_like(repeated), scales))
    assert not torch.equal(without, contrast(rows, aims, repeated, scales))
