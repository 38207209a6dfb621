"""A queue with one server, and what it needs: arrival instants, service times, percentiles.

    arrivals = poisson_arrivals(rate=2000, seconds=10, seed=1)          # seconds, the first at 0
    services = draw_services(read_histogram(report["histograms"]["service"]), len(arrivals), generator)
    latencies = serve_in_order(arrivals, services)                      # seconds, waiting included
    records = read_records(path)                                        # every request of a run: `belfry loadtest --records`
"""

from __future__ import annotations

import base64
import csv
import pathlib
import struct
import zlib
from dataclasses import dataclass
from typing import Dict, Iterator, List

import numpy

# HdrHistogram's second form (https://github.com/HdrHistogram/HdrHistogram), plain and compressed.
PLAIN_COOKIE, COMPRESSED_COOKIE = 0x1C849313, 0x1C849314
HEADER_BYTES = 40


def poisson_arrivals(rate: float, seconds: float, seed: int) -> numpy.ndarray:
    """Instants of a Poisson stream, moved so that the first is 0. float64, ascending"""
    generator = numpy.random.default_rng(seed)
    # Ten deviations more than are expected.
    expected = rate * seconds
    gaps = generator.exponential(1 / rate, int(expected + 10 * numpy.sqrt(expected) + 10))
    instants = numpy.cumsum(gaps)
    instants = instants[instants < seconds]
    if len(instants) == 0:
        raise ValueError(f"no arrival in {seconds} s at {rate}/s")
    return instants - instants[0]


def serve_in_order(arrivals: numpy.ndarray, services: numpy.ndarray) -> numpy.ndarray:
    """Latency of each request with one server, first come first served: from its arrival to the end of its service.

    A request begins when it has come and its predecessor has left: d[i] = max(a[i], d[i-1]) + s[i]. With c the running sum of s,
    d[i] - c[i] is the running maximum of a[i] - c[i-1].
    """
    if len(arrivals) != len(services):
        raise ValueError(f"{len(arrivals)} arrivals and {len(services)} service times")
    total = numpy.cumsum(services)
    departures = numpy.maximum.accumulate(arrivals - (total - services)) + total
    return departures - arrivals


def percentile(values: numpy.ndarray, p: float) -> float:
    """The smallest value that at least p percent of all do not exceed."""
    ordered = numpy.sort(values)
    return float(ordered[max(0, int(numpy.ceil(p / 100 * len(ordered))) - 1)])


# A run request by request


@dataclass(frozen=True)
class Records:
    """Seconds, one element a request, ascending by `due`; instants count from the start of the run."""

    due: numpy.ndarray
    offered: numpy.ndarray  # due, plus all that the generator itself was late by, before and after a wait for a connection
    sent: numpy.ndarray  # offered, plus the wait for a free connection
    ended: numpy.ndarray  # the last byte of the reply had come
    server: numpy.ndarray  # what the server said that it worked on the request

    def after(self, warmup: float) -> "Records":
        counted = self.due >= warmup
        return Records(self.due[counted], self.offered[counted], self.sent[counted], self.ended[counted], self.server[counted])


# A request that was sent so long before the reply to the one before it did reach a busy server.
WAITING_SECONDS = 1e-4
RECORD_FIELDS = ("scheduled_ns", "lag_ns", "wait_ns", "service_ns", "server_ns", "outcome")


def read_records(path: pathlib.Path) -> Records:
    """ValueError for a run in which a request failed or the server did not say how long it took."""
    columns: Dict[str, List[int]] = {name: [] for name in RECORD_FIELDS[:-1]}
    with open(path, newline="", encoding="ascii") as file:
        reader = csv.DictReader(file)
        missing = set(RECORD_FIELDS) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: no column {', '.join(sorted(missing))}")
        for line, row in enumerate(reader, start=2):
            if row["outcome"] != "success":
                raise ValueError(f"{path}, line {line}: the request ended in '{row['outcome']}'")
            if not row["server_ns"]:
                raise ValueError(f"{path}, line {line}: the server did not say how long it took; serve --server-timing")
            for name, values in columns.items():
                values.append(int(row[name]))
    if not columns["scheduled_ns"]:
        raise ValueError(f"{path}: no request")
    due, lag, wait, service, server = (numpy.array(columns[name], dtype=numpy.float64) / 1e9 for name in RECORD_FIELDS[:-1])
    offered = due + lag
    sent = offered + wait
    return Records(due, offered, sent, sent + service, server)


