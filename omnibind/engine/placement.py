"""Which device runs which encoder: by cost, under their budgets, copied where that pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["place"]


def place(
    costs: Mapping[str, float], sizes: Mapping[str, int], budgets: Sequence[int | None]
) -> list[set[str]]:
    """Assigns encoders to devices.

    The costliest goes first, each to the device that has least to do and room for it; one that
    fits nowhere goes to the largest. Then the busiest device's costliest encoder gets a copy on
    the idlest device that has room, as long as that shortens the longest line. Copies share the
    items evenly. Ours.

    Args:
        costs: of an item, by encoder, in any one unit.
        sizes: bytes of weights.
        budgets: bytes for weights, a device; None is without bound.

    Returns:
        The encoders of each device.
    """
    plan = _Plan(costs, sizes, budgets)
    for key in sorted(costs, key=lambda k: (-costs[k], k)):
        plan.add(key, plan.idlest(key))
    while plan.copy_where_it_pays():
        pass
    return plan.held


class _Plan:
    def __init__(
        self, costs: Mapping[str, float], sizes: Mapping[str, int], budgets: Sequence[int | None]
    ) -> None:
        self.costs, self.sizes, self.budgets = costs, sizes, budgets
        self.held: list[set[str]] = [set() for _ in budgets]

    def add(self, key: str, lane: int) -> None:
        self.held[lane].add(key)

    def load(self, lane: int) -> float:
        return sum((self.costs[key] / self._copies(key) for key in self.held[lane]), 0.0)

    def idlest(self, key: str) -> int:
        lanes = range(len(self.budgets))
        fitting = [lane for lane in lanes if self._fits(key, lane)]
        if fitting:
            return min(fitting, key=lambda lane: (self.load(lane), lane))
        return max(lanes, key=lambda lane: (self.budgets[lane] or 0, -self.load(lane), -lane))

    def copy_where_it_pays(self) -> bool:
        lanes = range(len(self.budgets))
        busiest = max(lanes, key=self.load)
        longest = self.load(busiest)
        for key in sorted(self.held[busiest], key=lambda k: (-self.costs[k], k)):
            others = [n for n in lanes if key not in self.held[n] and self._fits(key, n)]
            if not others:
                continue
            idlest = min(others, key=self.load)
            self.held[idlest].add(key)
            if max(self.load(lane) for lane in lanes) < longest:
                return True
            self.held[idlest].remove(key)
        return False

    def _copies(self, key: str) -> int:
        return sum(key in held for held in self.held)

    def _fits(self, key: str, lane: int) -> bool:
        budget = self.budgets[lane]
        return budget is None or sum(self.sizes[k] for k in {*self.held[lane], key}) <= budget
