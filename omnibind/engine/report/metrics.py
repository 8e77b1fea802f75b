"""What an engine does, as Prometheus metrics under an address.

Names, units and help lines follow Prometheus' conventions; see `omnibind_*` below.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING

from omnibind.engine.engine import Engine
from omnibind.engine.report.stats import EncoderStats, LaneStats, Stats
from omnibind.errors import SetupError

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector

__all__ = ["collector_of", "metrics_of", "served_metrics"]

Value = Callable[[EncoderStats], float]
ENCODER_COUNTS: Mapping[str, tuple[str, Value]] = {
    "items": ("Rows that an encoder made.", attrgetter("items")),
    "cached_items": ("Rows that were known and not made again.", attrgetter("cached")),
    "failed_items": ("Items that an encoder could not encode.", attrgetter("failed")),
    "batches": ("Batches that an encoder began.", attrgetter("batches")),
    "batched_items": ("Items in these.", attrgetter("batched")),
    "batch_places": ("Items that these could have held.", attrgetter("places")),
    "split_batches": ("Batches that were tried again in parts.", attrgetter("split")),
    "forward_seconds": ("Time in forwards.", attrgetter("seconds")),
    "queue_seconds": ("Time that items waited for a batch.", attrgetter("queued")),
    "sample_bytes": ("Samples that an encoder was given.", attrgetter("sample_bytes")),
}
DEVICE_COUNTS: Mapping[str, tuple[str, Callable[[LaneStats], Mapping[str, int]]]] = {
    "loads": ("How often weights went to a device.", attrgetter("loads")),
    "moved_bytes": ("Weights that went to a device.", attrgetter("moved")),
}


@contextmanager
def served_metrics(engine: Engine, port: int, host: str = "127.0.0.1") -> Generator[int]:
    """Serves an engine's metrics under `http://host:port/metrics`; gives the port.

    Args:
        engine: asked anew at each visit.
        port: 0 takes a free one.
        host: by default, only this machine is let in.

    Raises:
        SetupError: prometheus_client is not installed, or the port is taken.
    """
    collector = collector_of(engine.stats)
    from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(port, host, registry)
    except (OSError, OverflowError) as error:
        raise SetupError(
            f"metrics at {host}, port {port}",
            found=f"{type(error).__name__}: {error}",
            next_step="choose another port; 0 takes a free one",
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def collector_of(stats: Callable[[], Stats]) -> Collector:
    """For a registry of your own, where you serve metrics already.

    Args:
        stats: such as `engine.stats`.

    Raises:
        SetupError: prometheus_client is not installed.
    """
    try:
        from prometheus_client.registry import Collector
    except ImportError as error:
        raise SetupError(
            "metrics for Prometheus",
            found="prometheus_client is not installed",
            next_step="pip install 'omnibind[metrics]'",
        ) from error

    class OfEngine(Collector):
        def collect(self) -> Iterable[Metric]:
            return metrics_of(stats())

    return OfEngine()


def metrics_of(stats: Stats) -> Iterator[Metric]:
    """A snapshot as metrics."""
    from prometheus_client.core import CounterMetricFamily as Counter
    from prometheus_client.core import GaugeMetricFamily as Gauge

    yield Gauge("omnibind_engine_uptime_seconds", "Since the engine was made.", stats.seconds)
    given = Counter("omnibind_items", "Items that callers gave.", labels=["modality"])
    for modality, count in stats.items.items():
        given.add_metric([modality], count)
    yield given
    done = Counter("omnibind_done_items", "Items that have all their rows.", labels=["modality"])
    for modality, count in stats.done.items():
        done.add_metric([modality], count)
    yield done
    yield Counter("omnibind_failed_items", "Items without a row.", stats.failed)
    yield Counter("omnibind_decoded_items", "Times that an item was decoded.", stats.decoded)
    yield Counter("omnibind_decoding_seconds", "Time of all workers in decoding.", stats.decoding)
    yield Counter(
        "omnibind_preprocessing_seconds",
        "Time of all workers in preprocessing.",
        stats.preprocessing,
    )
    yield Counter("omnibind_worker_deaths", "Worker processes that died.", stats.replaced)
    waiting = Gauge("omnibind_waiting_items", "That wait for a batch now.", labels=["encoder"])
    for key in {**stats.encoders, **stats.waiting}:
        waiting.add_metric([key], stats.waiting.get(key, 0))
    yield waiting
    yield Gauge("omnibind_waiting_bytes", "Samples that wait for a batch.", stats.waiting_bytes)
    yield from _of_encoders(stats.encoders)
    yield from _of_devices(stats.lanes)


def _of_encoders(encoders: Mapping[str, EncoderStats]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for name, (said, value) in ENCODER_COUNTS.items():
        counts = CounterMetricFamily(f"omnibind_encoder_{name}", said, labels=["encoder"])
        for key, one in encoders.items():
            counts.add_metric([key], value(one))
        yield counts
    fill = GaugeMetricFamily(
        "omnibind_encoder_batch_fill_ratio",
        "Mean share of a batch's places that were taken, since the start.",
        labels=["encoder"],
    )
    for key, one in encoders.items():
        fill.add_metric([key], one.fill)
    yield fill


def _of_devices(lanes: Iterable[LaneStats]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    both = ["device", "encoder"]
    budget = GaugeMetricFamily(
        "omnibind_budget_bytes", "That weights may take, where bounded.", labels=["device"]
    )
    resident = GaugeMetricFamily(
        "omnibind_resident_bytes", "Weights that are on a device now.", labels=both
    )
    evicted = CounterMetricFamily(
        "omnibind_evictions", "How often weights had to make room.", labels=["device"]
    )
    counts = {
        name: CounterMetricFamily(f"omnibind_{name}", said, labels=both)
        for name, (said, _) in DEVICE_COUNTS.items()
    }
    for lane in lanes:
        if lane.budget is not None:
            budget.add_metric([lane.name], lane.budget)
        for key, nbytes in lane.resident_bytes.items():
            resident.add_metric([lane.name, key], nbytes)
        evicted.add_metric([lane.name], lane.evicted)
        for name, (_, by_encoder) in DEVICE_COUNTS.items():
            for key, count in by_encoder(lane).items():
                counts[name].add_metric([lane.name, key], count)
    yield from (budget, resident, evicted, *counts.values())
