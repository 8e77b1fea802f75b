"""Weights: from a reference on a card to a loaded network.

`references` finds the file, `state` reads it without running anything, `build` makes the module.
"""

from omnibind.weights.build import build_encoder, lay_out
from omnibind.weights.folders import cache_folder
from omnibind.weights.references import locate
from omnibind.weights.state import LoadReport, load_state, read_state

__all__ = [
    "LoadReport",
    "build_encoder",
    "cache_folder",
    "lay_out",
    "load_state",
    "locate",
    "read_state",
]
