#!/usr/bin/env python3
"""Does anybody notice a new snapshot? Makes two models, starts a daemon, and runs a scenario of swaps at half of saturation.

    .venv/bin/python loadtest/swaps/run.py swap-200
    .venv/bin/python loadtest/swaps/run.py swap-p99 --rounds 1
    .venv/bin/python loadtest/swaps/run.py swap-200 --items 2000 --swaps 5 --every 200ms      # in seconds

The daemon has one core and one worker, the load another one. Models, requests and PyTorch's answers are made once for each number of
items and kept in .build/swaps. Writes the load tester's report (JSON, HTML) and a summary (JSON, Markdown). Exit status: the load
tester's.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCENARIOS = {"swap-200": 200_000, "swap-p99": 1_000_000}
SOURCES = ("a", "b")
DIMENSION = 64
USERS = 2000
REQUESTS = 500
K = 100
START_SECONDS = 180
STOP_SECONDS = 30
# More than the square root of the items in each list makes probing coarse, and less makes choosing lists dear.
LISTS_BY_ITEMS = ((500_000, 1024), (50_000, 512), (10_000, 64), (0, 16))


class Failure(Exception):
    """What a person is told in one line."""


# The models.

def make_data(folder: pathlib.Path, items: int, python: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "models"), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    lists = next(count for least, count in LISTS_BY_ITEMS if items >= least)
    for seed, source in enumerate(SOURCES, start=1):
        if not (folder / source / "_SUCCESS").exists():
            shutil.rmtree(folder / source, ignore_errors=True)
            began = time.monotonic()
            run([python, "-m", "belfry_models", "random", "--items", str(items), "--dimension", str(DIMENSION), "--seed", str(seed),
                 "--users", str(USERS), "--normalise", "--factory", f"IVF{lists},Flat", "--out", str(folder / source)], environment)
            print(f"{folder / source}: made in {time.monotonic() - began:.0f} s", file=sys.stderr)
    requests = folder / "requests.jsonl"
    if not requests.exists():
        draw_requests(folder / SOURCES[0], requests)
    for source in SOURCES:
        expected = folder / f"{source}.expected.jsonl"
        if not expected.exists():
            run([python, "-m", "belfry_models", "expect", "--snapshot", str(folder / source), "--requests", str(requests), "--out",
                 str(expected)], environment)


def draw_requests(snapshot: pathlib.Path, out: pathlib.Path) -> None:
    """Requests that both models answer: their users, items and features have the same names."""
    sys.path.insert(0, str(ROOT / "models"))
    import numpy
    from belfry_models import random_columns

    items = json.loads((snapshot / "manifest.json").read_text())["items"]["count"]
    users = random_columns.draw_user_ids(USERS, "string")
    bodies = random_columns.draw_requests(REQUESTS, users, random_columns.draw_item_ids(items, "u64"), numpy.random.default_rng([7, 7]))
    draft = out.with_suffix(".tmp")
    draft.write_text("".join(json.dumps({**body, "k": K}, ensure_ascii=False) + "\n" for body in bodies), encoding="utf-8")
    draft.rename(out)


def run(command: List[str], environment: Optional[Dict[str, str]] = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Failure(f"{' '.join(command[:6])} ... ended with {done.returncode}: {words[-1] if words else 'it said nothing'}")


# The daemon.

class Daemon:
    """One process on a core of its own, and nothing left behind."""

    def __init__(self, belfry: str, snapshots: pathlib.Path, state: pathlib.Path, core: int, log: pathlib.Path,
                 more: List[str]):
        self.command = [belfry, "serve", "--snapshots", str(snapshots), "--state", str(state), "--workers", "1", *more]
        self.core, self.log = core, log
        self.process: Optional[subprocess.Popen] = None
        self.port, self.admin_port = free_ports(2)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def __enter__(self) -> "Daemon":
        command = [*pinned(self.core), *self.command, "--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin_port}"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_until_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Failure(f"the daemon ended with {self.process.returncode}: {self.last_words()}")
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/readyz")
                if connection.getresponse().status < 300:
                    return
            except OSError:
                pass
            finally:
                connection.close()
            time.sleep(0.1)
        raise Failure(f"the daemon is not ready after {START_SECONDS} s: {self.last_words()}")

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_ports(count: int) -> List[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def pinned(core: int) -> List[str]:
    return ["taskset", "-c", str(core)] if core >= 0 else []


# The load.

def load(options: argparse.Namespace, arguments: List[str], out: pathlib.Path, names: str = "report") -> Dict[str, Any]:
    """A report, whatever became of its thresholds."""
    path = out / f"{names}.json"
    path.unlink(missing_ok=True)
    command = [*pinned(options.load_core), options.belfry, "loadtest", "--quiet", "--json", str(path), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    (out / f"{names}.txt").write_text(done.stdout + done.stderr)
    if not path.exists():
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Failure(f"belfry loadtest ended with {done.returncode}: {words[-1] if words else 'it said nothing'}")
    return {**json.loads(path.read_text()), "exit_status": done.returncode}


def measure_saturation(options: argparse.Namespace, daemon: Daemon, data: pathlib.Path, out: pathlib.Path) -> float:
    report = load(options, ["--target", daemon.url, "--requests", str(data / "requests.jsonl"), "--format", setting(options.scenario, "format"), "--closed",
                            "--connections", "32", "--duration", options.saturation, "--warmup", "2s", "--validate", "0%",
                            "--recall-sample", "0"], out, "saturation")
    if report["errors"]["total"]:
        raise Failure(f"at saturation {report['errors']['total']} requests failed: {report['errors']['by_kind']}")
    return report["achieved_rate"]


def run_scenario(options: argparse.Namespace, daemon: Daemon, data: pathlib.Path, out: pathlib.Path, rate: float) -> Dict[str, Any]:
    arguments = ["--scenario", str(ROOT / "loadtest" / "scenarios" / f"{options.scenario}.yaml"), "--target", daemon.url, "--admin",
                 daemon.admin, "--requests", str(data / "requests.jsonl"), "--rate", f"{rate:.1f}", "--swap-directory",
                 str(data / "published"), "--seed", str(options.seed), "--html", str(out / "report.html")]
    for source in SOURCES:
        arguments += ["--swap-publish", str(data / source), "--swap-expect", str(data / f"{source}.expected.jsonl")]
    if options.swaps is not None:
        arguments += ["--swaps", str(options.swaps)]
        for threshold in changed(thresholds(options.scenario), options.swaps, options.memory):
            arguments += ["--threshold", threshold]
    for name in ("every", "settle"):
        if getattr(options, name) is not None:
            arguments += [f"--swap-{name}", getattr(options, name)]
    for name in ("warmup", "validate"):
        if getattr(options, name) is not None:
            arguments += [f"--{name}", getattr(options, name)]
    return load(options, arguments + options.more, out)


def setting(scenario: str, key: str) -> str:
    """A value of a scenario that stands on one line."""
    lines = (ROOT / "loadtest" / "scenarios" / f"{scenario}.yaml").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{key}:"))


def thresholds(scenario: str) -> List[str]:
    """The list at the end of a scenario, which is plain enough to be read without a YAML reader."""
    lines = (ROOT / "loadtest" / "scenarios" / f"{scenario}.yaml").read_text().splitlines()
    return [line.strip()[2:] for line in lines[lines.index("threshold:") + 1:] if line.strip().startswith("- ")]


def changed(scenario: List[str], swaps: int, memory: Optional[str]) -> List[str]:
    """A scenario's thresholds with another number of swaps and, if one is given, another threshold on memory."""
    own = [f"swaps>={swaps}" if each.startswith("swaps>=") else each for each in scenario]
    return [memory if memory is not None and each.startswith("memory[") else each for each in own]


