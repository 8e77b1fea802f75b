"""omnibind binds pre-trained embedding spaces into one.

    import omnibind

    model = omnibind.load("starter")
    found = model.embed(["a cat", Path("cat.jpg")])
    found.rows  # float32 [item, joint], unit norm

Torch is imported on first use, not here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from omnibind.errors import OmnibindError

if TYPE_CHECKING:
    from omnibind.embedder import Embedder, Embeddings, Windows, load

__version__ = "0.1.0"
__all__ = ["Embedder", "Embeddings", "OmnibindError", "Windows", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name in ("Embedder", "Embeddings", "Windows", "load"):
        return getattr(import_module("omnibind.embedder"), name)
    raise AttributeError(f"module 'omnibind' has no attribute {name!r}")
