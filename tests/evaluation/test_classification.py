"""Zero-shot classification: counted as by hand, several labels, classes without prompts."""

from __future__ import annotations

import pytest
import torch

from omnibind.errors import ShapeError
from omnibind.evaluation import class_rows, classification

CLASSES = torch.eye(4)
NAMES = ("cat", "dog", "car", "bus")


def test_the_nearest_class_counts_as_top_1():
    rows = CLASSES[[0, 1, 2, 0]] + 0.1
    found = classification(rows, CLASSES, NAMES, ["cat", "dog", "car", "bus"], ks=(1, 2))
    assert found.top[1].value == 0.75
    assert found.top[1].chance == pytest.approx(0.25)
    assert found.top[2].chance == pytest.approx(0.5)
    assert (found.items, found.classes) == (4, 4)


def test_any_of_several_labels_is_right():
    found = classification(CLASSES[:1] + 0.1, CLASSES, NAMES, [("dog", "cat")], ks=(1,))
    assert found.top[1].value == 1


def test_map_is_the_mean_over_classes_of_the_precision_at_their_items():
    rows = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
    found = classification(rows, torch.eye(2), "ab", ["b", "a", "b"], ks=(1,))
    by_hand = {"a": 1 / 2, "b": (1 / 1 + 2 / 3) / 2}
    assert found.mean_average_precision.value == pytest.approx(sum(by_hand.values()) / 2)


def test_an_item_of_no_class_is_left_out_and_counted():
    found = classification(CLASSES[:3], CLASSES, NAMES, ["cat", "dog", "whale"])
    assert (found.items, found.unlabelled, found.classes) == (2, 1, 2)


def test_a_class_row_is_the_unit_mean_of_its_prompts():
    prompts = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, -3.0]])
    rows = class_rows(prompts, ["a", "a", "b"], ["b", "a"])
    assert torch.allclose(rows, torch.tensor([[0.0, -1.0], [0.5**0.5, 0.5**0.5]]))


def test_a_class_without_a_prompt_is_refused_by_name():
    with pytest.raises(ShapeError, match="none for 'c'"):
        class_rows(torch.eye(2), ["a", "b"], ["a", "b", "c"])
