"""What needs no torch imports no torch, nor anything else that takes long."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "torch", "numpy", "pyarrow", "PIL", "pydantic", "rich", "huggingface_hub", "av",
    "lance", "faiss",
)  # fmt: skip
PROBE = """
import json, sys
from omnibind.cli import main
main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def modules_after(*code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", *code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_importing_omnibind_imports_next_to_nothing():
    loaded = modules_after("import json, sys, omnibind; print(json.dumps([*sys.modules]), "
                           "file=sys.stderr)")  # fmt: skip
    assert not loaded & {*HEAVY, "typer", "rich", "pluggy"}


@pytest.mark.parametrize(
    "words", [("--help",), ("--version",), ("spaces",), ("plugins",), ("recipes",)]
)
def test_a_listing_imports_no_torch(site, words):
    loaded = modules_after(PROBE, *words)
    assert not loaded & set(HEAVY)
    assert "omnibind.cli.embed" not in loaded


def test_a_look_at_the_engines_imports_no_torch(site):
    loaded = modules_after(PROBE, "top", "--once")
    assert not loaded & set(HEAVY) - {"pydantic"}  # which Typer has for the number of --pid


def test_the_benchmark_times_each_of_them(omnibind):
    ran = omnibind("bench", "startup", "--runs", 1, "--json")
    assert ran.code == 0
    commands = [timing["command"] for timing in json.loads(ran.out)["figures"]]
    assert commands == [
        "import omnibind",
        "omnibind --help",
        "omnibind spaces",
        "omnibind plugins",
        "omnibind recipes",
    ]
