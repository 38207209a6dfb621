#!/usr/bin/env python3
"""Is the tail what a queue must have, or does the server add to it?

    .build/bench/stacks-venv/bin/python loadtest/tail/tail.py --data .build/bench/stacks/1000000

One worker. Each round measures saturation (closed loop), service times (closed loop on one connection), and latencies of Poisson
arrivals at half of saturation; the arrivals are drawn here and played as a trace. Then a queue with one server takes the same arrivals
with service times drawn from those that were measured. Prints the measured p99, the simulated one, and their ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import statistics
import sys
import time
from typing import Any, Dict, List

import numpy

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "stacks"))

from compare import Truth, binary_digest, calibrate, machine, note  # noqa: E402
from load import Load  # noqa: E402
from servers import Failure, Server, belfry_server  # noqa: E402
from simulate import Histogram, draw_services, percentile, poisson_arrivals, read_histogram, serve_in_order  # noqa: E402

# Service times are drawn, so a queue is simulated several times; the median of its percentiles is taken.
SIMULATIONS = 21
SATURATING_CONNECTIONS = 16
# Enough that hardly a request waits for a connection and not in the server's queue; it waits either way.
OPEN_CONNECTIONS = 64


def measure_round(load: Load, server: Server, ef: int, number: int, options: argparse.Namespace) -> Dict[str, Any]:
    timed = ["--duration", f"{options.seconds}s", "--warmup", f"{options.warmup}s", "--seed", str(number)]
    closed = load.run(server, [*timed, "--closed", "--connections", str(SATURATING_CONNECTIONS)], options.k, ef, options.format)
    single = load.run(server, [*timed, "--closed", "--connections", "1"], options.k, ef, options.format)
    saturation = closed["achieved_rate"]
    arrivals = poisson_arrivals(options.share * saturation, options.warmup + options.open_seconds, seed=number)
    trace = load.folder / "trace.txt"
    # Nanoseconds: the tester reads seconds and rounds to those.
    trace.write_text("\n".join(f"{each:.9f}" for each in arrivals) + "\n")
    opened = load.run(server, ["--arrival", f"trace:{trace}", "--warmup", f"{options.warmup}s", "--connections", str(OPEN_CONNECTIONS)],
                      options.k, ef, options.format)
    services = read_histogram(single["histograms"]["service"])
    counted = arrivals >= options.warmup
    # What a request costs a saturated server is less than its service time seen from outside, which contains the way there and back.
    outside = max(0.0, services.mean - 1 / saturation)
    return {
        "saturation": saturation, "rate": float(numpy.count_nonzero(counted) / (arrivals[-1] - options.warmup)),
        "service_us": {"mean": services.mean * 1e6, "p50": single["service_us"]["p50"], "p99": single["service_us"]["p99"]},
        "measured_us": {"p50": opened["latency_us"]["p50"], "p99": opened["latency_us"]["p99"]},
        "simulated_us": simulate(arrivals, counted, services, 0.0, number),
        "strict_us": simulate(arrivals, counted, services.shifted(outside), outside, number),
        "attempts": max(each["attempts"] for each in (closed, single, opened)),
        "spoilt": any(each["spoilt"] for each in (closed, single, opened)),
    }


def simulate(arrivals: numpy.ndarray, counted: numpy.ndarray, services: Histogram, outside: float, seed: int) -> Dict[str, float]:
    """Percentiles in microseconds; `outside` seconds are added to each latency, in which the server is free."""
    generator = numpy.random.default_rng([seed, 1])
    runs = [serve_in_order(arrivals, draw_services(services, len(arrivals), generator))[counted] + outside
            for _ in range(SIMULATIONS)]
    return {f"p{p}": statistics.median(percentile(run, p) for run in runs) * 1e6 for p in (50, 99)}


def ratio(figures: Dict[str, Any], simulated: str) -> float | None:
    measured = figures["measured_us"]["p99"]
    return None if measured is None else measured / figures[simulated]["p99"]


def markdown(result: Dict[str, Any]) -> str:
    lines: List[str] = []
    for way in result["ways"]:
        lines += table(result, way)
    return "\n".join(lines)


def table(result: Dict[str, Any], way: Dict[str, Any]) -> List[str]:
    stamp = result["machine"]
    lines = [f"Idle workers poll for {way['idle_poll_micros']} us. {result['snapshot']}, k = {result['k']}, ef {result['ef']}, one worker, Poisson arrivals at {result['share']} of "
             f"saturation for {result['open_seconds']} s; {result['started_at']}, {stamp['model']}, {stamp['cores']} cores, Linux "
             f"{stamp['kernel']}, load {stamp['load']:.2f} at the start, commit {stamp['commit']}. Microseconds.", "",
             "| round | saturation/s | rate/s | service mean | p99 | measured p50 | p99 | simulated p50 | p99 | ratio of p99 | "
             "strict p99 | ratio |",
             "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for number, each in enumerate(way["rounds"], start=1):
        whole, strict = ratio(each, "simulated_us"), ratio(each, "strict_us")
        lines.append(
            f"| {number}{' (generator late)' if each['spoilt'] else ''} | {each['saturation']:,.0f} | {each['rate']:,.0f} | "
            f"{each['service_us']['mean']:.0f} | {shown(each['service_us']['p99'])} | {shown(each['measured_us']['p50'])} | "
            f"{shown(each['measured_us']['p99'])} | {each['simulated_us']['p50']:.0f} | {each['simulated_us']['p99']:.0f} | "
            f"{shown(whole, 2)} | {each['strict_us']['p99']:.0f} | {shown(strict, 2)} |")
    lines.append(f"\nMedian ratio {shown(way['ratio'], 2)}; strict {shown(way['strict_ratio'], 2)}. Strict: the server is busy for "
                 "1 / saturation on average, and what its service times have beyond that delays a request without holding up the next.\n")
    return lines


def shown(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def median(values: List[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return statistics.median(known) if known else None


def run(options: argparse.Namespace) -> Dict[str, Any]:
    calibration = Truth(options.data, "calibration")
    scratch = options.data / "runs"
    scratch.mkdir(exist_ok=True)
    load = Load(options.load_core, options.data / "requests" / "reported.jsonl", scratch)
    started = {"started_at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "machine": machine(),
               "belfry": binary_digest()}
    ways: List[Dict[str, Any]] = [{"idle_poll_micros": micros, "rounds": []} for micros in options.idle_poll_micros or [0, 1000]]
    ef = options.ef
    for number in range(1, options.rounds + 1):
        for way in ways:
            polling = ("--idle-poll-micros", str(way["idle_poll_micros"]))
            with belfry_server(options.data, options.server_core, scratch, *polling) as server:
                ef = ef or calibrate(server, calibration, options.k, 0.991, options.format)
                way["rounds"].append(measure_round(load, server, ef, number, options))
            latest = way["rounds"][-1]
            note(f"round {number}, polling {way['idle_poll_micros']} us: saturation {latest['saturation']:,.0f}/s, "
                 f"ratio {shown(ratio(latest, 'simulated_us'), 2)}")
    for way in ways:
        way["ratio"] = median([ratio(each, "simulated_us") for each in way["rounds"]])
        way["strict_ratio"] = median([ratio(each, "strict_us") for each in way["rounds"]])
    return {**started, "snapshot": options.data.name + " items", "k": options.k, "ef": ef, "share": options.share,
            "open_seconds": options.open_seconds, "ways": ways}


def main() -> None:
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="what loadtest/stacks/snapshot.py wrote")
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--ef", type=int, help="by default the smallest with recall 0.991 on calibration requests")
    parser.add_argument("--idle-poll-micros", type=int, action="append",
                        help="as of belfry serve; repeat for several, which take turns (by default 0 and 1000)")
    parser.add_argument("--share", type=float, default=0.5, help="of saturation, as arrival rate (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of saturation and of service times (%(default)s)")
    parser.add_argument("--open-seconds", type=int, default=20, help="of the Poisson arrivals (%(default)s)")
    parser.add_argument("--warmup", type=int, default=1, help="seconds before each (%(default)s)")
    parser.add_argument("--format", choices=("rows", "columns"), default="columns")
    parser.add_argument("--server-core", type=int, default=cores[0])
    parser.add_argument("--load-core", type=int, default=cores[-1])
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--markdown", type=pathlib.Path)
    options = parser.parse_args()
    if not 0 < options.share < 1:
        parser.error("--share: above 0 and below 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the server is ended on the way out
    os.sched_setaffinity(0, {options.load_core})
    try:
        result = run(options)
    except (Failure, OSError) as error:
        sys.exit(f"tail.py: {error}")
    text = markdown(result)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(text + "\n")


if __name__ == "__main__":
    main()
