"""The benchmark of pairing runs whole processes, and extrapolates along a straight line."""

from __future__ import annotations

from omnibind.bench.pairing import Footprint, extrapolate, measure


def footprint(items: int, peak_mb: float) -> Footprint:
    return Footprint(
        items=items, dim=64, peak_mb=peak_mb, start_mb=0.0, pair_seconds=0.0, rows_per_second=0.0
    )


def test_a_size_is_measured_in_a_process_of_its_own():
    (found,) = measure([300], dim=8)
    assert (found.items, found.dim) == (300, 8)
    assert found.peak_mb >= found.start_mb > 0
    assert found.rows_per_second > 0


def test_the_two_largest_sizes_give_the_line():
    found = [footprint(100, 10.0), footprint(1, 500.0), footprint(300, 30.0)]
    assert extrapolate(found, 1000) == 100


def test_one_size_gives_no_line():
    assert extrapolate([footprint(300, 30.0), footprint(300, 31.0)]) is None
