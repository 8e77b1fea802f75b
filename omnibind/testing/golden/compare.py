"""How far outputs are from the expected ones, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Verdict", "compare", "differing", "table"]

Facts = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One tensor of one check: its name, what was found, what is allowed, and whether it passes."""

    check: str
    tensor: str
    found: str
    allowed: str
    passes: bool


def compare(
    checks: Sequence[Facts], outputs: Mapping[str, Tensor], expected: Mapping[str, Tensor] | None
) -> Iterator[Verdict]:
    """Judges every tensor that the checks name.

    Args:
        checks: of a case.json.
        outputs: what was computed.
        expected: the original's; None where they are not known: then only shapes and types count.
    """
    for check in checks:
        for name, promised in check["outputs"].items():
            found, allowed, passes = _judge(check, name, promised, outputs, expected)
            yield Verdict(
                check=check["id"], tensor=name, found=found, allowed=allowed, passes=passes
            )


def _judge(
    check: Facts,
    name: str,
    promised: Facts,
    outputs: Mapping[str, Tensor],
    expected: Mapping[str, Tensor] | None,
) -> tuple[str, str, bool]:
    if name not in outputs:
        return "missing", "optional" if check.get("optional") else "", bool(check.get("optional"))
    made, wanted = outputs[name], f"{promised['dtype']} {promised['shape']}"
    kind = f"{str(made.dtype).removeprefix('torch.')} {list(made.shape)}"
    if kind != wanted:
        return kind, wanted, False
    if expected is None:
        return "written", "", True
    kept = [row for row in range(len(made)) if row not in check.get("quirk_rows", ())]
    return _difference(check, name, made[kept], expected[name][kept])


def _difference(check: Facts, name: str, made: Tensor, known: Tensor) -> tuple[str, str, bool]:
    kind = check["compare"]
    if kind == "overlap":
        common = len(set(made.flatten().tolist()) & set(known.flatten().tolist()))
        least = check["min_overlap"]
        return f"{common} in common", f"at least {least}", common >= least
    if kind in ("exact", "exact_u8") or not made.is_floating_point():
        differing = int((made != known).sum())
        return f"{differing} of {made.numel()} differ", "0", differing == 0
    if kind not in ("close", "exact_then_close"):
        raise ValueError(f"the check {check['id']!r} is to be compared by {kind!r}: unknown")
    atol = check.get("atol_per", {}).get(name, check["atol"])
    furthest = float((made.double() - known.double()).abs().max()) if made.numel() else 0.0
    return f"max|d| {furthest:.2e}", f"{atol:.0e}", furthest <= atol


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as aligned lines."""
    rows = [
        ("ok  " if v.passes else "FAIL", v.check, v.tensor, v.found, v.allowed) for v in verdicts
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def differing(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> list[str]:
    """Names of outputs that are not the same to the last bit in both."""
    return [
        name
        for name in sorted({*first, *second})
        if name not in first or name not in second or not torch.equal(first[name], second[name])
    ]
