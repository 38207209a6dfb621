"""Timing one query at a time, and what a binding's call costs by itself."""

from __future__ import annotations

import gc
import math
import time
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy

Search = Callable[[numpy.ndarray], Any]


@dataclass(frozen=True)
class Times:
    """Microseconds of a query, the call's overhead taken off."""

    p50: float
    p99: float
    mean: float
    overhead: float
    queries: int

    @property
    def queries_per_second(self) -> float:
        return 1e6 / self.mean


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """By nearest rank: the smallest value that at least this share of the values is not above."""
    rank = max(1, math.ceil(share * len(sorted_values)))
    return float(sorted_values[rank - 1])


def microseconds_of(search: Search, queries: Sequence[numpy.ndarray]) -> numpy.ndarray:
    """float64 (queries,): the time of each call. The collector is off, so that it falls on nobody."""
    times = numpy.empty(len(queries))
    clock = time.perf_counter_ns
    gc.collect()
    gc.disable()
    try:
        for place, query in enumerate(queries):
            start = clock()
            search(query)
            times[place] = clock() - start
    finally:
        gc.enable()
    return times / 1000


def call_overhead(search: Search, queries: Sequence[numpy.ndarray], calls: int = 1000) -> float:
    """The median time in microseconds of a call that has next to nothing to search."""
    repeated = [queries[place % len(queries)] for place in range(calls)]
    microseconds_of(search, repeated[:100])
    return float(numpy.median(microseconds_of(search, repeated)))


def without_overhead(times: numpy.ndarray, overhead: float) -> Times:
    """Takes the overhead off every call. No time becomes less than a hundredth of a microsecond: a search that costs
    nothing would be a mistake in the overhead, and must not become an infinite rate."""
    net = numpy.sort(numpy.maximum(times - overhead, 0.01))
    return Times(percentile(net, 0.5), percentile(net, 0.99), float(net.mean()), overhead, len(net))


def count_within(seconds: float, microseconds: float, available: int, least: int) -> int:
    """How many queries of that length are run: all, unless they take longer than `seconds`, and never under `least`."""
    affordable = int(seconds * 1e6 / max(microseconds, 0.01))
    return min(available, max(least, affordable))
