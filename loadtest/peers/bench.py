#!/usr/bin/env python3
"""belfry and its peers side by side: one thread, one query at a time, the same vectors and queries.

    bench.py --data .build/bench/data/manifold-1000000x64 [--engines 'belfry|HNSW'] [--out DIR]
    bench.py --data ... --prepare          only build the indexes that are not in the cache yet

1. Every engine's index is built once and kept under .build/bench/indexes.
2. The queries are shuffled and halved. On the first half the grid of grid.json is searched for the cheapest setting that
   reaches each recall. Calibrations are kept too (--recalibrate makes them anew).
3. In each round every engine loads its index in a process of its own, on one core, and is timed with its settings over the
   second half. Slow phases of the machine hit all alike; ratios are taken within a round, and medians over rounds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy

import machine
from belfry import Belfry, BelfryFailure
from grid import Point, cheapest
from vector_files import read_rows, read_vectors, write_rows, write_vectors

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
CACHE = REPOSITORY / ".build/bench"
PACKAGES = ("faiss-cpu", "hnswlib", "usearch", "scann", "scalable-vs", "numpy")
SHUFFLE_SEED = 20261
# What the walk through the grid is.
WALK_DIGEST = hashlib.sha256((HERE / "grid.py").read_bytes()).hexdigest()[:16]
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
                                     "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")}


def log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()


class DataSet:
    """A folder of data.py, and the halves of its queries."""

    def __init__(self, folder: Path):
        self.folder = folder.resolve()
        self.name = self.folder.name
        self.items = self.folder / "items.fbin"
        self.about = json.loads((self.folder / "about.json").read_text())
        self.count, self.dimension = read_vectors(self.items).shape
        self.first, self.second = (self.half(place) for place in (0, 1))

    def half(self, which: int) -> Path:
        """The shuffled queries' first or second half, in files of their own, because our program reads files."""
        folder = self.folder / f"half-{which + 1}"
        queries, truth = read_vectors(self.folder / "queries.fbin"), read_rows(self.folder / "truth.ibin")
        order = numpy.random.default_rng(SHUFFLE_SEED).permutation(len(queries))
        chosen = order[which::2]
        folder.mkdir(exist_ok=True)
        write_vectors(folder / "queries.fbin", numpy.array(queries)[chosen])
        write_rows(folder / "truth.ibin", truth[chosen])
        return folder


