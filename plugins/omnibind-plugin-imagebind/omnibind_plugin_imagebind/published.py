"""How the published file `imagebind_huge.pth` is laid out: six encoders, four parts each."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from omnibind.weights import LoadReport, load_state

__all__ = ["OPEN_CLIP_BLOCKS", "load"]

ENCODERS = ("vision", "text", "audio", "depth", "thermal", "imu")
OPEN_CLIP_BLOCKS = {
    r"trunks\.(blocks\.\d+)\.norm_(\d)\.(\w+)": r"transformer.res\1.ln_\2.\3",
    r"trunks\.(blocks\.\d+)\.mlp\.fc1\.(\w+)": r"transformer.res\1.mlp.c_fc.\2",
    r"trunks\.(blocks\.\d+)\.mlp\.fc2\.(\w+)": r"transformer.res\1.mlp.c_proj.\2",
    r"trunks\.(blocks\.\d+)\.(attn\..+)": r"transformer.res\1.\2",
}
"""Keys of a block -> as open_clip's transformer has them."""


def load(
    encoder: nn.Module,
    state: Mapping[str, Tensor],
    *,
    name: str,
    renamed: Mapping[str, str],
    unused: Mapping[str, str] | None = None,
) -> LoadReport:
    """Fits one encoder's share of the published file; the other five are dropped by name.

    Args:
        encoder: the network.
        state: the whole file.
        name: what the file calls the encoder.
        renamed: pattern of `<part>.<key>`, a key without its encoder's name -> key of ours.
        unused: pattern of a whole key of this share that is not needed -> why.
    """
    others = {f"modality_*.{one}.*": f"of the {one} encoder" for one in ENCODERS if one != name}
    share = re.compile(rf"modality_(\w+)\.{name}\.(.+)")

    def rename(key: str) -> str | None:
        match = share.fullmatch(key)
        return _ours(f"{match[1]}.{match[2]}", renamed) if match else None

    return load_state(encoder, state, rename=rename, dropped={**others, **(unused or {})})


def _ours(key: str, renamed: Mapping[str, str]) -> str | None:
    for pattern, ours in renamed.items():
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(ours)
    return None
