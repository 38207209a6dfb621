#!/usr/bin/env python3
"""Is the tail what a queue must have, or does the server add to it?

    .build/bench/stacks-venv/bin/python loadtest/tail/tail.py --data .build/bench/stacks/1000000

One worker. Each round measures saturation (closed loop), service times (closed loop on one connection), and latencies of Poisson
arrivals at half of saturation; the arrivals are drawn here and played as a trace. Then a queue with one server takes the same arrivals,
with the service time that the server measured of each of these requests, and with service times drawn from those of lone requests; once
more it takes them when the generator, which the machine stops now and then, really offered them. Prints the measured p99, the simulated ones, and their ratios.

Workers that sleep when idle and workers that poll first take turns, and a third way: sleeping, with server and generator under real-time
scheduling, so that nothing else of this machine takes their cores. That needs the right to it (root, or CAP_SYS_NICE).
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
from typing import Any, Dict, List, Tuple

import numpy

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "stacks"))

from compare import Truth, binary_digest, calibrate, machine, note  # noqa: E402
from load import Load  # noqa: E402
from servers import Failure, Server, belfry_server  # noqa: E402
from simulate import (Histogram, Overheads, Records, draw_services, percentile, poisson_arrivals,  # noqa: E402
                      read_histogram, read_records, replay, serve_in_order)

# Service times are drawn, so a queue is simulated several times; the median of its percentiles is taken.
SIMULATIONS = 21
SATURATING_CONNECTIONS = 16
# Enough that hardly a request waits for a connection and not in the server's queue; it waits either way.
OPEN_CONNECTIONS = 64
# A request that the generator offers later than this after its time was most likely held up by a pause of the generator's core.
LATE_SECONDS = 2e-4
# Above every program that does not ask for real time; the kernel's own work of that kind stays above.
REAL_TIME_PRIORITY = 10


def measure_round(load: Load, server: Server, ef: int, number: int, options: argparse.Namespace) -> Dict[str, Any]:
    path = load.folder / "records.csv"

    def run(*arguments: str) -> Tuple[Dict[str, Any], Records]:
        report = load.run(server, ["--warmup", f"{options.warmup}s", "--records", str(path), *arguments], options.k, ef, options.format)
        return report, read_records(path).after(options.warmup)

    timed = ["--duration", f"{options.seconds}s", "--seed", str(number), "--closed"]
    closed, saturated = run(*timed, "--connections", str(SATURATING_CONNECTIONS))
    single, lone = run(*timed, "--connections", "1")
    saturation = closed["achieved_rate"]
    arrivals = poisson_arrivals(options.share * saturation, options.warmup + options.open_seconds, seed=number)
    trace = load.folder / "trace.txt"
    # Nanoseconds: the tester reads seconds and rounds to those.
    trace.write_text("\n".join(f"{each:.9f}" for each in arrivals) + "\n")
    opened, played = run("--arrival", f"trace:{trace}", "--connections", str(OPEN_CONNECTIONS))
    overheads, fitted = Overheads.of(saturated, lone, saturation), Overheads.fitted(played, lone)
    drawn = read_histogram(single["histograms"]["service"])
    counted = arrivals >= options.warmup
    return {
        "saturation": saturation, "rate": float(numpy.count_nonzero(counted) / (arrivals[-1] - options.warmup)),
        "busy_us": overheads.busy * 1e6, "way_us": overheads.way * 1e6, "fitted_busy_us": fitted.busy * 1e6,
        "send_lag_us": opened["send_lag_us"]["p99"],
        "service_us": {"lone": percentiles(lone.server), "open": percentiles(played.server)},
        "measured_us": percentiles(played.ended - played.due),
        "simulated_us": percentiles(replay(played.due, played.server, overheads)),
        "offered_measured_us": percentiles(played.ended - played.offered),
        "offered_simulated_us": percentiles(replay(played.offered, played.server, overheads)),
        "late_requests": int(numpy.count_nonzero(played.offered - played.due > LATE_SECONDS)),
        "fitted_us": percentiles(replay(played.due, played.server, fitted)),
        "drawn_us": simulate(arrivals, counted, drawn, number),
        "attempts": max(each["attempts"] for each in (closed, single, opened)),
        "spoilt": any(each["spoilt"] for each in (closed, single, opened)),
    }


def simulate(arrivals: numpy.ndarray, counted: numpy.ndarray, services: Histogram, seed: int) -> Dict[str, float]:
    """Percentiles in microseconds with independent service times."""
    generator = numpy.random.default_rng([seed, 1])
    runs = [percentiles(serve_in_order(arrivals, draw_services(services, len(arrivals), generator))[counted])
            for _ in range(SIMULATIONS)]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def percentiles(seconds: numpy.ndarray) -> Dict[str, float]:
    """In microseconds."""
    return {f"p{p}": percentile(seconds, p) * 1e6 for p in (50, 99)}


# Each measured figure and the simulation that it is held against.
RATIOS = {"ratio": ("measured_us", "simulated_us"), "offered_ratio": ("offered_measured_us", "offered_simulated_us"), "fitted_ratio": ("measured_us", "fitted_us"),
          "drawn_ratio": ("measured_us", "drawn_us")}


def ratio(figures: Dict[str, Any], name: str) -> float:
    measured, simulated = RATIOS[name]
    return figures[measured]["p99"] / figures[simulated]["p99"]


def markdown(result: Dict[str, Any]) -> str:
    lines: List[str] = []
    for way in result["ways"]:
        lines += table(result, way)
    return "\n".join(lines)


def table(result: Dict[str, Any], way: Dict[str, Any]) -> List[str]:
    stamp = result["machine"]
    scheduling = ", server and generator under SCHED_FIFO" if way["real_time"] else ""
    lines = [f"Idle workers poll for {way['idle_poll_micros']} us{scheduling}. {result['snapshot']}, k = {result['k']}, ef {result['ef']}, one worker, Poisson arrivals at {result['share']} of "
             f"saturation for {result['open_seconds']} s; {result['started_at']}, {stamp['model']}, {stamp['cores']} cores, Linux "
             f"{stamp['kernel']}, load {stamp['load']:.2f} at the start, commit {stamp['commit']}. Microseconds.", "",
             "| round | saturation/s | rate/s | busy + way | lone service p50 | p99 | service p50 | p99 | latency p50 | p99 | queue p50 | p99 | "
             "ratio of p99 | late | as offered: p99 | queue p99 | ratio | fitted: busy | queue p99 | ratio | drawn: queue p99 | ratio |",
             "|--:" * 22 + "|"]
    for number, each in enumerate(way["rounds"], start=1):
        lone, service = each["service_us"]["lone"], each["service_us"]["open"]
        measured, simulated = each["measured_us"], each["simulated_us"]
        cells = [
            f"{number}{' (generator late)' if each['spoilt'] else ''}", f"{each['saturation']:,.0f}", f"{each['rate']:,.0f}",
            f"{each['busy_us']:.0f} + {each['way_us']:.0f}",
            *(f"{figures[name]:,.0f}" for figures in (lone, service, measured, simulated) for name in ("p50", "p99")),
            f"{ratio(each, 'ratio'):.2f}", f"{each['late_requests']:,}", f"{each['offered_measured_us']['p99']:,.0f}",
            f"{each['offered_simulated_us']['p99']:,.0f}", f"{ratio(each, 'offered_ratio'):.2f}",
            f"{each['fitted_busy_us']:.0f}", f"{each['fitted_us']['p99']:,.0f}", f"{ratio(each, 'fitted_ratio'):.2f}",
            f"{each['drawn_us']['p99']:,.0f}", f"{ratio(each, 'drawn_ratio'):.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append(f"\nMedian ratios: {way['ratio']:.2f}; as offered {way['offered_ratio']:.2f}; with a fitted `busy` {way['fitted_ratio']:.2f}; with drawn service times "
                 f"{way['drawn_ratio']:.2f}.\n")
    return lines


def schedule(real_time: bool) -> None:
    """Sets how this process is scheduled, which the server and the generator that it starts inherit."""
    policy, priority = (os.SCHED_FIFO, REAL_TIME_PRIORITY) if real_time else (os.SCHED_OTHER, 0)
    try:
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except PermissionError as error:
        raise Failure(f"no right to real-time scheduling ({error.strerror}); --no-real-time leaves it out") from error


def run(options: argparse.Namespace) -> Dict[str, Any]:
    calibration = Truth(options.data, "calibration")
    scratch = options.data / "runs"
    scratch.mkdir(exist_ok=True)
    load = Load(options.load_core, options.data / "requests" / "reported.jsonl", scratch)
    started = {"started_at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "machine": machine(),
               "belfry": binary_digest()}
    ways: List[Dict[str, Any]] = [{"idle_poll_micros": micros, "real_time": False, "rounds": []} for micros in options.idle_poll_micros or [0, 1000]]
    # Not with polling: a real-time thread that spins is held up by the kernel for a twentieth of each second (sched_rt_runtime_us).
    if options.real_time:
        ways.append({"idle_poll_micros": 0, "real_time": True, "rounds": []})
    ef = options.ef
    for number in range(1, options.rounds + 1):
        for way in ways:
            polling = ("--idle-poll-micros", str(way["idle_poll_micros"]))
            schedule(way["real_time"])
            with belfry_server(options.data, options.server_core, scratch, "--server-timing", *polling) as server:
                ef = ef or calibrate(server, calibration, options.k, 0.991, options.format)
                way["rounds"].append(measure_round(load, server, ef, number, options))
            latest = way["rounds"][-1]
            note(f"round {number}, polling {way['idle_poll_micros']} us{', real time' if way['real_time'] else ''}: saturation {latest['saturation']:,.0f}/s, "
                 f"ratios {', '.join(f'{ratio(latest, name):.2f}' for name in RATIOS)}")
    for way in ways:
        for name in RATIOS:
            way[name] = statistics.median(ratio(each, name) for each in way["rounds"])
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
    parser.add_argument("--real-time", action=argparse.BooleanOptionalAction, default=True,
                        help="also with server and generator under real-time scheduling (%(default)s)")
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
    except (Failure, OSError, ValueError) as error:
        sys.exit(f"tail.py: {error}")
    text = markdown(result)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(text + "\n")


if __name__ == "__main__":
    main()
