#!/usr/bin/env python3
"""What a request costs in CPU, beside the sum of what it cannot do without.

    floor.py SNAPSHOT --requests FILE [--k 100] [--ef N | --nprobe N] [--rounds 5] [--seconds 4]

The daemon and an echo server made of the same HTTP code (same body in, a reply of the same size out) are each put under closed-loop
load of 16 connections, on core 0, with the load tester on core 1; their CPU time comes from /proc/PID/stat, divided by the
requests answered. Tower and search are measured alone, in one process on core 0, over the same requests: with core 1 idle, and once
more with core 1 as busy as it is under load (an echo server and a load tester, both on it), because two cores share
memory bandwidth and cache, and on some machines the units of one core. The ratio is CPU per request over echo + tower + search, by
either. Rounds alternate; medians are printed, and all rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BINARIES = ROOT / ".build/release"


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=1).read()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


# Without the tester's exact searches after the timed run: they are the server's work, and no request's.
def load_command(port: int, requests: Path, seconds: int, is_echo: bool) -> list:
    return ["taskset", "-c", "1", BINARIES / "belfry", "loadtest", "--target", f"http://127.0.0.1:{port}/v1/retrieve",
            "--closed", "--connections", "16", "--duration", f"{seconds}s", "--warmup", "1s", "--quiet",
            "--requests", requests, "--validate", "0%" if is_echo else "1%", "--recall-sample", "0"]


def loaded(pid: int, port: int, arguments: argparse.Namespace, requests: Path, is_echo: bool) -> float:
    """Microseconds of CPU for each request."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        before = cpu_seconds(pid)
        subprocess.run(
            [*load_command(port, requests, arguments.seconds, is_echo), "--json", report.name],
            check=False, stdout=subprocess.DEVNULL)
        spent = cpu_seconds(pid) - before
        answered = json.loads(Path(report.name).read_text())
    # The warm-up counts for the CPU time as well.
    return spent / (answered["achieved_rate"] * (arguments.seconds + 1)) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("snapshot")
    parser.add_argument("--requests", required=True, type=Path)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--ef", type=int)
    parser.add_argument("--nprobe", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    search = {name: getattr(arguments, name) for name in ("ef", "nprobe") if getattr(arguments, name)}
    requests = Path(tempfile.mkstemp(suffix=".jsonl")[1])
    with requests.open("w") as file:
        for line in arguments.requests.read_text().splitlines():
            body = json.loads(line)
            body.update(k=arguments.k, format="columns")
            if search:
                body["search"] = search
            file.write(json.dumps(body) + "\n")

    def steps() -> dict:
        command = ["taskset", "-c", "0", BINARIES / "bench-floor", "steps", arguments.snapshot, "--requests", requests,
                   "--k", str(arguments.k), "--rounds", "3"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    @contextlib.contextmanager
    def busy_neighbour() -> Iterator[None]:
        """Core 1 at work on HTTP, on its own."""
        server = echo_server(8093, 1)
        wait_for("http://127.0.0.1:8093/")
        load = subprocess.Popen(load_command(8093, requests, 3600, True), stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            for process in (load, server):
                process.kill()
                process.wait()

    reply_bytes = int(steps()["reply_bytes"])

    def echo_server(port: int, core: int) -> subprocess.Popen:
        return subprocess.Popen(
            ["taskset", "-c", str(core), BINARIES / "bench-floor", "echo", "--listen", f"127.0.0.1:{port}",
             "--reply-bytes", str(reply_bytes)], stdout=subprocess.DEVNULL)

    daemon = subprocess.Popen(
        ["taskset", "-c", "0", BINARIES / "belfry", "serve", "--snapshots", arguments.snapshot, "--workers", "1",
         "--listen", "127.0.0.1:8091", "--log-level", "error"])
    echo = echo_server(8092, 0)
    rounds = []
    try:
        wait_for("http://127.0.0.1:8091/readyz")
        wait_for("http://127.0.0.1:8092/")
        for _ in range(arguments.rounds):
            row = steps()
            row["request_us"] = loaded(daemon.pid, 8091, arguments, requests, False)
            row["echo_us"] = loaded(echo.pid, 8092, arguments, requests, True)
            with busy_neighbour():
                beside = steps()
            row.update({f"{name}_busy_us": beside[f"{name}_us"] for name in ("tower", "search")})
            row["ratio"] = row["request_us"] / (row["echo_us"] + row["tower_us"] + row["search_us"])
            row["ratio_busy"] = row["request_us"] / (row["echo_us"] + row["tower_busy_us"] + row["search_busy_us"])
            row["left_over_us"] = row["request_us"] - sum(
                row[name] for name in ("echo_us", "decode_us", "tower_us", "search_us", "encode_us"))
            rounds.append(row)
            print("  ".join(f"{name} {value:.2f}" for name, value in sorted(row.items())), flush=True)
    finally:
        for process in (daemon, echo):
            process.terminate()
            process.wait()
        requests.unlink()
    medians = {name: statistics.median(row[name] for row in rounds) for name in rounds[0]}
    print("\n| step | us |\n|---|--:|")
    for name in ("echo_us", "decode_us", "tower_us", "search_us", "encode_us", "left_over_us", "request_us"):
        print(f"| {name[:-3].replace('_', ' ')} | {medians[name]:.1f} |")
    print(f"\nCPU per request over echo + tower + search: {medians['ratio']:.3f} with the other core idle while these were measured, "
          f"{medians['ratio_busy']:.3f} with it busy (tower {medians['tower_busy_us']:.1f}, search {medians['search_busy_us']:.1f} us)")
    if arguments.json:
        arguments.json.write_text(json.dumps({"medians": medians, "rounds": rounds}, indent=2) + "\n")


if __name__ == "__main__":
    main()
