#!/usr/bin/env python3
"""Belfry against two hand-written stacks: the same model, the same items, the same requests of random users.

    .build/bench/stacks-venv/bin/python loadtest/stacks/compare.py --data .build/bench/stacks/1000000

Each server has one core and one thread, the load the other core. For each k every engine gets the smallest ef (nprobe) with which its recall
through HTTP against exact search is enough, on users that are not reported; Belfry's is to be .0005 above any other's there. Then rounds, in which the servers take turns: closed loop
on 16 connections, closed loop on one, Poisson arrivals at half of what the slowest can answer. Prints a Markdown table whose ratios are
medians over rounds of the ratios within a round; --json keeps everything.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time
from importlib import metadata
from typing import Any, Dict, List, Sequence

import numpy

from load import Load, ask, read_requests
from replies import largest_score_fault, recall, smallest_sufficient
from servers import BELFRY, ROOT, Failure, Server, belfry_lists_server, belfry_server, cpp_server, python_server, snapshot_of

ENGINES = {"belfry": belfry_server, "lists": belfry_lists_server, "cpp": cpp_server, "python": python_server}
SCORE_TOLERANCE = 2e-5  # of scores up to 1, from float32 sums over 256 inputs and three layers in other orders
EF_STEP, EF_MAX = 4, 8192
SATURATING_CONNECTIONS = 16
OURS = ("belfry", "lists")
OURS_MARGIN = 0.0005  # by which ours is to be better on the calibration users, so that it should be no worse on the reported ones
PACKAGES = ("fastapi", "uvicorn", "httptools", "uvloop", "orjson", "onnxruntime", "faiss-cpu", "numpy", "xxhash")
LIBRARIES = ("libhnswlib-dev", "libmicrohttpd12", "libsimdjson14", "libeigen3-dev", "libfaiss-dev")


class Truth:
    """Requests of one file with the embeddings and the exact top that snapshot.py wrote."""

    def __init__(self, data: pathlib.Path, name: str):
        with numpy.load(data / "requests" / "truth.npz") as truth:
            self.embeddings, self.ids = truth[f"{name}.embeddings"], truth[f"{name}.ids"]
        self.bodies = read_requests(data / "requests" / f"{name}.jsonl", len(self.ids))

    def recall(self, server: Server, k: int, ef: int, format: str) -> float:
        return recall([reply.ids for reply in ask(server, self.bodies, k, ef, format)], self.ids, k)


def require_same_model(server: Server, truth: Truth, vectors: numpy.ndarray, row_of_id: Dict[int, int], format: str) -> None:
    """Whoever scores an item otherwise than PyTorch serves another model."""
    some = truth.bodies[:50]
    for index, reply in enumerate(ask(server, some, 100, 400, format)):
        if len(reply.ids) != 100:
            raise Failure(f"the {server.name} server found {len(reply.ids)} of 100 items")
        fault = largest_score_fault(reply, [row_of_id[id] for id in reply.ids], vectors, truth.embeddings[index])
        if fault > SCORE_TOLERANCE:
            raise Failure(f"the {server.name} server scores {fault:.2g} off PyTorch in request {index}: it is not the same model")


def calibrate(server: Server, truth: Truth, k: int, wanted: float, format: str) -> int:
    """The smallest ef whose recall@k is enough."""
    try:
        return smallest_sufficient(lambda ef: truth.recall(server, k, ef, format), wanted, EF_STEP, EF_MAX, EF_STEP)
    except ValueError as error:
        raise Failure(f"the {server.name} server: recall@{k} {error}") from error


def measure(load: Load, server: Server, k: int, ef: int, rate: float, options: argparse.Namespace, seed: int) -> Dict[str, Any]:
    """One engine's share of one round."""
    server.check()
    timed = ["--duration", f"{options.seconds}s", "--warmup", f"{options.warmup}s", "--seed", str(seed)]
    closed = load.run(server, [*timed, "--closed", "--connections", str(SATURATING_CONNECTIONS)], k, ef, options.format)
    single = load.run(server, [*timed, "--closed", "--connections", "1"], k, ef, options.format)
    opened = load.run(server, [*timed, "--arrival", "poisson", "--rate", f"{rate:.0f}", "--connections",
                                   str(SATURATING_CONNECTIONS)], k, ef, options.format)
    reports = {"closed": closed, "single": single, "open": opened}
    return {
        "requests_per_second": closed["achieved_rate"],
        "single_p50_us": single["latency_us"]["p50"], "single_p99_us": single["latency_us"]["p99"],
        "open_p50_us": opened["latency_us"]["p50"], "open_p99_us": opened["latency_us"]["p99"],
        "attempts": {name: report["attempts"] for name, report in reports.items()},
        "spoilt": sorted(name for name, report in reports.items() if report["spoilt"]),
    }