class Contestant:
    """One row of the comparison: a peer in a worker process, or one of our indexes."""

    def __init__(self, specification: Mapping[str, Any], data: DataSet, options: argparse.Namespace, ours: Optional[Belfry]):
        self.specification, self.data, self.options, self.ours = specification, data, options, ours
        self.name: str = specification["name"]
        # What the index was built with is in the folder's name, so that another grid finds another index.
        built = {key: value for key, value in specification.items() if key not in ("name", "search")}
        digest = hashlib.sha256(json.dumps(built, sort_keys=True).encode()).hexdigest()[:8]
        self.folder = options.cache / "indexes" / data.name / f"{slug(self.name)}-{digest}"
        self.calibration = options.cache / "calibrations" / data.name / f"{slug(self.name)}-{digest}.json"
        self.settings: List[Dict[str, Any]] = []  # {"k", "target", "setting"}
        self.points: Dict[str, List[Dict[str, Any]]] = {}
        self.best_recall: Dict[int, float] = {}
        self.built: Dict[str, Any] = {}
        self.rounds: List[List[Dict[str, Any]]] = []
        self.failure: Optional[str] = None

    # Building

    def build(self) -> None:
        mark = self.folder / "done.json"
        if not mark.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            log(f"{self.name}: building on {self.options.build_threads} threads")
            if self.ours is not None:
                result = self.ours.build(self.specification, self.data.items, self.folder, self.options.build_threads)
                result["bytes"] = (self.folder / "index.faiss").stat().st_size
            else:
                result = self.work("build", {"threads": self.options.build_threads}, pinned=False)
            mark.write_text(json.dumps(result, indent=2) + "\n")
            log(f"{self.name}: built in {result['seconds']:.0f} s")
        self.built = json.loads(mark.read_text())

    # Calibration

    def calibrate(self, grid: Mapping[str, Any]) -> None:
        """Fills the settings: for each k and target the cheapest that reaches it on the first half of the queries. A
        target that none reaches has no setting."""
        wanted = self.fingerprint(grid)
        known = json.loads(self.calibration.read_text()) if self.calibration.exists() else {}
        if known.get("fingerprint") != wanted or self.options.recalibrate:
            log(f"{self.name}: calibrating")
            found = self.calibrate_ours(grid) if self.ours is not None else self.calibrate_peer(grid)
            known = {"fingerprint": wanted, **found}
            self.calibration.parent.mkdir(parents=True, exist_ok=True)
            self.calibration.write_text(json.dumps(known, indent=1) + "\n")
        self.points, self.settings = known["points"], known["settings"]
        for k in grid["k"]:
            self.best_recall[k] = max((point["recall"] for point in self.points[str(k)]), default=0.0)

    def fingerprint(self, grid: Mapping[str, Any]) -> str:
        """Another grid, another program or other data ask for another calibration."""
        facts: List[Any] = [self.specification, grid["k"], grid["targets"], grid["margins"], grid["slowest_us"],
                            self.data.about, self.built.get("version"), grid["calibration_seconds"], WALK_DIGEST]
        if self.ours is not None:
            facts.append([self.ours.binary.stat().st_mtime_ns, self.ours.repeats_settings])
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def calibrate_peer(self, grid: Mapping[str, Any]) -> Dict[str, Any]:
        request = {"half": str(self.data.first), "ks": grid["k"], "aims": [aim(grid, target) for target in grid["targets"]],
                   "slowest_us": grid["slowest_us"], "seconds_per_setting": grid["calibration_seconds"]}
        points = self.work("calibrate", request)["points"]
        settings = []
        for k in grid["k"]:
            for target in grid["targets"]:
                best = cheapest([Point(**point) for point in points[str(k)]], aim(grid, target))
                if best is not None:
                    settings.append({"k": k, "target": target, "setting": best.setting})
        return {"points": points, "settings": settings}

    def calibrate_ours(self, grid: Mapping[str, Any]) -> Dict[str, Any]:
        """The program itself searches for the cheapest setting; its reports are kept, to be timed again."""
        points: Dict[str, List[Dict[str, Any]]] = {str(k): [] for k in grid["k"]}
        settings = []
        for target in grid["targets"]:
            rows = self.ours.bench(self.data.items, self.data.first, self.folder, grid["k"], aim(grid, target),
                                   self.report_of(target))
            for row in rows:
                points[str(row["k"])].append({"setting": row["parameters"], "recall": row["recall"], "p50": row["us_p50"],
                                              "mean": row["us_mean"]})
                if row["recall"] >= aim(grid, target):
                    settings.append({"k": row["k"], "target": target, "setting": row["parameters"]})
        return {"points": points, "settings": settings}

    def report_of(self, target: float) -> Path:
        path = self.calibration.with_suffix("") / f"{target}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    # Measuring

    def measure(self, grid: Mapping[str, Any]) -> None:
        """One turn of one round."""
        if self.ours is None:
            self.rounds.append(self.work("measure", {"half": str(self.data.second), "settings": self.settings})["rows"])
            return
        rows: List[Dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as folder:
            for target in grid["targets"]:
                ks = [row["k"] for row in self.settings if row["target"] == target]
                if not ks:
                    continue
                timed = self.ours.bench(self.data.items, self.data.second, self.folder, ks, aim(grid, target),
                                        Path(folder) / "report.json", settings=self.report_of(target))
                for row in timed:
                    rows.append({"k": row["k"], "target": target, "recall": row["recall"], "us_p50": row["us_p50"],
                                 "us_p99": row["us_p99"], "us_mean": row["us_mean"], "overhead_us": 0.0, "overhead": "none",
                                 "bytes_per_item": row["bytes_per_item"], "setting": row["parameters"],
                                 "queries": len(read_rows(self.data.second / "truth.ibin"))})
        self.rounds.append(rows)

    def work(self, action: str, request: Mapping[str, Any], pinned: bool = True) -> Dict[str, Any]:
        """One run of worker.py."""
        request = {"action": action, "specification": self.specification, "folder": str(self.folder),
                   "items": str(self.data.items), "core": self.options.core if pinned else None,
                   "seconds_per_setting": self.options.seconds_per_setting, "least_queries": self.options.least_queries,
                   **request}
        with tempfile.TemporaryDirectory() as folder:
            asked, answered = Path(folder) / "request.json", Path(folder) / "result.json"
            asked.write_text(json.dumps(request))
            # Building on a busy machine crawls while OpenMP's threads spin for each other.
            environment = {**os.environ, **(ONE_THREAD if pinned else {"OMP_WAIT_POLICY": "PASSIVE"})}
            with open(Path(folder) / "stderr", "w+") as errors:
                # Its own words go to our standard error line by line, but for building, where libraries are talkative.
                done = subprocess.run([sys.executable, str(HERE / "worker.py"), str(asked), str(answered)],
                                      env=environment, stdout=errors, stderr=None if action == "calibrate" else errors)
                errors.seek(0)
                said = errors.read().strip().splitlines()
            if not answered.exists():
                raise BelfryFailure(f"{action} ended with status {done.returncode}: {(said or ['no word'])[-1]}")
            result = json.loads(answered.read_text())
        if "unavailable" in result:
            raise BelfryFailure(result["unavailable"])
        return result


def aim(grid: Mapping[str, Any], target: float) -> float:
    """What is asked for on the calibration queries, so that the others, which nobody has seen, reach the target too."""
    return min(1.0, target + grid["margins"].get(str(target), 0.0))


def attempt(contestant: Contestant, step: str, *arguments: Any) -> None:
    """One that fails is named in the report, and the others go on."""
    if contestant.failure is not None:
        return
    try:
        getattr(contestant, step)(*arguments)
    except (BelfryFailure, OSError, ValueError, KeyError) as error:
        contestant.failure = f"{step}: {error}"
        log(f"{contestant.name}: NOT MEASURED, {contestant.failure}")


def summarise(contestants: Sequence[Contestant], grid: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """One row for each engine, k and target that was measured: medians over rounds."""
    rows = []
    for contestant in contestants:
        for k in grid["k"]:
            for target in grid["targets"]:
                turns = [row for turn in contestant.rounds for row in turn if (row["k"], row["target"]) == (k, target)]
                if not turns:
                    continue
                chosen = next(row["setting"] for row in contestant.settings if (row["k"], row["target"]) == (k, target))
                middle = {name: statistics.median(turn[name] for turn in turns)
                          for name in ("recall", "us_p50", "us_p99", "us_mean", "overhead_us")}
                stored = contestant.built["bytes"] / contestant.data.count
                rows.append({
                    "engine": contestant.name, "ours": contestant.ours is not None, "k": k, "target": target,
                    "parameters": turns[0].get("setting", chosen), **middle,
                    "queries_per_second": 1e6 / middle["us_mean"],
                    "bytes_per_item": turns[0].get("bytes_per_item", stored),
                    "overhead": turns[0]["overhead"], "queries": turns[0]["queries"],
                    "rounds": [{name: turn[name] for name in ("recall", "us_p50", "us_p99", "us_mean", "overhead_us")}
                               for turn in turns]})
    return rows


def ratios_of(rows: Sequence[Mapping[str, Any]], grid: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """Our best index over the best peer, within each round, for the median and the mean time of a query."""
    result = []
    for target in grid["targets"]:
        for k in grid["k"]:
            here = [row for row in rows if (row["k"], row["target"]) == (k, target)]
            ours, peers = [row for row in here if row["ours"]], [row for row in here if not row["ours"]]
            if not ours or not peers:
                continue
            count = min(len(row["rounds"]) for row in here)
            entry: Dict[str, Any] = {"k": k, "target": target, "rounds": {}}
            for figure in ("us_p50", "us_mean"):
                each = [min(row["rounds"][place][figure] for row in ours) / min(row["rounds"][place][figure] for row in peers)
                        for place in range(count)]
                entry[f"ratio_{figure}"] = statistics.median(each)
                entry["rounds"][figure] = each
            entry["ours"] = min(ours, key=lambda row: row["us_p50"])["engine"]
            entry["peer"] = min(peers, key=lambda row: row["us_p50"])["engine"]
            result.append(entry)
    return result


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of data.py")
    parser.add_argument("--grid", type=Path, default=HERE / "grid.json")
    parser.add_argument("--engines", default=".", help="only those whose names this regular expression finds")
    parser.add_argument("--k", type=int, action="append", help="instead of the grid's; repeat for several")
    parser.add_argument("--target", type=float, action="append", help="recall, instead of the grid's; repeat for several")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=0, help="the core that everything timed runs on")
    parser.add_argument("--build-threads", type=int, default=2)
    parser.add_argument("--belfry", type=Path, default=REPOSITORY / ".build/release/belfry")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where indexes and calibrations are kept")
    parser.add_argument("--prepare", action="store_true", help="build the indexes, and no more")
    parser.add_argument("--recalibrate", action="store_true")
    parser.add_argument("--out", type=Path, default=CACHE / "results")
    return parser.parse_args()


def main() -> int:
    options = parse()
    stamp = machine.describe(PACKAGES)
    grid = json.loads(options.grid.read_text())
    grid["k"], grid["targets"] = options.k or grid["k"], options.target or grid["targets"]
    options.seconds_per_setting, options.least_queries = grid["seconds_per_setting"], grid["least_queries"]
    data = DataSet(options.data)
    grid["k"] = [k for k in grid["k"] if k <= read_rows(data.folder / "truth.ibin").shape[1]]
    wanted = re.compile(options.engines)

    contestants: List[Contestant] = []
    notes: List[str] = []
    ours = Belfry(options.belfry.resolve(), options.core) if options.belfry.exists() else None
    if ours is None:
        notes.append(f"belfry was not measured: there is no {options.belfry.name}; run `make build` first.")
    elif not ours.repeats_settings:
        notes.append("This belfry has no `index bench --settings`: its settings were searched on the reported queries.")
    for specification in grid["belfry"] if ours is not None else []:
        contestants.append(Contestant(specification, data, options, ours))
    contestants += [Contestant(specification, data, options, None) for specification in grid["peers"]]
    contestants = [each for each in contestants if wanted.search(each.name)]

    for contestant in contestants:
        attempt(contestant, "build")
    if options.prepare:
        return 0
    for contestant in contestants:
        attempt(contestant, "calibrate", grid)
    for turn in range(options.rounds):
        # Every other round runs backwards, so that none always follows the same neighbour.
        for contestant in contestants if turn % 2 == 0 else reversed(contestants):
            if contestant.failure is None:
                log(f"round {turn + 1} of {options.rounds}: {contestant.name}")
                attempt(contestant, "measure", grid)

    measured = [each for each in contestants if each.failure is None]
    rows = summarise(measured, grid)
    result = {
        "machine": stamp, "data": {"name": data.name, **data.about}, "grid": grid, "rounds": options.rounds,
        "rows": rows, "ratios": ratios_of(rows, grid),
        "not_measured": {each.name: each.failure for each in contestants if each.failure is not None},
        "best_recall": {each.name: each.best_recall for each in measured},
        "built": {each.name: {key: each.built[key] for key in ("seconds", "threads", "bytes")} for each in measured},
        "points": {each.name: each.points for each in measured}, "notes": notes}
    import report  # which needs matplotlib

    report.write(result, options.out, data.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
