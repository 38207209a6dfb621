import numpy
import pytest

import timing
from timing import call_overhead, count_within, microseconds_of, percentile, without_overhead


def test_the_overhead_is_taken_off_every_call() -> None:
    times = without_overhead(numpy.array([30.0, 10.0, 20.0]), 4.0)
    assert (times.p50, times.p99, times.mean, times.overhead, times.queries) == (16.0, 26.0, 16.0, 4.0, 3)
    assert times.queries_per_second == 1e6 / 16.0


def test_no_time_becomes_negative() -> None:
    times = without_overhead(numpy.array([1.0, 9.0]), 5.0)
    assert times.p50 == 0.01
    assert times.mean == pytest.approx((0.01 + 4.0) / 2)


def test_percentiles_are_by_nearest_rank() -> None:
    values = list(range(1, 201))
    assert percentile(values, 0.5) == 100
    assert percentile(values, 0.99) == 198
    assert percentile([7.0], 0.99) == 7.0


def test_times_are_of_the_calls_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]
    monkeypatch.setattr(timing.time, "perf_counter_ns", lambda: now[0])

    def search(nanoseconds: int) -> None:
        now[0] += nanoseconds

    assert microseconds_of(search, [0, 3000, 1500]).tolist() == [0.0, 3.0, 1.5]


def test_the_overhead_is_that_of_one_call() -> None:
    calls = []
    assert call_overhead(calls.append, ["a", "b", "c"], calls=200) >= 0
    assert len(calls) == 300 and set(calls) == {"a", "b", "c"}


def test_slow_settings_run_fewer_queries_and_never_too_few() -> None:
    assert count_within(4.0, 1000.0, 500, 100) == 500
    assert count_within(4.0, 20000.0, 500, 100) == 200
    assert count_within(4.0, 1e9, 500, 100) == 100
    assert count_within(4.0, 1e9, 50, 100) == 50
