"""An engine seen from outside: its counts, its file, its metrics."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from omnibind.engine import Engine, RowCache, recognise
from omnibind.engine.report.metrics import metrics_of, served_metrics
from omnibind.engine.report.published import Publisher, report_of
from omnibind.engine.report.stats import EncoderStats
from omnibind.errors import SetupError
from omnibind.plugins import load_registry
from omnibind.running import engines_folder, new_file, running_engines, write_report
from omnibind.testing import ToySpace

MODALITIES = load_registry().modalities
SPACE = ToySpace("seen", modalities=["text"])
KEY = SPACE.encoders["text"].key
SOON = 0.01


def encode(engine: Engine, count: int) -> None:
    items = [recognise(n, f"{n} cats", MODALITIES, "text") for n in range(count)]
    engine.encode(items, {"text": [SPACE.encoders["text"]]})


def until(there) -> None:
    """Waits; the test run's own limit ends it."""
    pause = threading.Event()
    while not there():
        pause.wait(SOON)


def rests() -> bool:
    """Whether nothing is written for a while."""
    written = running_engines()[0].written
    threading.Event().wait(10 * SOON)
    return running_engines()[0].written == written


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMNIBIND_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def engine(cache: Path) -> Iterator[Engine]:
    made = Engine(device="cpu", size="tiny", weights="random", workers=1, cache=RowCache())
    yield made
    made.close()


@pytest.fixture
def publisher(engine: Engine) -> Iterator[Publisher]:
    """One that does not wait a second."""
    made = Publisher(engine.stats, SOON)
    yield made
    made.close()


def test_a_row_is_counted_with_its_wait_and_its_bytes(engine):
    encode(engine, 5)
    stats = engine.stats()
    one, lane = stats.encoders[KEY], stats.lanes[0]
    assert (one.items, one.failed, one.cached_share) == (5, 0, 0.0)
    assert one.queued >= one.waited > 0
    assert one.queue_seconds == pytest.approx(one.queued / 5)
    assert one.item_seconds == pytest.approx(one.seconds / 5)
    assert one.sample_bytes > 0
    assert lane.resident_bytes.keys() == {KEY}
    assert lane.resident_bytes == lane.moved


def test_what_was_added_since_a_moment():
    early = EncoderStats(batched=4, batches=1, places=8.0)
    late = EncoderStats(batched=10, batches=2, places=16.0)
    assert late.since(early) == EncoderStats(batched=6, batches=1, places=8.0)
    assert late.since(early).fill == 0.75
    assert EncoderStats().queue_seconds == EncoderStats().cached_share == 0.0


def test_a_report_has_rates_of_the_interval_and_shares_of_it(engine):
    encode(engine, 5)
    before = engine.stats()
    encode(engine, 7)  # five of them are known
    now = engine.stats()
    report = report_of(now, before, 1)
    seconds = now.seconds - before.seconds
    assert report.items == report.done == {"text": 12}
    assert report.items_per_second["text"] == pytest.approx(7 / seconds)
    one = report.encoders[KEY]
    assert one.items_per_second == pytest.approx(2 / seconds)
    assert one.cached_share == pytest.approx(5 / 7)
    idle = report_of(engine.stats(), now, 1).encoders[KEY]
    assert (idle.items_per_second, idle.cached_share) == (0.0, pytest.approx(5 / 12))


def test_what_an_engine_does_can_be_read_while_it_is_there(engine, publisher):
    encode(engine, 5)
    publisher.start()
    until(publisher.path.exists)
    (report,) = running_engines()
    assert report.process == os.getpid()
    assert report.encoders[KEY].items == 5
    assert report.devices[0].resident_bytes == engine.stats().lanes[0].resident_bytes
    publisher.close()
    assert running_engines() == []
    assert list(engines_folder().iterdir()) == []


def test_it_is_written_again_only_when_something_has_changed(engine, publisher):
    encode(engine, 1)
    publisher.start()
    until(publisher.path.exists)
    encode(engine, 3)
    until(lambda: running_engines()[0].items == {"text": 4})
    assert any(rests() for _ in range(100))


