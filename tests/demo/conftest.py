"""A small folder of media with a manifest, and a toy model that reads it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import trimesh
from PIL import Image

import omnibind
from omnibind.engine import Engine
from omnibind.testing import ToySpace, toy_recipe, toy_registry

CONCEPTS = ("</script><img src=x onerror=alert(1)>", "dog & cat", "tap {{data}}")
CREDITS = """# Who

| file | who |
|---|---|
| `a.png` | <script>alert(2)</script> |

[good](https://example.org) [bad](javascript:alert(3))
"""


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three concepts, named so that careless HTML would break."""
    folder = tmp_path_factory.mktemp("media")
    entries = [_written(folder, number, concept) for number, concept in enumerate(CONCEPTS)]
    (folder / "manifest.json").write_text(json.dumps(entries))
    (folder / "ATTRIBUTION.md").write_text(CREDITS)
    return folder


def _written(folder: Path, number: int, concept: str) -> dict[str, str]:
    random = np.random.default_rng(number)
    pixels = random.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / f"{number}.png")
    soundfile.write(folder / f"{number}.wav", random.uniform(-0.5, 0.5, 8000), 16_000)
    trimesh.creation.box(extents=(1, 1 + number, 0.5)).export(folder / f"{number}.ply")
    return {
        "concept": concept,
        "text": f"this is a <b>{concept}</b>",
        "image": f"{number}.png",
        "audio": f"{number}.wav",
        "points": f"{number}.ply",
    }


@pytest.fixture(scope="session")
def model() -> omnibind.Embedder:
    """One toy space that reads everything."""
    space = ToySpace("toy")
    engine = Engine(device="cpu", size="tiny", workers=2)
    known = toy_registry(space, toy_recipe("toys", [space]))
    return omnibind.load("toys", engine=engine, known=known)
