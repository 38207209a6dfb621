#!/usr/bin/env python3
"""What pages of 2 MB give: `belfry index bench` over the same index with them and without, in turn.

    pages.py --data .build/bench/data/manifold-1000000x64 --rounds 5

Settings are found once, on one half of the queries, and timed on the other. Without large pages the program is the same, and its
wish for them is refused: prctl(PR_SET_THP_DISABLE), which a child inherits through fork and exec (prctl(2)). What each run holds in
large pages (/proc/PID/smaps_rollup, twice a second, from another core) shows that it had what it was to have; else this ends in an error.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List

import machine
from bench import DataSet, log, slug

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
PR_SET_THP_DISABLE = 41
INDEXES = ("belfry HNSW24", "belfry IVF8192")


def set_large_pages(allowed: bool) -> None:
    """For this process and all that it starts from now on."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_THP_DISABLE, *(ctypes.c_ulong(each) for each in (0 if allowed else 1, 0, 0, 0))) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_THP_DISABLE)")


def large_pages_of(process: int) -> int:
    """Bytes that the process holds in large pages; 0 once it has ended."""
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("AnonHugePages:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def bench(options: argparse.Namespace, half: Path, index: Path, extra: List[str]) -> Dict[str, Any]:
    """One run: its report's rows, and the most it held in large pages."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = ["taskset", "-c", str(options.core), str(options.belfry), "index", "bench", "--items", str(options.data / "items.fbin"),
                   "--queries", str(half / "queries.fbin"), "--truth", str(half / "truth.ibin"), "--index", str(index),
                   "--json", str(report), *extra]
        errors = Path(folder) / "errors"
        with errors.open("w") as file:
            running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)
            most = 0
            while running.poll() is None:
                most = max(most, large_pages_of(running.pid))
                time.sleep(0.5)
        # A missed recall is status 1 with the report written.
        if not report.exists():
            sys.exit(f"pages.py: {errors.read_text().strip()}")
        return {"rows": json.loads(report.read_text())["rows"], "large_page_bytes": most, "text": report.read_text()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of data.py, whose indexes bench.py has built")
    parser.add_argument("--recall", type=float, default=0.991, help="on the half that settings are found on (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--belfry", type=Path, default=REPOSITORY / ".build/release/belfry")
    parser.add_argument("--indexes", type=Path, default=REPOSITORY / ".build/bench/indexes")
    parser.add_argument("--out", type=Path, default=REPOSITORY / ".build/bench/results")
    options = parser.parse_args()
    stamp = machine.describe(())
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {options.core} or {options.core})
    data = DataSet(options.data)
    ks = ["--k", "10", "--k", "100", "--k", "500", "--k", "2000", "--recall", str(options.recall)]
    results: Dict[str, List[Dict[str, Any]]] = {}
    for name in INDEXES:
        found = sorted((options.indexes / data.name).glob(f"{slug(name)}-*/index.faiss"))
        if len(found) != 1:
            sys.exit(f"pages.py: {len(found)} indexes of {name} under {options.indexes / data.name}: run bench.py --prepare first")
        with tempfile.NamedTemporaryFile("w", suffix=".json") as settings:
            settings.write(bench(options, data.first, found[0], ks)["text"])
            settings.flush()
            results[name] = []
            for turn in range(options.rounds):
                row: Dict[str, Any] = {}
                for large in (True, False) if turn % 2 == 0 else (False, True):
                    set_large_pages(large)
                    row["large" if large else "small"] = bench(options, data.second, found[0], [*ks, "--settings", settings.name])
                    row["large" if large else "small"].pop("text")
                    if (row["large" if large else "small"]["large_page_bytes"] > 0) != large:
                        sys.exit(f"pages.py: {name} had {'no ' if large else ''}large pages in a run that was to be with{'' if large else 'out'} them; "
                                 f"the system's setting is {stamp['huge_pages']}")
                set_large_pages(True)
                results[name].append(row)
                log(f"{name}, round {turn + 1}")
    write(options, data, stamp, results)
    return 0


def write(options: argparse.Namespace, data: DataSet, stamp: Dict[str, Any], results: Dict[str, List[Dict[str, Any]]]) -> None:
    import report  # for the stamp

    name = f"pages-{data.name}"
    lines = [f"# Pages of 2 MB: {data.name}", "", report.stamp_line(stamp), "", f"`{stamp['command']}`", "",
             "| index | k | recall | with them us | without us | with / without |", "|---|--:|--:|--:|--:|--:|"]
    for index, rounds in results.items():
        for place, first in enumerate(rounds[0]["large"]["rows"]):
            times = {kind: [each[kind]["rows"][place]["us_p50"] for each in rounds] for kind in ("large", "small")}
            ratios = [large / small for large, small in zip(times["large"], times["small"])]
            lines.append(f"| {index} | {first['k']} | {first['recall']:.4f} | {statistics.median(times['large']):.1f} | "
                         f"{statistics.median(times['small']):.1f} | **{statistics.median(ratios):.2f}** "
                         f"({min(ratios):.2f} to {max(ratios):.2f}) |")
    held = {index: min(each["large"]["large_page_bytes"] for each in rounds) for index, rounds in results.items()}
    lines += ["", "Medians over rounds; ratios are taken within a round. Held in pages of 2 MB with them, in the round with the fewest: "
              + ", ".join(f"{index} {held[index] / 2**20:,.0f} MiB" for index in results) + "; without them none.", ""]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{name}.md").write_text("\n".join(lines))
    (options.out / f"{name}.json").write_text(json.dumps({"machine": stamp, "results": results}, indent=1) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