# The summary.

def summarise(options: argparse.Namespace, report: Dict[str, Any], saturation: float) -> Dict[str, Any]:
    keys = ("started_at", "machine", "scheduled_rate", "achieved_rate", "requests", "errors", "latency_us", "send_lag_us", "windows",
            "validation", "thresholds", "valid", "invalid", "exit")
    swaps = {name: value for name, value in (report.get("swaps") or {}).items() if name != "records"}
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {"scenario": options.scenario, "items": options.items, "dimension": DIMENSION, "k": K, "commit": commit,
            "saturation": saturation, "share": options.share, **{key: report.get(key) for key in keys}, "swaps": swaps}


def amount(value: Optional[float], unit: Optional[str]) -> str:
    """A threshold's number, shares in percent as the threshold has them."""
    return figure(value) if value is None or unit != "fraction" else f"{value:.3%}"


def markdown(summary: Dict[str, Any]) -> str:
    swaps, windows, stamp = summary["swaps"], summary["windows"] or {}, summary["machine"]
    stolen = stamp.get("stolen")
    taken = f", {stolen['all_share']:.1%} of the cores' time taken by the hypervisor" if stolen else ""
    lines = [f"# {summary['scenario']}", "",
             f"{summary['items']:,} items of {summary['dimension']} dimensions, k = {summary['k']}, one worker on one core, load on the "
             f"other; {summary['scheduled_rate']:,.0f} requests/s, {summary['share']:.0%} of {summary['saturation']:,.0f} at saturation. "
             f"{summary['started_at']}, {stamp['cpu']}, {stamp['cores']} cores, Linux {stamp['kernel']}, load {stamp['load_average']:.2f} "
             f"at the start{taken}, commit {summary['commit']}. Verdict: **{summary['exit']}**"
             + (f" ({'; '.join(summary['invalid'])})" if summary["invalid"] else "") + ".", "",
             "| threshold | observed | limit | |", "|---|--:|--:|---|"]
    for each in summary["thresholds"]:
        observed, limit = (amount(each.get(name), each.get("unit")) for name in ("observed", "limit"))
        lines.append(f"| `{each['expression']}` | {observed} | {limit} | {each['verdict']} |")
    failed = summary.get("errors") or {}
    if failed.get("total"):
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in failed["by_kind"].items())
        lines += ["", f"{failed['total']:,} requests failed ({failed['share']:.2%}): {kinds}."]
    lines += ["", "| step, ms | median | longest | CPU, median | CPU, longest |", "|---|--:|--:|--:|--:|"]
    rows = [("publish (another process)", swaps.get("publish_ms"), swaps.get("publish_cpu_ms"))]
    rows += [(step, (swaps.get("steps_ms") or {}).get(step), (swaps.get("steps_cpu_ms") or {}).get(step))
             for step in ("verify", "load", "warm", "swap", "destroy")]
    rows += [("from found to serving", swaps.get("found_to_serving_ms"), None),
             ("from found to the old one destroyed", swaps.get("found_to_destroyed_ms"), None)]
    for name, spread, cpu in rows:
        if spread:
            times = [spread["median"], spread["max"], *((cpu["median"], cpu["max"]) if cpu else (None, None))]
            lines.append(f"| {name} | " + " | ".join(figure(value) for value in times) + " |")
    lines += ["", "| microseconds | requests | p50 | p90 | p99 | p99.9 |", "|---|--:|--:|--:|--:|--:|"]
    for name, latency in (("all", summary["latency_us"]), ("during swaps", windows.get("swap")), ("between swaps", windows.get("quiet"))):
        if latency:
            lines.append(f"| {name} | {latency['count']:,} | " + " | ".join(figure(latency[p]) for p in ("p50", "p90", "p99", "p99.9"))
                         + " |")
    for each in windows.get("ratios") or []:
        lines.append(f"\np{each['percentile']:g} during swaps by that between them: {each['ratio']:.3f} (95 %: {each['low']:.3f} to "
                     f"{each['high']:.3f}, over {windows['pairs']} swaps of {windows['swap_s']:.0f} s together)")
    if swaps.get("resident_ratio"):
        third, last = (swaps[name] / 2**20 for name in ("resident_bytes_third", "resident_bytes_last"))
        lines.append(f"\nResident memory: {third:.1f} MiB after the third swap, {last:.1f} MiB after the last, "
                     f"{swaps['resident_ratio']:.4f} times.")
    belonging = (summary["validation"] or {}).get("belonging")
    if belonging:
        lines.append(f"\n{belonging['recomputed']:,} replies ({summary['validation']['share']:.1%}) with {belonging['scores']:,} scores "
                     f"recomputed from the snapshot they name: {belonging['mixed']} mixed; the worst score is "
                     f"{belonging['worst_difference']:.1e} of both vectors' lengths off.")
    return "\n".join(lines) + "\n"


