#!/usr/bin/env python3
"""What do a few exact searches cost the fast requests beside them, and does another threading help?

    make build
    (cd models && PYTHONPATH=. ../.venv/bin/python -m belfry_models random --items 200000 --dimension 64 --seed 11 \\
        --factory IVF512,Flat --out ../.build/threading/mixed)
    loadtest/threading/run.py                       # the table, on standard output
    loadtest/threading/run.py --json out.json

The daemon has one core and the generators another. Of the requests, which come by chance (Poisson), 1 in 100 is exact and
the others want k = 10 from 8 of the 512 lists (inverted lists because they are built in a minute; what matters is how much
longer an exact search takes). Each kind has a generator of its own, so that each has its own percentiles. Ways are measured in turn,
round after round, because a machine is not the same from minute to minute; the table has the median of the rounds.

Ways: a daemon of one worker that does exact searches in pieces of some length and serves its other connections in between; daemons
of 1, 2 or 4 workers on the core that do them to the end; and two daemons of one worker, of which the second takes the exact
requests. That one stands for a thread of its own for exact requests: it shows what that could gain at best, since handing over costs
nothing here.
"""

import argparse
import json
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WAYS = {
    "1 worker, pieces of 100 us": {"workers": 1},
    "pieces of 25 us": {"workers": 1, "yield": 25},
    "pieces of 400 us": {"workers": 1, "yield": 400},
    "1 worker, to the end": {"workers": 1, "yield": 0},
    "2 workers, to the end": {"workers": 2, "yield": 0},
    "4 workers, to the end": {"workers": 4, "yield": 0},
    "exact elsewhere": {"workers": 1, "yield": 0, "elsewhere": 0},
}


class Daemon:
    """`belfry serve` on its own core; ends with the `with` block. Its admin plane listens in `folder`."""

    count = 0

    def __init__(self, options: argparse.Namespace, folder: str, way: dict, nice: int) -> None:
        command = ["taskset", "-c", str(options.server_core), "nice", "-n", str(options.nice + nice), options.belfry,
                   "serve", "--snapshots", options.snapshot, "--listen", "127.0.0.1:0", "--workers", str(way["workers"]),
                   "--yield-micros", str(way.get("yield", 100)), "--admin", f"unix:{folder}/admin-{Daemon.count}.sock"]
        Daemon.count += 1
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            match = re.search(r"serving.*?(127\.0\.0\.1:\d+)", line) or re.search(r"(127\.0\.0\.1:\d+).*serving", line)
            if match:
                self.url = f"http://{match[1]}"
                return
        sys.exit(f"belfry serve did not start: {' '.join(command)}")

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate()


def bodies(snapshot: pathlib.Path, exact: bool, count: int) -> list[str]:
    """Requests of the snapshot's warm-up, each once, with k = 10."""
    lines = [json.loads(line) for line in (snapshot / "warmup.jsonl").read_text().splitlines()]
    result = []
    for index in range(count):
        body = {key: value for key, value in lines[index % len(lines)].items() if key in ("user", "context")}
        body["k"] = 10
        body["search"] = {"exact": True} if exact else {"nprobe": 8}
        result.append(json.dumps(body, separators=(",", ":")))
    return result


def write(path: str, lines: list[str]) -> str:
    pathlib.Path(path).write_text("\n".join(lines) + "\n")
    return path


def load(options: argparse.Namespace, url: str, requests: str, report: str, arguments: list[str]) -> subprocess.Popen:
    command = ["taskset", "-c", str(options.load_core), "nice", "-n", str(options.nice), options.belfry, "loadtest",
               "--target", url, "--requests", requests, "--connections", str(options.connections), "--duration",
               f"{options.seconds}s", "--warmup", "1s", "--validate", "0", "--recall-sample", "0", "--quiet",
               "--max-send-lag", "10s", "--json", report, *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def read(report: str) -> dict:
    found = json.loads(pathlib.Path(report).read_text())
    if found["errors"]["total"]:
        print(f"{report}: {found['errors']}", file=sys.stderr)
    return found


def measure(options: argparse.Namespace, way: dict, folder: str, fast: str, exact: str, mixed: str) -> dict:
    with Daemon(options, folder, way, 0) as first:
        second = Daemon(options, folder, way, way["elsewhere"]) if "elsewhere" in way else first
        try:
            exact_report, fast_report = f"{folder}/exact.json", f"{folder}/fast.json"
            generators = [
                load(options, second.url, exact, exact_report, ["--rate", str(options.rate / 100)]),
                load(options, first.url, fast, fast_report, ["--rate", str(options.rate * 0.99)]),
            ]
            for generator in generators:
                generator.wait()
            of_fast, of_exact = read(fast_report), read(exact_report)
            result = {"fast": of_fast["latency_us"], "exact": of_exact["latency_us"],
                      "lag_p99": of_fast["send_lag_us"]["p99"], "saturated": None}
            if second is first:
                load(options, first.url, mixed, f"{folder}/all.json", ["--closed"]).wait()
                result["saturated"] = read(f"{folder}/all.json")["achieved_rate"]
            return result
        finally:
            if second is not first:
                second.__exit__()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--belfry", default=str(ROOT / ".build/release/belfry"))
    parser.add_argument("--snapshot", default=str(ROOT / ".build/threading/mixed"))
    parser.add_argument("--rate", type=float, default=1000, help="requests/s of both kinds (%(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="of each generator (%(default)s)")
    parser.add_argument("--seconds", type=int, default=8, help="of each run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--nice", type=int, default=0, help="of daemons and generators; below 0 needs root (%(default)s)")
    parser.add_argument("--json", help="write all figures there")
    options = parser.parse_args()

    snapshot = pathlib.Path(options.snapshot)
    rounds: dict[str, list[dict]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        fast = write(f"{folder}/fast.jsonl", bodies(snapshot, False, 1000))
        exact = write(f"{folder}/exact.jsonl", bodies(snapshot, True, 100))
        both = bodies(snapshot, False, 990) + bodies(snapshot, True, 10)
        random.Random(1).shuffle(both)
        mixed = write(f"{folder}/mixed.jsonl", both)
        for number in range(options.rounds):
            for name, way in WAYS.items():
                rounds[name].append(measure(options, way, folder, fast, exact, mixed))
                latest = rounds[name][-1]
                print(f"round {number + 1}: {name}: k = 10 {latest['fast']['p50']} {latest['fast']['p99']}, exact "
                      f"{latest['exact']['p50']} us, saturated {latest['saturated']}, lag {latest['lag_p99']}",
                      file=sys.stderr)
    if options.json:
        pathlib.Path(options.json).write_text(
            json.dumps({"options": vars(options), "rounds": rounds, "load_average": os.getloadavg()}, indent=1) + "\n")

    def median(name: str, *path: str) -> str:
        values = []
        for found in rounds[name]:
            for key in path:
                found = found[key] if found is not None else None
            if found is not None:
                values.append(found)
        return f"{statistics.median(values):.0f}" if values else "-"

    print(f"{options.rate:.0f} requests/s, 1 in 100 exact, {options.rounds} rounds of {options.seconds} s; microseconds")
    print("| way | k = 10: p50 | p99 | exact: p50 | p90 | send lag p99 | saturated, requests/s |")
    print("|---|---|---|---|---|---|---|")
    for name in WAYS:
        print(f"| {name} | {median(name, 'fast', 'p50')} | {median(name, 'fast', 'p99')} | {median(name, 'exact', 'p50')} "
              f"| {median(name, 'exact', 'p90')} | {median(name, 'lag_p99')} | {median(name, 'saturated')} |")


if __name__ == "__main__":
    main()
