"""Through the published layout, Uni3D gives the numbers of the original code.

Reference: baaivision/Uni3D at 64e03c3, run at tiny widths on the CPU in float32; see `case.json`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from omnibind.testing.golden import Case, compare

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"


@pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the golden cases of the original code are not beside the project"
)
def test_every_check_is_within_its_tolerance() -> None:
    case = Case(GOLDEN / "uni3d")
    verdicts = list(compare(case.facts["checks"], case.run(), case.expected))
    assert [verdict for verdict in verdicts if not verdict.passes] == []
