"""The queue against theory, the histogram against another program's reading of it."""

import base64
import math
import pathlib
import struct
import sys
import zlib

import numpy
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from simulate import (Histogram, Overheads, Records, draw_services, percentile, poisson_arrivals,  # noqa: E402
                      read_histogram, read_records, replay, serve_in_order)

ARRIVALS = 1_000_000


def test_a_queue_by_hand() -> None:
    arrivals = numpy.array([0.0, 1.0, 1.5, 10.0])
    services = numpy.array([2.0, 1.0, 0.5, 3.0])
    # Leaves at 2, 3, 3.5 and 13.
    assert serve_in_order(arrivals, services) == pytest.approx([2.0, 2.0, 2.0, 3.0])


def test_as_many_services_as_arrivals() -> None:
    with pytest.raises(ValueError):
        serve_in_order(numpy.zeros(3), numpy.zeros(2))


def waiting_share_of_constant_service(load: float, service: float, time: float) -> float:
    """P(wait <= time) of M/D/1, by Erlang: (1 - load) sum over j up to time/service of (rate (j service - time))^j / j! e^-that."""
    rate = load / service
    total = 0.0
    for j in range(int(time / service) + 1):
        term = rate * (j * service - time)
        total += term ** j / math.factorial(j) * math.exp(-term)
    return (1 - load) * total


@pytest.mark.parametrize("load", [0.3, 0.5, 0.7])
def test_constant_services_wait_as_theory_says(load: float) -> None:
    service = 1e-3
    arrivals = poisson_arrivals(load / service, ARRIVALS / (load / service), seed=5)
    waits = serve_in_order(arrivals, numpy.full(len(arrivals), service)) - service
    # Pollaczek and Khinchine: load / (2 (1 - load)) services. Waits of neighbours are alike, hence the wide margin.
    assert waits.mean() == pytest.approx(load / (2 * (1 - load)) * service, rel=0.03)
    for time in (0.0, 0.5, 1.0, 2.5, 4.0):
        share = numpy.count_nonzero(waits <= time * service + 1e-12) / len(waits)
        assert share == pytest.approx(waiting_share_of_constant_service(load, service, time * service), abs=0.004)


def test_the_tail_at_half_load() -> None:
    # The smallest t with P(wait + service <= t) >= 0.99 and 0.5, by bisection over the exact distribution.
    def exact(p: float) -> float:
        low, high = 0.0, 50.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if waiting_share_of_constant_service(0.5, 1.0, middle) >= p else (middle, high)
        return high + 1
    arrivals = poisson_arrivals(0.5, 2 * ARRIVALS, seed=6)
    latencies = serve_in_order(arrivals, numpy.ones(len(arrivals)))
    assert percentile(latencies, 99) == pytest.approx(exact(0.99), rel=0.02)
    assert percentile(latencies, 50) == pytest.approx(exact(0.5), rel=0.02)


def test_random_services_wait_as_theory_says() -> None:
    # M/M/1: the time in the system is exponential with rate mu - lambda.
    arrivals = poisson_arrivals(0.5, 2 * ARRIVALS, seed=7)
    services = numpy.random.default_rng(8).exponential(1.0, len(arrivals))
    latencies = serve_in_order(arrivals, services)
    assert latencies.mean() == pytest.approx(2, rel=0.03)
    assert percentile(latencies, 99) == pytest.approx(-math.log(0.01) / 0.5, rel=0.04)


def test_arrivals_are_poisson() -> None:
    arrivals = poisson_arrivals(1000, 200, seed=9)
    gaps = numpy.diff(arrivals)
    assert arrivals[0] == 0 and arrivals[-1] < 200 and (gaps >= 0).all()
    assert gaps.mean() == pytest.approx(1e-3, rel=0.01)
    assert gaps.std() == pytest.approx(1e-3, rel=0.02)
    assert (poisson_arrivals(1000, 200, seed=9) == arrivals).all()
    with pytest.raises(ValueError):
        poisson_arrivals(1e-9, 1e-9, seed=1)


def test_percentiles_are_samples() -> None:
    values = numpy.arange(100, 0, -1, dtype=numpy.float64)
    assert [percentile(values, p) for p in (1, 50, 99, 99.5, 100)] == [1, 50, 99, 100, 100]


def zigzag(value: int) -> bytes:
    word = (value << 1) ^ (value >> 63)
    out = bytearray()
    while word >= 0x80:
        out.append(word & 0x7F | 0x80)
        word >>= 7
    return bytes(out + bytes([word]))


def encoded(counts: bytes, cookie: int = 0x1C849313) -> str:
    plain = struct.pack(">IIIIQQd", cookie, len(counts), 0, 3, 1000, 60_000_000_000, 1.0) + counts
    packed = zlib.compress(plain)
    return base64.b64encode(struct.pack(">II", 0x1C849314, len(packed)) + packed).decode()


def test_a_histogram_is_read() -> None:
    # From 1000 with 3 digits a unit is 512 ns; 2048 cells of one unit, then 1024 of two, 1024 of four.
    histogram = read_histogram(encoded(zigzag(-3) + zigzag(7) + zigzag(1) + zigzag(-2043) + zigzag(300) + zigzag(-1023) + zigzag(2)))
    starts = [3 * 512, 4 * 512, 2048 * 512, 2 * 2048 * 512]
    widths = [512, 512, 1024, 2048]
    assert histogram.middles * 1e9 == pytest.approx([start + width / 2 for start, width in zip(starts, widths)])
    assert histogram.counts.tolist() == [7, 1, 300, 2]


