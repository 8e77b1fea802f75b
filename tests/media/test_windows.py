"""Media of any length become a few windows of one length, and their rows one row."""

from __future__ import annotations

import pytest
import torch

from omnibind.media.windows import every, joined, max_rows, mean_rows, windows


def starts(held: int, length: int, slack: int = 0) -> list[int]:
    cut = windows(torch.arange(held, dtype=torch.float32)[None], length, slack=slack)
    assert {len(window) for window in cut} == {min(held, length)}
    return [int(window[0]) for window in cut]


@pytest.mark.parametrize(
    ("held", "expected"),
    [(1, [0]), (99, [0]), (100, [0]), (105, [0]), (106, [0, 6]), (310, [0, 70, 140, 210])],
)
def test_windows_reach_from_the_first_to_the_last_sample(held: int, expected: list[int]) -> None:
    assert starts(held, 100, slack=5) == expected


def test_more_than_thirty_windows_are_spread() -> None:
    found = starts(100_000, 100)
    assert (len(found), found[0], found[-1]) == (30, 0, 99_900)


def test_each_excerpt_gives_one_window_at_its_place_in_the_whole() -> None:
    excerpts = torch.arange(30.0).reshape(3, 10)
    assert [w.tolist() for w in windows(excerpts, 4)] == [
        [0, 1, 2, 3],
        [13, 14, 15, 16],
        [26, 27, 28, 29],
    ]


def test_signals_stay_together() -> None:
    assert [tuple(w.shape) for w in windows(torch.zeros(1, 6, 25), 10)] == [(6, 10)] * 3


@pytest.mark.parametrize(("held", "filled"), [(1, [1]), (10, [10]), (12, [10]), (15, [10, 7])])
def test_a_last_window_that_is_hardly_filled_is_left_out(held: int, filled: list[int]) -> None:
    made = every(torch.ones(held, 2), 10, 8, shortest=5)
    assert made[:, :, 0].sum(1).tolist() == filled


def test_of_too_many_steps_an_even_choice_is_kept() -> None:
    made = every(torch.arange(1000.0), 10, 10, shortest=10, most=4)
    assert made[:, 0].tolist() == [0, 330, 660, 990]


def test_windows_of_several_items_go_together_and_come_apart_again() -> None:
    items = [{"mels": torch.full((n, 2), float(n))} for n in (1, 3)]
    batch = joined(items)
    assert batch["count"].tolist() == [1, 3]
    assert mean_rows(batch["mels"], batch["count"]).tolist() == [[1, 1], [3, 3]]


def test_the_largest_rows_are_those_of_each_item():
    rows = torch.tensor([[1.0, 5.0], [3.0, 2.0], [-4.0, -1.0]])
    found = max_rows(rows, torch.tensor([2, 1]))
    assert found.tolist() == [[3.0, 5.0], [-4.0, -1.0]]
