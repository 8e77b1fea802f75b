"""`top` and `--metrics-port`: what an engine does, seen from another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from omnibind.cli.metering import address_of, url_of
from omnibind.engine import Engine, Item, recognise
from omnibind.errors import SetupError
from omnibind.plugins import load_registry
from omnibind.running import engines_folder
from omnibind.testing import ToySpace

MODALITIES = load_registry().modalities
ENCODER = ToySpace("seen", modalities=["text"]).encoders["text"]
TINY = ("--recipe", "toys", "--size", "tiny")


@pytest.fixture
def at_work(site) -> Iterator[Engine]:
    """An engine that has been at work for a second and goes on until the test has ended."""
    engine = Engine(device="cpu", size="tiny", weights="random", workers=1, memory="1GiB")
    ended = threading.Event()

    def texts() -> Iterator[Item]:
        for number in range(10**9):
            if ended.wait(0.001):
                return
            yield recognise(number, f"{number} cats", MODALITIES, "text")

    work = threading.Thread(target=lambda: engine.encode(texts(), {"text": [ENCODER]}))
    work.start()
    while not list(engines_folder().glob("*.json")):
        assert work.is_alive()
        ended.wait(0.01)
    yield engine
    ended.set()
    work.join()
    engine.close()


def test_another_process_sees_the_numbers(at_work, process):
    ran = process("top", "--once", "--json", "--pid", os.getpid())
    assert ran.code == 0
    (seen,) = json.loads(ran.out)
    assert seen["process"] == os.getpid()
    assert seen["command"]
    stats = at_work.stats()
    assert 0 < seen["items"]["text"] <= stats.items["text"]
    assert seen["items_per_second"]["text"] > 0
    encoder = seen["encoders"][ENCODER.key]
    assert 0 < encoder["items"] <= stats.encoders[ENCODER.key].items
    assert 0 < encoder["batch_fill"] <= 1
    assert encoder["queue_seconds"] > 0
    assert encoder["forward_seconds"] > 0
    (device,) = seen["devices"]
    assert (device["name"], device["budget_bytes"]) == ("cpu", 2**30)
    assert device["resident_bytes"] == stats.lanes[0].resident_bytes


def test_in_a_pipe_it_is_a_table_and_imports_no_torch(at_work):
    probe = (
        "import sys; from omnibind.cli import main; main(['top']); print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False"
    engines, encoders = ran.stdout.split("\n\n")
    assert str(os.getpid()) in engines
    assert "1.07 GB" in engines
    assert ENCODER.key in encoders


def test_where_nothing_runs_it_says_so(omnibind):
    ran = omnibind("top", "--once")
    assert (ran.code, ran.out) == (0, "")
    assert "no engine is at work on this machine" in ran.err
    assert omnibind("top", "--json").out.strip() == "[]"


def test_a_process_without_an_engine_is_an_error(omnibind):
    ran = omnibind("top", "--pid", os.getpid())
    assert ran.code == 2
    assert f"engines of process {os.getpid()}" in ran.err


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals on this system")
def test_on_a_terminal_it_goes_on_until_ctrl_c(at_work):
    own, its = os.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "omnibind.cli", "top"], stdout=its, stderr=its, stdin=its
    )
    os.close(its)
    shown = b""
    while shown.count(str(os.getpid()).encode()) < 5:  # two looks, two tables each, and one more
        shown += os.read(own, 4096)
    running.send_signal(signal.SIGINT)
    assert running.wait() == 0
    os.close(own)
    assert b"items/s" in shown


def test_a_running_command_serves_its_metrics(site, tmp_path: Path):
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"{n} cats\n" for n in range(5000)))
    running = subprocess.Popen(
        [
            *(sys.executable, "-m", "omnibind.cli", "embed", "--texts", texts, *TINY),
            *("--out", tmp_path / "rows.parquet", "--part-items", "3", "--metrics-port", "0"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr
    with running.stderr as lines:
        where = next(line.split()[1] for line in lines if line.startswith("metrics: "))
        assert where.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(where) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        running.kill()
        running.wait()
    assert "omnibind_items" in {family.name for family in families}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:9100", ("::1", 9100)),
    ],
)
def test_an_address_is_a_port_or_a_host_and_a_port(said, meant):
    assert address_of(said) == meant


def test_where_metrics_are_is_said_as_browsers_take_it():
    assert url_of("127.0.0.1", 9100) == "http://127.0.0.1:9100/metrics"
    assert url_of("::1", 9100) == "http://[::1]:9100/metrics"


@pytest.mark.parametrize("said", ["", "port", "host:", "65536", "-1"])
def test_what_is_no_address_is_refused(said):
    with pytest.raises(SetupError, match="0 to 65535"):
        address_of(said)
