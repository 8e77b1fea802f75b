"""A router with one slot more, of which only the new slot's row learns."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnibind.routers import Router

__all__ = ["GrownRouter"]


class GrownRouter(nn.Module):
    """Weighs the slots of a trained router and a new one.

    The old router is frozen, its BatchNorm statistics too; the new row begins as the mean of the
    old ones, so that the new slot begins with a fair share.

    Args:
        router: trained.
        slot: name of the new one.
    """

    def __init__(self, router: Router, slot: str) -> None:
        super().__init__()
        self._old = (router.requires_grad_(False).eval(),)  # no child: no part of the state
        self._slot = slot
        last = _last(router)
        self.row = nn.Linear(last.in_features, 1)
        with torch.no_grad():
            self.row.weight.copy_(last.weight.mean(0, keepdim=True))
            self.row.bias.copy_(last.bias.mean(0, keepdim=True))

    def forward(self, x: Float[Tensor, "item dim"]) -> Float[Tensor, "item slot"]:
        """Slot weights of each item, the new slot's last."""
        (router,) = self._old
        hidden = router.net[:-1](x)
        logits = torch.cat([_last(router)(hidden), self.row(hidden)], dim=-1)
        return torch.softmax(router.temperature * torch.sigmoid(logits), dim=-1)

    def whole(self) -> Router:
        """An ordinary router; its old rows are those of the old one, number for number."""
        (old,) = self._old
        new = Router(old.dim, [*old.slots, self._slot], temperature=old.temperature)
        state = old.state_dict()
        last = f"net.{len(old.net) - 1}"
        for name in ("weight", "bias"):
            row = self.row.state_dict()[name]
            state[f"{last}.{name}"] = torch.cat([state[f"{last}.{name}"], row])
        new.load_state_dict(state)
        return new.eval()


def _last(router: Router) -> nn.Linear:
    last = router.net[-1]
    assert isinstance(last, nn.Linear)
    return last
