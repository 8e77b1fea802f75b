"""Products on a CPU: another library, the same numbers."""

from __future__ import annotations

import pytest
import torch

from omnibind import products

pytestmark = pytest.mark.usefixtures("lagging")


@pytest.mark.parametrize("matrices", [1, 3])
@pytest.mark.parametrize("rows", [2, 320])  # below and above what oneDNN is asked for
def test_batched_products_and_their_gradients(rows: int, matrices: int) -> None:
    random = torch.Generator().manual_seed(0)
    left = torch.randn(matrices, rows, 160, generator=random).requires_grad_()
    right = torch.randn(matrices, 200, 160, generator=random).requires_grad_()
    weights = torch.randn(matrices, rows, 200, generator=random)
    found = products.batched(left, right.mT)
    expected = left @ right.mT
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    given = torch.autograd.grad((found * weights).sum(), [left, right])
    for one, other in zip(
        given, torch.autograd.grad((expected * weights).sum(), [left, right]), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)


def test_only_the_side_that_learns_has_a_gradient() -> None:
    left, right = torch.ones(1, 320, 160), torch.ones(1, 160, 200, requires_grad=True)
    products.batched(left, right).sum().backward()
    assert right.grad is not None
    assert torch.equal(right.grad, torch.full_like(right, 320))
