"""Runs golden cases and prints how far each tensor is from the original's."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from omnibind.errors import OmnibindError
from omnibind.testing.golden.case import Case
from omnibind.testing.golden.compare import compare, differing, table


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 where every case passes, 1 where one does not, 2 where there is none."""
    parser = argparse.ArgumentParser(prog="python -m omnibind.testing.golden", description=__doc__)
    parser.add_argument("cases", nargs="+", type=Path, metavar="CASE_DIR")
    parser.add_argument("--out", type=Path, help="folder for <case>.safetensors")
    parser.add_argument(
        "--layouts", action="store_true", help="also run each other layout of the checkpoint"
    )
    asked = parser.parse_args(arguments)
    cases = [folder for folder in asked.cases if _is_case(folder)]
    if not cases:
        parser.error("none of these folders is a case")
    failed = [folder.name for folder in cases if not _passes(folder, asked.out, asked.layouts)]
    print(f"{len(cases) - len(failed)} of {len(cases)} cases pass", file=sys.stderr)
    return 1 if failed else 0


def _is_case(folder: Path) -> bool:
    """Whether to run it; what lies beside cases (assets, media) is left out, and named."""
    beside = folder.is_dir() and not (folder / "case.json").exists()
    if beside:
        print(f"{folder}: no case.json in it, left out", file=sys.stderr)
    return not beside


def _passes(folder: Path, out: Path | None, layouts: bool) -> bool:
    started = time.monotonic()
    try:
        case = Case(folder)
        outputs = case.run()
        passes = _report(case, outputs)
        if out:
            _write(outputs, out / f"{case.name}.safetensors")
        if layouts:
            passes = _layouts_agree(case, outputs) and passes
    except OmnibindError as error:
        print(error, file=sys.stderr)
        passes = False
    except Exception:  # noqa: BLE001 - a plugin's fault must not hide the other cases
        traceback.print_exc()
        passes = False
    print(f"{'ok  ' if passes else 'FAIL'}  {folder.name}  {time.monotonic() - started:.1f} s\n")
    return passes


def _report(case: Case, outputs: Mapping[str, Tensor]) -> bool:
    expected = case.expected
    verdicts = list(compare(case.facts["checks"], outputs, expected))
    print(f"{case.name}{'' if expected else ' (no expected values: shapes only)'}")
    print(table(verdicts))
    return all(verdict.passes for verdict in verdicts)


def _layouts_agree(case: Case, outputs: Mapping[str, Tensor]) -> bool:
    agree = True
    for layout, others in case.run_other_layouts():
        names = differing(outputs, others)
        print(f"{'FAIL' if names else 'ok  '}  layout {layout} {' '.join(names)}")
        agree = agree and not names
    return agree


def _write(outputs: Mapping[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in outputs.items()}, path)


if __name__ == "__main__":
    sys.exit(main())