def figure(value: Optional[float]) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def main() -> int:
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=sorted(SCENARIOS))
    parser.add_argument("--items", type=int, help="of each model; by default what the scenario is about")
    parser.add_argument("--swaps", type=int, help="instead of the scenario's")
    parser.add_argument("--memory", help="a threshold on memory, with --swaps, instead of the scenario's")
    parser.add_argument("--every", help="from one swap to the next at the least, instead of the scenario's")
    parser.add_argument("--settle", help="from a swap's end to its quiet window at the least, instead of the scenario's")
    parser.add_argument("--warmup", help="instead of the scenario's")
    parser.add_argument("--validate", help="the share of replies that is recomputed, instead of the scenario's")
    parser.add_argument("--share", type=float, default=0.5, help="of saturation (%(default)s)")
    parser.add_argument("--rate", type=float, help="requests per second, instead of that share")
    parser.add_argument("--saturation", default="10s", help="how long saturation is measured (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server-core", type=int, default=cores[0], help="-1 for any (%(default)s)")
    parser.add_argument("--load-core", type=int, default=cores[-1], help="-1 for any (%(default)s)")
    parser.add_argument("--load-priority", help="of the daemon, instead of its default")
    parser.add_argument("--belfry", default=str(ROOT / ".build/release/belfry"))
    parser.add_argument("--python", default=sys.executable, help="that has what belfry_models needs (%(default)s)")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / ".build" / "swaps")
    parser.add_argument("--out", type=pathlib.Path, help="by default in the data's folder")
    parser.epilog = "What follows -- is more options of belfry loadtest."
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:end])
    options.more = words[end + 1:]
    options.items = options.items or SCENARIOS[options.scenario]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the daemon is ended on the way out
    if not os.path.exists(options.belfry):
        raise Failure(f"{options.belfry} is missing: make build")
    data = options.data / str(options.items)
    out = options.out or data / options.scenario
    out.mkdir(parents=True, exist_ok=True)
    make_data(data, options.items, options.python)
    shutil.rmtree(data / "published", ignore_errors=True)
    shutil.rmtree(data / "state", ignore_errors=True)
    for name in ("published", "state"):
        (data / name).mkdir()
    run([options.belfry, "publish", str(data / SOURCES[-1]), "--to", str(data / "published"), "--id", "before", "--activate"])
    with Daemon(options.belfry, data / "published", data / "state", options.server_core, out / "daemon.log",
                ["--load-priority", options.load_priority] if options.load_priority else []) as daemon:
        saturation = measure_saturation(options, daemon, data, out)
        report = run_scenario(options, daemon, data, out, options.rate or options.share * saturation)
    summary = summarise(options, report, saturation)
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    (out / "summary.md").write_text(markdown(summary))
    print(markdown(summary))
    return report["exit_status"]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"{pathlib.Path(__file__).name}: {failure}")