def test_the_engine_does_it_itself_and_short_calls_write_nothing(engine):
    others = set(threading.enumerate())  # engines of other tests have such threads too
    encode(engine, 1)
    (mine,) = (t for t in set(threading.enumerate()) - others if t.name == "omnibind-published")
    engine.close()
    assert not mine.is_alive()
    assert not engines_folder().exists()


def test_a_folder_that_cannot_be_written_disturbs_nobody(cache, engine):
    (cache / "engines").write_text("a file where the folder should be")
    publisher = Publisher(engine.stats, SOON)
    publisher.start()
    encode(engine, 3)
    threading.Event().wait(5 * SOON)
    publisher.close()
    assert engine.stats().encoders[KEY].items == 3


def test_files_of_dead_processes_are_passed_over_and_deleted(engine):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    encode(engine, 1)
    report = report_of(engine.stats(), engine.stats(), dead.pid)
    path = new_file()
    left = path.with_name(path.name.replace(str(os.getpid()), str(dead.pid), 1))
    write_report(left, report)
    half = left.with_suffix(".abc.part")
    half.touch()
    assert running_engines() == []
    assert not left.exists()
    assert not half.exists()


def test_a_file_older_than_the_process_with_its_number_is_another_ones(engine):
    path = new_file()
    write_report(path, report_of(engine.stats(), engine.stats(), os.getpid()))
    assert len(running_engines()) == 1
    os.utime(path, (1, 1))
    assert running_engines() == []
    assert not path.exists()


@pytest.mark.parametrize("form", [{"a later version": True}, {"devices": [], "encoders": []}])
def test_a_file_of_another_form_is_passed_over_and_kept(engine, form):
    path = new_file()
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"process": os.getpid(), **form}))
    assert running_engines() == []
    assert path.exists()


def scraped(port: int) -> dict[str, tuple[str, str, dict[tuple[str, ...], float]]]:
    """Name -> type, help, value by labels; read over HTTP by the library's own parser."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        sample.name: (
            family.type,
            family.documentation,
            {tuple(s.labels.values()): s.value for s in family.samples if s.name == sample.name},
        )
        for family in families
        for sample in family.samples
    }


def test_prometheus_reads_what_the_engine_counts(engine):
    encode(engine, 5)
    encode(engine, 5)
    with served_metrics(engine, 0) as port:
        found = scraped(port)
    stats = engine.stats()
    one = stats.encoders[KEY]
    assert found["omnibind_items_total"] == (
        "counter", "Items that callers gave.", {("text",): 10}
    )  # fmt: skip
    assert found["omnibind_encoder_items_total"][2] == {(KEY,): 5}
    assert found["omnibind_encoder_cached_items_total"][2] == {(KEY,): 5}
    assert found["omnibind_encoder_queue_seconds_total"][2] == {(KEY,): one.queued}
    assert found["omnibind_encoder_forward_seconds_total"][2] == {(KEY,): one.seconds}
    assert found["omnibind_encoder_batch_fill_ratio"] == (
        "gauge", "Mean share of a batch's places that were taken, since the start.",
        {(KEY,): one.fill},
    )  # fmt: skip
    assert found["omnibind_resident_bytes"][2] == {("cpu", KEY): stats.lanes[0].resident_bytes[KEY]}
    assert found["omnibind_moved_bytes_total"][2] == {("cpu", KEY): stats.lanes[0].moved[KEY]}
    assert all(said for kind, said, _ in found.values())
    assert all(name.endswith("_total") for name, (kind, _, _) in found.items() if kind == "counter")


def test_the_page_names_every_metric_and_no_other(cache):
    engine = Engine(device="cpu", size="tiny", weights="random", memory="1GiB")
    encode(engine, 1)
    made = {sample.name for family in metrics_of(engine.stats()) for sample in family.samples}
    engine.close()
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    assert set(re.findall(r"`(omnibind_[a-z_]+)`", page)) == made


def test_a_port_that_is_taken_is_said(engine):
    with (
        served_metrics(engine, 0) as port,
        pytest.raises(SetupError, match="another port"),
        served_metrics(engine, port),
    ):
        pass


def test_without_prometheus_client_the_error_has_the_command(engine, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("prometheus_client")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with (
        pytest.raises(SetupError, match=r"pip install 'omnibind\[metrics\]'"),
        served_metrics(engine, 0),
    ):
        pass
