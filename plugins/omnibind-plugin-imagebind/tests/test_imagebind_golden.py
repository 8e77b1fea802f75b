"""Through the published layout, ImageBind gives the numbers of the original code.

Reference: facebookresearch/ImageBind at 53680b0, run at tiny widths on the CPU in float32; see
`case.json`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omnibind_plugin_imagebind.sound import resampled
from safetensors.torch import load_file

from omnibind.media import audio
from omnibind.testing.golden import Case, compare

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"


pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the golden cases of the original code are not beside the project"
)


def test_every_check_is_within_its_tolerance() -> None:
    case = Case(GOLDEN / "imagebind")
    verdicts = list(compare(case.facts["checks"], case.run(), case.expected))
    assert [verdict for verdict in verdicts if not verdict.passes] == []


@pytest.mark.parametrize("name", ["res_441_stereo", "res_32k"])
def test_sounds_of_other_rates_are_resampled_as_the_original_does(name: str) -> None:
    known = load_file(GOLDEN / "resampling" / "expected.safetensors")[f"{name}.16k"]
    both = resampled(audio.load(GOLDEN / "media" / f"{name}.wav")).flatten(1)
    wanted = torch.stack([known[0], known.mean(0)])
    torch.testing.assert_close(both, wanted, rtol=0, atol=2e-5)
