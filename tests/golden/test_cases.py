"""Every public golden case: the numbers of the original codes, within their tolerance."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnibind.testing.golden import Case, compare

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
CASES = sorted(path.parent for path in GOLDEN.glob("*/case.json"))


def test_the_golden_cases_are_beside_the_project() -> None:
    if not CASES:
        pytest.skip("the golden cases of the original codes are not beside the project")
    assert len(CASES) == 15


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_a_case_gives_the_numbers_of_the_original(folder: Path) -> None:
    case = Case(folder)
    verdicts = list(compare(case.facts["checks"], case.run(), case.expected))
    assert verdicts
    assert [str(verdict) for verdict in verdicts if not verdict.passes] == []
