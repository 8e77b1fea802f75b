"""Through the published layout, both spaces give the numbers of the original code.

Reference: LAION-AI/CLAP at 1fd4c37, run at tiny widths on the CPU in float32; see `case.json`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from omnibind.testing.golden import Case, compare

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"
pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the golden cases of the original code are not beside the project"
)


@pytest.mark.parametrize("name", ["clap-general", "clap-music"])
def test_every_check_is_within_its_tolerance(name: str) -> None:
    case = Case(GOLDEN / name)
    verdicts = list(compare(case.facts["checks"], case.run(), case.expected))
    assert [verdict for verdict in verdicts if not verdict.passes] == []