def saturation(load: Load, server: Server, k: int, ef: int, options: argparse.Namespace) -> float:
    report = load.run(server, ["--duration", "2s", "--warmup", "1s", "--closed", "--connections", str(SATURATING_CONNECTIONS)],
                      k, ef, options.format)
    return report["achieved_rate"]


def compare(servers: Dict[str, Server], k: int, calibration: Truth, reported: Truth, load: Load,
            options: argparse.Namespace) -> Dict[str, Any]:
    engines: Dict[str, Dict[str, Any]] = {}
    best_of_others = 0.0
    for name, server in sorted(servers.items(), key=lambda each: each[0] in OURS):
        wanted = options.recall + options.margin
        if name in OURS:
            wanted = min(1.0, max(wanted, best_of_others + OURS_MARGIN if best_of_others else 0))
        ef = calibrate(server, calibration, k, wanted, options.format)
        found = calibration.recall(server, k, ef, options.format)
        if name not in OURS:
            best_of_others = max(best_of_others, found)
        engines[name] = {"ef": ef, "wanted": wanted, "calibration_recall": found, "recall": reported.recall(server, k, ef, options.format), "rounds": []}
        note(f"k {k}, {server.name}: ef {ef}, recall {engines[name]['recall']:.4f}")
    for ours in engines.keys() & set(OURS):
        for other in engines.keys() - set(OURS):
            if engines[ours]["recall"] < engines[other]["recall"]:
                note(f"k {k}: the recall of {servers[ours].name} is below that of {servers[other].name} on the reported users")
    engines = {name: engines[name] for name in servers}
    rate = options.rate or 0.5 * min(saturation(load, server, k, engines[name]["ef"], options) for name, server in servers.items())
    for turn in range(options.rounds):
        # Another one begins each time, so that none always comes after the same one.
        names = list(servers)
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            figures = measure(load, servers[name], k, engines[name]["ef"], rate, options, seed=turn + 1)
            engines[name]["rounds"].append(figures)
            note(f"k {k}, round {turn + 1}, {servers[name].name}: {figures['requests_per_second']:,.0f} requests/s")
    return {"k": k, "open_rate": rate, "engines": engines}


FIGURES = ("requests_per_second", "single_p50_us", "single_p99_us", "open_p50_us", "open_p99_us")


def median_of(engine: Dict[str, Any], figure: str) -> float | None:
    values = [each[figure] for each in engine["rounds"] if each[figure] is not None]
    return statistics.median(values) if values else None


def median_ratio(ours: Sequence[Dict[str, Any]], theirs: Sequence[Dict[str, Any]], figure: str) -> float | None:
    """The median over rounds of ours / theirs within a round."""
    ratios = [one[figure] / other[figure] for one, other in zip(ours, theirs) if one[figure] and other[figure]]
    return statistics.median(ratios) if ratios else None