@dataclass(frozen=True)
class Overheads:
    """Seconds that a request takes beyond the service time that the server measures."""

    busy: float  # of the server: reading and parsing before, sending after
    way: float  # the rest of a lone request: the kernel, the way there and back, waking up; below 0 if `busy` is more than all of it

    @staticmethod
    def of(saturated: Records, lone: Records, saturation: float) -> "Overheads":
        """`busy` is what a server that never rests takes for a request beyond its service time. `saturation`: requests/s."""
        return Overheads.from_busy(1 / saturation - float(saturated.server.mean()), lone)

    @staticmethod
    def fitted(played: Records, lone: Records) -> "Overheads":
        """`busy` from the run that is replayed: the median, over requests that found others waiting, of the time between the reply
        before and theirs beyond their service time. Its own tail is not in it, its slower pace is."""
        order = numpy.argsort(played.sent, kind="stable")
        sent, ended, server = played.sent[order], played.ended[order], played.server[order]
        waited = sent[1:] < ended[:-1] - WAITING_SECONDS
        if not waited.any():
            raise ValueError("no request found the server busy")
        return Overheads.from_busy(float(numpy.median((numpy.diff(ended) - server[1:])[waited])), lone)

    @staticmethod
    def from_busy(busy: float, lone: Records) -> "Overheads":
        return Overheads(busy, float(numpy.median(lone.ended - lone.sent - lone.server)) - busy)


def replay(arrivals: numpy.ndarray, services: numpy.ndarray, overheads: Overheads) -> numpy.ndarray:
    """Latencies in seconds of a queue with one server in which each request takes what this server measured of it."""
    order = numpy.argsort(arrivals, kind="stable")
    latencies = numpy.empty(len(arrivals))
    latencies[order] = serve_in_order(arrivals[order], services[order] + overheads.busy) + overheads.way
    return latencies


# Measured service times


@dataclass(frozen=True)
class Histogram:
    """Cells that are not empty: their middles in seconds, and how many samples they hold."""

    middles: numpy.ndarray
    counts: numpy.ndarray

    @property
    def mean(self) -> float:
        return float((self.middles * self.counts).sum() / self.counts.sum())


def draw_services(histogram: Histogram, count: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """Independent service times, each sample of the histogram equally likely."""
    return generator.choice(histogram.middles, count, p=histogram.counts / histogram.counts.sum())


def read_histogram(text: str) -> Histogram:
    """A histogram of nanoseconds, as the load tester's reports hold it. ValueError says what is wrong with it."""
    content = base64.b64decode(text, validate=True)
    if len(content) < 8:
        raise ValueError("a histogram ends within its header")
    cookie, length = struct.unpack(">II", content[:8])
    if cookie != COMPRESSED_COOKIE or length != len(content) - 8:
        raise ValueError(f"no compressed histogram: it begins with {cookie:#x} and {length}")
    try:
        plain = zlib.decompress(content[8:])
    except zlib.error as error:
        raise ValueError(f"a histogram's bytes are damaged: {error}") from error
    if len(plain) < HEADER_BYTES:
        raise ValueError("a histogram ends within its header")
    cookie, length, offset, digits, lowest, _ = struct.unpack(">IIIIQQ", plain[:32])
    if cookie != PLAIN_COOKIE or length != len(plain) - HEADER_BYTES or offset != 0:
        raise ValueError(f"no histogram that can be read: it begins with {cookie:#x}, {length}, {offset}")
    # Cells of one unit up to `half` of them twice, then half as many for each doubling.
    unit = lowest.bit_length() - 1
    half = (2 * 10 ** digits - 1).bit_length() - 1
    middles, counts = [], []
    index = 0
    for value in zigzag_numbers(plain[HEADER_BYTES:]):
        if value <= 0:
            index += max(1, -value)
            continue
        bucket = max(0, (index >> half) - 1)
        start, width = (index - (bucket << half)) << (bucket + unit), 1 << (bucket + unit)
        middles.append((start + width / 2) / 1e9)
        counts.append(value)
        index += 1
    if not counts:
        raise ValueError("a histogram without a sample")
    return Histogram(numpy.array(middles), numpy.array(counts, dtype=numpy.float64))


def zigzag_numbers(content: bytes) -> Iterator[int]:
    """ZigZag numbers in LEB128, whose ninth byte carries 8 bits."""
    position = 0
    while position < len(content):
        word = shift = 0
        while True:
            if position == len(content):
                raise ValueError("a histogram ends within a count")
            byte = content[position]
            position += 1
            if shift == 56:
                word |= byte << shift
                break
            word |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        yield (word >> 1) ^ -(word & 1)
