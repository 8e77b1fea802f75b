"""How a command ends when something goes wrong."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest
from safetensors import SafetensorError

from omnibind.cli.failing import exit_code
from omnibind.errors import MediaError, SetupError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SetupError("a", found="b", next_step="c"), 2),
        (MediaError("a", found="b", next_step="c"), 1),
        (ValueError("x"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_has_its_exit_code_and_no_traceback(capsys, error, code):
    assert exit_code(error) == code
    assert "Traceback" not in capsys.readouterr().err


def test_an_error_of_ours_is_printed_with_what_was_found_and_what_to_do(capsys):
    exit_code(SetupError("the table x", found="no such file", next_step="make one"))
    assert capsys.readouterr().err == (
        "error: the table x\n  found:  no such file\n  next:   make one\n"
    )


def test_an_unknown_error_points_at_the_doctor(capsys):
    exit_code(ZeroDivisionError("division by zero"))
    shown = capsys.readouterr().err
    assert "ZeroDivisionError" in shown
    assert "`omnibind doctor`" in shown


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "x.parquet"),
        OSError("No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_said_and_what_to_do(capsys, error):
    assert exit_code(error) == 2
    assert "make room on the disk" in capsys.readouterr().err


def test_debug_shows_the_traceback(omnibind):
    ran = omnibind("--debug", "spaces", "nowhere")
    assert "Traceback" in ran.err
    assert "error: no installed plugin" in ran.err


def test_a_reader_that_has_seen_enough_is_no_error(site):
    command = f"{sys.executable} -m omnibind.cli spaces --json | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_results_and_talk_go_different_ways(process):
    ran = process("spaces", "nowhere")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