def markdown(result: Dict[str, Any]) -> str:
    stamp = result["machine"]
    lines = [f"{result['items']:,} items, {result['started_at']}, {stamp['model']}, {stamp['cores']} cores, Linux {stamp['kernel']}, "
             f"load {stamp['load']:.2f} at the start, commit {stamp['commit']}. One core and one thread per server, load from the "
             f"other core; {result['rounds']} rounds of {result['seconds']} s in turn; medians. "
             f"Replies in {result['format']}; ef is the smallest with recall {result['recall']} plus {result['margin']} on "
             f"other users, and Belfry's there {OURS_MARGIN} above any other stack's.", ""]
    for part in result["parts"]:
        ours = part["engines"].get("belfry")
        lines += [f"k = {part['k']}, Poisson arrivals at {part['open_rate']:,.0f}/s", "",
                  "| | ef | recall | requests/s | Belfry's ratio | one connection: p50 | p99 us | ratio of p50 | "
                  "Poisson: p50 | p99 us | ratio of p99 |",
                  "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
        for name, engine in part["engines"].items():
            def ratio(figure: str) -> str:
                value = None if ours in (None, engine) else median_ratio(ours["rounds"], engine["rounds"], figure)
                return "" if value is None else f"{value:.2f}"
            values = {figure: number(median_of(engine, figure)) for figure in FIGURES}
            lines.append(f"| {result['names'][name]} | {engine['ef']} | {engine['recall']:.4f} | {values['requests_per_second']} | "
                         f"{ratio('requests_per_second')} | {values['single_p50_us']} | {values['single_p99_us']} | "
                         f"{ratio('single_p50_us')} | {values['open_p50_us']} | {values['open_p99_us']} | {ratio('open_p99_us')} |")
        spoilt = sum(len(each["spoilt"]) for engine in part["engines"].values() for each in engine["rounds"])
        if spoilt:
            lines.append(f"\nIn {spoilt} runs the generator was late in every attempt; they are counted all the same.")
        lines.append("")
    return "\n".join(lines)


def number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def machine() -> Dict[str, Any]:
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown processor")
    return {"model": model, "cores": os.cpu_count(), "kernel": os.uname().release, "load": os.getloadavg()[0],
            "commit": output("git", "-C", str(ROOT), "describe", "--always", "--dirty")}


def versions() -> Dict[str, str]:
    found = {"python": sys.version.split()[0], "belfry": binary_digest(), "g++": output("g++", "-dumpfullversion")}
    found.update({name: metadata.version(name) for name in PACKAGES})
    found.update({name: output("dpkg-query", "-W", "-f", "${Version}", name) for name in LIBRARIES})
    return found


def binary_digest() -> str:
    """Which build was measured: a commit alone does not tell."""
    return "sha256 " + hashlib.sha256(BELFRY.read_bytes()).hexdigest()[:16]


def output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def note(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> Dict[str, Any]:
    snapshot = snapshot_of(options.data)
    item_ids = numpy.fromfile(options.data / "stack" / "item_ids.u64", dtype=numpy.uint64)
    vectors = numpy.memmap(options.data / "stack" / "vectors.f32", dtype=numpy.float32, mode="r").reshape(len(item_ids), -1)
    row_of_id = {id: row for row, id in enumerate(item_ids.tolist())}
    calibration, reported = Truth(options.data, "calibration"), Truth(options.data, "reported")
    scratch = options.data / "runs"
    scratch.mkdir(exist_ok=True)
    load = Load(options.load_core, options.data / "requests" / "reported.jsonl", scratch)
    result: Dict[str, Any] = {
        "started_at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "machine": machine(), "versions": versions(),
        "snapshot": snapshot.name, "items": len(item_ids), "rounds": options.rounds, "seconds": options.seconds,
        "format": options.format, "recall": options.recall, "margin": options.margin, "parts": []}
    with contextlib.ExitStack() as running:
        servers = {}
        for name in options.engines:
            note(f"starting {name}")
            servers[name] = running.enter_context(ENGINES[name](options.data, options.server_core, scratch))
            require_same_model(servers[name], calibration, vectors, row_of_id, options.format)
        result["names"] = {name: server.name for name, server in servers.items()}
        for k in options.k:
            result["parts"].append(compare(servers, k, calibration, reported, load, options))
    return result


def main() -> None:
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="what snapshot.py wrote")
    parser.add_argument("--k", type=lambda text: [int(each) for each in text.split(",")], default=[100, 500])
    parser.add_argument("--engines", type=lambda text: text.split(","), default=list(ENGINES), help=",".join(ENGINES))
    parser.add_argument("--recall", type=float, default=0.99, help="that every engine must reach (%(default)s)")
    parser.add_argument("--margin", type=float, default=0.001, help="on calibration users, because others are reported (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="that each of a round's three runs lasts (%(default)s)")
    parser.add_argument("--warmup", type=int, default=1, help="seconds before that (%(default)s)")
    parser.add_argument("--rate", type=float, help="of the Poisson arrivals; by default half of the slowest engine's saturation")
    parser.add_argument("--format", choices=("rows", "columns"), default="columns",
                        help="of replies; columns are cheaper, above all for the Python stack (%(default)s)")
    parser.add_argument("--server-core", type=int, default=cores[0])
    parser.add_argument("--load-core", type=int, default=cores[-1])
    parser.add_argument("--json", type=pathlib.Path, help="write everything")
    parser.add_argument("--markdown", type=pathlib.Path, help="write the table, besides printing it")
    options = parser.parse_args()
    for name in options.engines:
        if name not in ENGINES:
            parser.error(f"--engines: {name!r} is none of {', '.join(ENGINES)}")
    if any(not 1 <= k <= 500 for k in options.k):
        parser.error("--k: the exact top is known for 1 to 500")
    if options.server_core == options.load_core:
        print("one core only: the figures say little", file=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that servers are ended on the way out
    os.sched_setaffinity(0, {options.load_core})
    try:
        result = run(options)
    except (Failure, OSError) as error:
        sys.exit(f"compare.py: {error}")
    text = markdown(result)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(text + "\n")


if __name__ == "__main__":
    main()
