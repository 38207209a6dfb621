#!/usr/bin/env python3
"""Building HNSW24 (efConstruction 120) on two threads: `belfry index build` and faiss-cpu, in turn.

    build.py --data .build/bench/data/manifold-1000000x64 --rounds 3

Both read the .fbin file, build, and write an index file that FAISS reads; both are timed from reading to writing. Python's
start and imports are not counted, belfry's start is. The ratio is taken within a round.
"""

from __future__ import annotations

import argparse
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

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent

FAISS_PROGRAM = """
import json, sys, time
import faiss, numpy
items, out, links, ef, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
faiss.omp_set_num_threads(threads)
start = time.monotonic()
count, dimension = (int(number) for number in numpy.fromfile(items, dtype="<u4", count=2))
rows = numpy.fromfile(items, dtype="<f4", offset=8).reshape(count, dimension)
read = time.monotonic()
index = faiss.IndexHNSWFlat(dimension, links, faiss.METRIC_INNER_PRODUCT)
index.hnsw.efConstruction = ef
index.add(rows)
added = time.monotonic()
faiss.write_index(index, out)
print(json.dumps({"seconds": time.monotonic() - start, "add_seconds": added - read}))
"""


def build_faiss(options: argparse.Namespace, out: Path) -> Dict[str, float]:
    done = subprocess.run([sys.executable, "-c", FAISS_PROGRAM, str(options.data / "items.fbin"), str(out), str(options.links),
                           str(options.ef_construction), str(options.threads)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def build_belfry(options: argparse.Namespace, out: Path) -> Dict[str, float]:
    started = time.monotonic()
    subprocess.run([str(options.belfry), "index", "build", "--items", str(options.data / "items.fbin"), "--factory",
                    f"HNSW{options.links}", "--ef-construction", str(options.ef_construction), "--threads",
                    str(options.threads), "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    return {"seconds": time.monotonic() - started}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of data.py")
    parser.add_argument("--links", type=int, default=24)
    parser.add_argument("--ef-construction", type=int, default=120)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--belfry", type=Path, default=REPOSITORY / ".build/release/belfry")
    parser.add_argument("--out", type=Path, default=REPOSITORY / ".build/bench/results")
    options = parser.parse_args()
    stamp = machine.describe(("faiss-cpu",))
    rounds: List[Dict[str, Any]] = []
    builders = {"belfry": build_belfry, "faiss": build_faiss}
    for turn in range(options.rounds):
        row: Dict[str, Any] = {}
        for name in sorted(builders, reverse=turn % 2 == 1):
            with tempfile.TemporaryDirectory(dir=options.data) as folder:
                row[name] = builders[name](options, Path(folder) / "index.faiss")
            print(f"round {turn + 1}: {name} {row[name]['seconds']:.1f} s", file=sys.stderr, flush=True)
        row["ratio"] = row["belfry"]["seconds"] / row["faiss"]["seconds"]
        rounds.append(row)
    write(options, stamp, rounds)
    return 0


def write(options: argparse.Namespace, stamp: Dict[str, Any], rounds: List[Dict[str, Any]]) -> None:
    import report  # for the stamp

    ratio = statistics.median(row["ratio"] for row in rounds)
    name = f"build-{options.data.resolve().name}"
    lines = [f"# Building: {options.data.resolve().name}", "",
             f"HNSW{options.links}, efConstruction {options.ef_construction}, {options.threads} threads, from reading the vectors to the "
             "written file.", "", report.stamp_line(stamp), "", f"`{stamp['command']}`", "",
             "| round | belfry s | faiss-cpu s | of which adding | belfry / faiss-cpu |", "|--:|--:|--:|--:|--:|"]
    for place, row in enumerate(rounds):
        lines.append(f"| {place + 1} | {row['belfry']['seconds']:.1f} | {row['faiss']['seconds']:.1f} | "
                     f"{row['faiss']['add_seconds']:.1f} | {row['ratio']:.2f} |")
    lines += ["", f"Median of the ratios: **{ratio:.2f}**.", ""]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{name}.md").write_text("\n".join(lines))
    (options.out / f"{name}.json").write_text(json.dumps(
        {"machine": stamp, "rounds": rounds, "ratio": ratio, "links": options.links, "threads": options.threads,
         "ef_construction": options.ef_construction}, indent=1) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