@pytest.mark.parametrize("text", [
    "", "AAAA", encoded(b""), encoded(zigzag(-5)), encoded(b"\x80"), encoded(zigzag(1), cookie=0x1C849301),
    encoded(zigzag(3))[:-8] + "AAAAAAA=",
])
def test_what_is_no_histogram_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_histogram(text)


def test_services_are_drawn_as_they_were_measured() -> None:
    histogram = Histogram(numpy.array([1e-4, 1e-3]), numpy.array([900.0, 100.0]))
    services = draw_services(histogram, 100_000, numpy.random.default_rng(3))
    assert set(services) == {1e-4, 1e-3}
    assert numpy.count_nonzero(services == 1e-3) == pytest.approx(10_000, abs=500)
    assert histogram.mean == pytest.approx(1.9e-4)


HEAD = "run,unix_ns,scheduled_ns,lag_ns,wait_ns,service_ns,server_ns,status,outcome\n"


def test_records_are_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "records.csv"
    path.write_text(HEAD + "1,7000001000,1000,16,0,200000,150000,200,success\n1,10000000000,3000000000,0,32,100000,90000,200,success\n")
    records = read_records(path)
    assert records.due == pytest.approx([1e-6, 3.0])
    assert records.offered == pytest.approx([1.016e-6, 3.0], abs=1e-12)
    assert records.sent == pytest.approx([1.016e-6, 3.000000032])
    assert records.ended == pytest.approx([2.01016e-4, 3.000100032])
    assert records.after(2.0).server == pytest.approx([9e-5])


@pytest.mark.parametrize("content", [
    "", "run,scheduled_ns\n1,5\n", HEAD, HEAD + "1,0,0,0,0,0,,200,success\n", HEAD + "1,0,0,0,0,0,100,429,status\n",
    HEAD + "1,0,x,0,0,0,5,200,success\n"])
def test_records_that_cannot_be_simulated_are_refused(tmp_path: pathlib.Path, content: str) -> None:
    path = tmp_path / "records.csv"
    path.write_text(content)
    with pytest.raises(ValueError):
        read_records(path)


def test_a_replay_finds_the_latencies_of_a_server_that_works_in_order() -> None:
    generator = numpy.random.default_rng(5)
    due = poisson_arrivals(3000, 5, seed=6)
    sent = due + generator.exponential(2e-5, len(due))
    services = generator.lognormal(numpy.log(1.5e-4), 0.5, len(due))
    busy, way = 2e-5, 3e-5
    order = numpy.argsort(sent)
    ended = numpy.empty(len(due))
    ended[order] = sent[order] + serve_in_order(sent[order], services[order] + busy) + way
    assert replay(sent, services, Overheads(busy, way)) == pytest.approx(ended - sent)
    # Not being told of a pause that nobody's service saw, it does not find it.
    assert replay(sent, services, Overheads(0, way)).mean() < (ended - sent).mean()


def test_a_late_generator_is_not_the_servers() -> None:
    # It stands still for 5 ms, and everything that was due then is offered at its end.
    due = poisson_arrivals(3000, 5, seed=7)
    stopped = (due > 2) & (due < 2.005)
    assert stopped.any()
    offered = numpy.where(stopped, 2.005, due)
    services, overheads = numpy.full(len(due), 1.5e-4), Overheads(2e-5, 3e-5)
    ended = offered + serve_in_order(offered, services + overheads.busy) + overheads.way
    assert replay(offered, services, overheads) == pytest.approx(ended - offered)
    assert percentile(ended - due, 99.9) > 2 * percentile(replay(due, services, overheads), 99.9)


def lone_records(service: float, latency: float) -> Records:
    sent = numpy.arange(10) * 1e-3
    return Records(sent, sent, sent, sent + latency, numpy.full(10, service))


def test_overheads_by_hand() -> None:
    # Saturated, a request takes 200 us, of which the server saw 170; alone 70 us pass outside.
    overheads = Overheads.of(lone_records(170e-6, 3e-3), lone_records(160e-6, 230e-6), saturation=5000)
    assert overheads.busy == pytest.approx(30e-6)
    assert overheads.way == pytest.approx(40e-6)


def test_overheads_are_found_in_a_run() -> None:
    sent = poisson_arrivals(3000, 2, seed=8)
    services = numpy.random.default_rng(9).lognormal(numpy.log(1.5e-4), 0.5, len(sent))
    ended = sent + serve_in_order(sent, services + 2e-5) + 3e-5
    lone = lone_records(160e-6, 210e-6)
    overheads = Overheads.fitted(Records(sent, sent, sent, ended, services), lone)
    assert overheads.busy == pytest.approx(20e-6, abs=1e-9)
    assert overheads.way == pytest.approx(30e-6, abs=1e-9)
    with pytest.raises(ValueError):
        Overheads.fitted(lone, lone)


def test_the_load_testers_own_library_reads_the_same() -> None:
    hdrh = pytest.importorskip("hdrh.histogram")
    theirs = hdrh.HdrHistogram(1000, 60_000_000_000, 3)
    generator = numpy.random.default_rng(4)
    samples = generator.lognormal(numpy.log(150_000), 1.0, 5000)
    for sample in samples:
        theirs.record_value(int(sample))
    ours = read_histogram(theirs.encode().decode())
    assert ours.counts.sum() == 5000
    assert ours.mean * 1e9 == pytest.approx(samples.mean(), rel=0.005)
