#!/usr/bin/env python3
"""Holds `belfry loadtest` to a server whose behaviour is known, with wrk beside it.

    swift build -c release --product belfry && swift build -c release --product injected-server
    loadtest/precision/run.py                # the tables, on standard output
    loadtest/precision/run.py --write        # and into loadtest/precision/results/

For each injected behaviour the percentiles follow from arithmetic; a report is right within 2 % or 20 us, whichever is
larger. The server has one core, the generator another; nothing else should run. Needs wrk, taskset and Python 3.
"""

import argparse
import json
import math
import os
import pathlib
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RELATIVE = 0.02
ABSOLUTE_US = 20.0
ATTEMPTS = 3

WRK_SCRIPT = """
-- Cycles through a file of bodies, if one is given, and prints percentiles that wrk itself does not.
local bodies, position = {}, 0
function init(args)
  if args[1] then
    wrk.method = "POST"
    for line in io.lines(args[1]) do
      bodies[#bodies + 1] = wrk.format("POST", args[2], {["Content-Type"] = "application/json"}, line)
    end
    request = function()
      position = position % #bodies + 1
      return bodies[position]
    end
  end
end
function done(summary, latency, requests)
  for _, p in ipairs({50, 90, 95, 98.5, 99, 99.5, 99.9}) do
    io.write(string.format("quantile %g %d\\n", p, latency:percentile(p)))
  end
  local e = summary.errors
  io.write(string.format("counted %d %d %d\\n", summary.requests, summary.duration,
                         e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def percentile_name(p):
    return f"p{p:g}"


class Server:
    """`injected-server` on its own core, for one run."""

    def __init__(self, options, arguments):
        command = ["taskset", "-c", str(options.server_core), options.server, *map(str, arguments)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        match = re.search(r"listening on 127\.0\.0\.1:(\d+)", line)
        if not match:
            sys.exit(f"injected-server did not start: {line}{self.process.stderr.read()}")
        self.url = f"http://127.0.0.1:{match[1]}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.process.stderr.close()

    def truth(self):
        with urllib.request.urlopen(self.url + "/truth") as reply:
            return json.load(reply)


def run_wrk(options, url, connections, seconds, requests=None):
    """wrk's figures: quantiles in microseconds, requests per second, errors."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(WRK_SCRIPT)
        script.flush()
        command = ["taskset", "-c", str(options.generator_core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s",
                   "--latency", "-s", script.name, url, "--"]
        if requests:
            command += [requests, "/v1/retrieve"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    quantiles = {percentile_name(float(p)): float(v) for p, v in re.findall(r"^quantile (\S+) (\d+)", output, re.M)}
    count, duration_us, errors = map(int, re.search(r"^counted (\d+) (\d+) (\d+)", output, re.M).groups())
    return {"latency_us": quantiles, "requests": count, "errors": errors, "rate": count / (duration_us / 1e6)}


def run_belfry(options, url, arguments, percentiles=(), requests=None):
    """`belfry loadtest`'s JSON report, its exit status, and the percentiles asked for in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.json")
        command = ["taskset", "-c", str(options.generator_core), options.belfry, "loadtest", "--target", url,
                   *map(str, arguments), "--json", report]
        command += ["--requests", requests] if requests else ["--method", "GET"]
        for p in percentiles:  # a limit that always holds: the report then tells the percentile it observed
            command += ["--threshold", f"p({p:g})<60s"]
        done = subprocess.run(command, capture_output=True, text=True)
        if not os.path.exists(report):
            print(f"{' '.join(command)}\nexit status {done.returncode}: {done.stderr.strip()}", file=sys.stderr)
            return None
        result = json.loads(pathlib.Path(report).read_text())
    observed = {}
    for threshold in result.get("thresholds") or []:
        match = re.match(r"p\(([\d.]+)\)", threshold.get("expression", ""))
        if match and threshold.get("observed") is not None:
            observed[percentile_name(float(match[1]))] = threshold["observed"]
    for name, value in (result.get("latency_us") or {}).items():
        if value is not None:
            observed.setdefault(name, value)
    return {"report": result, "exit": done.returncode, "latency_us": observed}


def error_count(report):
    errors = report["errors"]
    return errors["total"] if "total" in errors else sum(errors.values())


def stalled(stall_ms, period_ms, rate, drain_rate, p):
    """The p-th percentile, in microseconds, where the server stands still for `stall_ms` of each `period_ms`.

    An arrival t after the start of a stall waits stall - t for its end and rate * t / drain_rate for those before it.
    That falls from `stall_ms` linearly, so the share above x is share * (stall - x) / (stall * (1 - rate / drain_rate)).
    """
    share = stall_ms / period_ms
    x = stall_ms - (1 - p / 100) / share * stall_ms * (1 - rate / drain_rate)
    return x * 1000


def behaviours(options, drain_rate):
    """Name, the server's arguments, arrival, rate, {percentile: expected us}, {percentile: sampling error us}, errors."""
    one = 1000.0
    common = {50: one, 90: one}
    stall = ["--stall", 500, "--stall-period", 5000, "--stall-offset", 1500]
    tail = {p: stalled(500, 5000, options.stall_rate, drain_rate, p) for p in (95, 99, 99.5)}
    count = options.stall_rate * options.duration
    # Poisson arrivals fall into the stalls or not: the share above x has a binomial deviation, times dx / dshare.
    spread = {p: 3 * 500_000 / 0.1 * math.sqrt(p / 100 * (1 - p / 100) / count) for p in tail}
    return [
        ("no delay", ["--busy-poll"], "poisson", options.rate, {}, {}, 0.0),
        ("1 ms", ["--delay", 1], "poisson", options.rate, {**common, 99: one, 99.9: one}, {}, 0.0),
        ("1 ms, 1 % at 50 ms", ["--delay", 1, "--slow", "1/100", "--slow-delay", 50], "poisson", options.rate,
         {**common, 98.5: one, 99.5: 50_000.0, 99.9: 50_000.0}, {}, 0.0),
        ("stall of 500 ms each 5 s, constant", stall, "constant", options.stall_rate, tail, {}, 0.0),
        ("stall of 500 ms each 5 s, Poisson", stall, "poisson", options.stall_rate, tail, spread, 0.0),
        ("1 ms, closes 2 %", ["--delay", 1, "--closes", "1/50"], "poisson", options.rate, {**common, 99: one}, {}, 0.02),
    ]


def judge(expected, reported, spread=0.0):
    error = reported - expected
    return error, abs(error) <= max(RELATIVE * expected, ABSOLUTE_US, spread)


def precision(options):
    with Server(options, ["--busy-poll"]) as server:
        drain_rate = run_wrk(options, server.url + "/", options.connections, 3)["rate"]
    rows = []
    for name, arguments, arrival, rate, expected, spread, errors in behaviours(options, drain_rate):
        if options.only and options.only not in name:
            continue
        print(f"... {name}", file=sys.stderr)
        belfry = None
        truth = None
        attempts = 0
        while options.belfry and attempts < ATTEMPTS:
            attempts += 1
            with Server(options, arguments) as server:
                belfry = run_belfry(
                    options, server.url + "/",
                    ["--rate", rate, "--duration", f"{options.duration}s", "--warmup", "2s",
                     "--connections", options.connections, "--arrival", arrival], expected)
                truth = server.truth()
            # A run that the generator calls invalid, or in which the server itself was late, is no evidence: it is repeated,
            # and the table says how often.
            late = [p for p, value in expected.items()
                    if "stall" not in name and truth["late_us"][percentile_name(p)] > max(RELATIVE * value, ABSOLUTE_US)]
            if belfry["exit"] != 3 and not late:
                break
            print(f"    attempt {attempts}: exit {belfry['exit']}, server late at {late}", file=sys.stderr)
        with Server(options, arguments) as server:
            wrk = run_wrk(options, server.url + "/", options.connections, options.duration)
            truth = truth or server.truth()
        points = expected or {50: None, 90: None, 99: None, 99.9: None}
        for p, value in points.items():
            key = percentile_name(p)
            reported = belfry and belfry["latency_us"].get(key)
            row = {
                "behaviour": name, "what": key, "expected_us": value, "sampling_us": spread.get(p, 0.0),
                "server_us": truth["service_us"].get(key), "belfry_us": reported, "wrk_us": wrk["latency_us"].get(key),
                "exit": belfry and belfry["exit"], "server_late_us": truth["late_us"].get(key), "attempts": attempts,
            }
            if "stall" in name:
                row["server_us"] = None  # it does not see what waits outside while it stands still
            if value is not None and reported is not None:
                row["error_us"], row["right"] = judge(value, reported, spread.get(p, 0.0))
                # A machine that is not quiet makes the server itself late; then the row says nothing of the generator.
                late = row["server_late_us"] if "stall" not in name else 0.0
                if not row["right"] and late > max(RELATIVE * value, ABSOLUTE_US):
                    row["right"] = None
                    row["server_was_late"] = True
            if value is not None and row["wrk_us"] is not None:
                row["wrk_error_us"], row["wrk_right"] = judge(value, row["wrk_us"], spread.get(p, 0.0))
            rows.append(row)
        if belfry or errors:
            # Every 50th request exactly, the warm-up's included: the share that is counted is off by one at most.
            count = belfry and belfry["report"].get("requests")
            counted = belfry and error_count(belfry["report"])
            share = counted / count if count else None
            # wrk does not count a request whose connection closes, so its share is of what it sent.
            wrk_share = wrk["errors"] / max(1, wrk["requests"] + wrk["errors"])
            row = {"behaviour": name, "what": "errors", "expected": errors,
                   "server": truth["closed"] / max(1, truth["requests"]), "belfry": share, "wrk": wrk_share,
                   "exit": belfry and belfry["exit"]}
            if share is not None:
                row["right"] = abs(counted - errors * count) <= 1.5
            rows.append(row)
    return rows, drain_rate


def send_lag(options):
    with Server(options, ["--delay", 1]) as server:
        belfry = run_belfry(
            options, server.url + "/",
            ["--rate", 5000, "--duration", f"{options.duration}s", "--warmup", "2s", "--connections",
             options.connections, "--arrival", "poisson"])
    return belfry and {"exit": belfry["exit"], **belfry["report"]["send_lag_us"]}


def write_requests(folder):
    path = os.path.join(folder, "requests.jsonl")
    with open(path, "w") as out:
        for user in range(1000):
            out.write(json.dumps({"user": {"id": f"u{user}"}, "k": 100}) + "\n")
    return path


def closed_loop(options):
    """Requests per second of both in turn; medians."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        requests = write_requests(folder)
        cases = [("GET /", ["--busy-poll"], None, None), ("POST /v1/retrieve", ["--busy-poll"], requests, None)]
        if options.belfry_url:
            own = options.belfry_requests or requests
            cases.append(("belfry serve", None, own, options.belfry_url))
        for name, arguments, file, url in cases:
            server = Server(options, arguments) if url is None else None
            base = url or server.url
            rates = {"belfry": [], "wrk": []}
            try:
                for _ in range(options.rounds):
                    wrk = run_wrk(options, base + "/", options.connections, options.round_seconds, file)
                    rates["wrk"].append(wrk["rate"])
                    if not options.belfry:
                        continue
                    belfry = run_belfry(
                        options, base + ("" if file else "/"),
                        ["--closed", "--duration", f"{options.round_seconds}s", "--warmup", "1s", "--connections",
                         options.connections, "--validate", "1%"], requests=file)
                    if belfry:
                        rates["belfry"].append(belfry["report"]["achieved_rate"])
            finally:
                if server:
                    server.__exit__()
            row = {"endpoint": name, "rates": rates, "wrk": statistics.median(rates["wrk"])}
            if rates["belfry"]:
                row["belfry"] = statistics.median(rates["belfry"])
                row["ratio"] = row["belfry"] / row["wrk"]
            results.append(row)
    return results


def micros(value):
    return "" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def markdown(data):
    stolen = f"; the hypervisor took {data['stolen_share']:.1%} of the cores' time" if "stolen_share" in data else ""
    lines = [f"# Precision\n\n{data['machine']}{stolen}\n",
             "Right is within 2 % or 20 us, whichever is larger, of what arithmetic expects; "
             "with Poisson arrivals and stalls within three deviations "
             "of the sampling besides; `server late` is a row in which the server itself was later than that. Times in microseconds. The server's own time is from reading a request to having "
             "written its reply; `late` is how long after its due instant the writing began.\n",
             "| behaviour | | expected | server | late | belfry | error | % | verdict | wrk | wrk's verdict |",
             "|---|---|--:|--:|--:|--:|--:|--:|---|--:|---|"]
    verdict = {True: "right", False: "WRONG", None: ""}

    def judged(row):
        text = "server late" if row.get("server_was_late") else verdict[row.get("right")]
        if row.get("attempts", 1) > 1:
            text += f" (attempt {row['attempts']})"
        return text + (f" (exit {row['exit']})" if row.get("exit") else "")

    for row in data["rows"]:
        if row["what"] == "errors":
            share = lambda v: "" if v is None else f"{100 * v:.3f} %"
            lines.append(f"| {row['behaviour']} | errors | {share(row['expected'])} | {share(row['server'])} | | "
                         f"{share(row['belfry'])} | | | {judged(row)} | {share(row['wrk'])} | |")
            continue
        error = row.get("error_us")
        percent = "" if error is None else f"{100 * error / row['expected_us']:+.2f}"
        late = "" if row["server_us"] is None else micros(row["server_late_us"])
        lines.append(f"| {row['behaviour']} | {row['what']} | {micros(row['expected_us'])} | {micros(row['server_us'])} | "
                     f"{late} | {micros(row['belfry_us'])} | {'' if error is None else f'{error:+,.0f}'} | "
                     f"{percent} | {judged(row)} | {micros(row['wrk_us'])} | {verdict[row.get('wrk_right')]} |")
    lines.append(f"\nStalls are expected to drain at {data['drain_rate']:,.0f}/s, which is wrk's closed-loop rate.\n")
    if data.get("send_lag"):
        lag = data["send_lag"]
        lines.append("Send lag at 5,000/s: " + ", ".join(
            f"{name} {micros(lag.get(name))} us" for name in ("p50", "p99", "p99.9", "max") if lag.get(name) is not None)
            + f" (exit status {lag['exit']}).\n")
    lines += ["| closed loop, requests/s | belfry | wrk | ratio |", "|---|--:|--:|--:|"]
    for row in data["closed_loop"]:
        belfry = f"{row['belfry']:,.0f} | {row['wrk']:,.0f} | {row['ratio']:.2f}" if "belfry" in row else f"| {row['wrk']:,.0f} |"
        lines.append(f"| {row['endpoint']} | {belfry} |")
    lines.append(f"\nMedians of {data['rounds']} rounds in turn, {data['connections']} connections.\n")
    return "\n".join(lines)


def machine():
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return (f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, {model}, {os.cpu_count()} cores, Linux "
            f"{platform.release()}, load {os.getloadavg()[0]:.2f} at the start, commit {commit.stdout.strip()}")


def stolen_ticks():
    """All ticks of all cores, and those that the hypervisor took."""
    ticks = [int(each) for each in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks), ticks[7]


def stolen_share(start):
    all_ticks, stolen = (now - before for now, before in zip(stolen_ticks(), start))
    return stolen / all_ticks if all_ticks else 0.0


def main():
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--belfry", default=str(ROOT / ".build/release/belfry"), help="the binary to judge; 'none' for wrk alone")
    parser.add_argument("--server", default=str(ROOT / ".build/release/injected-server"))
    parser.add_argument("--belfry-url", help="a real daemon, for the closed-loop comparison")
    parser.add_argument("--belfry-requests", help="request bodies for it, one a line")
    parser.add_argument("--duration", type=int, default=20, help="seconds; a multiple of 5, the stalls' period")
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--stall-rate", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--round-seconds", type=int, default=5)
    parser.add_argument("--generator-core", type=int, default=cores[-1])
    parser.add_argument("--server-core", type=int, default=cores[0])
    parser.add_argument("--only", help="behaviours whose name has this text")
    parser.add_argument("--skip", default="", help="any of: precision,lag,closed")
    parser.add_argument("--write", action="store_true", help="write results/precision.json and .md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that servers are ended on the way out
    for tool in ("wrk", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install wrk util-linux")
    if not os.path.exists(options.server):
        sys.exit(f"{options.server} is missing: swift build -c release --product injected-server")
    if options.belfry == "none":
        options.belfry = None
    elif not os.path.exists(options.belfry):
        sys.exit(f"{options.belfry} is missing: swift build -c release --product belfry")
    if options.server_core == options.generator_core:
        print("one core only: the figures say little", file=sys.stderr)

    ticks = stolen_ticks()
    data = {"machine": machine(), "rounds": options.rounds, "connections": options.connections, "rows": [],
            "drain_rate": 0.0, "closed_loop": []}
    if "precision" not in options.skip:
        data["rows"], data["drain_rate"] = precision(options)
    if options.belfry and "lag" not in options.skip:
        data["send_lag"] = send_lag(options)
    if "closed" not in options.skip:
        data["closed_loop"] = closed_loop(options)
    data["stolen_share"] = stolen_share(ticks)
    text = markdown(data)
    print(text)
    if options.write:
        results = HERE / "results"
        results.mkdir(exist_ok=True)
        (results / "precision.json").write_text(json.dumps(data, indent=1) + "\n")
        (results / "precision.md").write_text(text)
    return 1 if any(row.get("right") is False for row in data["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
