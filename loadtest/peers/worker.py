"""One peer in a process of its own: `worker.py REQUEST.json RESULT.json`, started by bench.py.

A process for each turn keeps the peers' thread pools and allocators apart, holds one index in memory at a time, and draws
the luck of where memory lies anew in every round.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

if __name__ == "__main__":  # before a library counts the cores
    REQUEST = json.loads(Path(sys.argv[1]).read_text())
    if REQUEST.get("core") is not None:
        os.sched_setaffinity(0, {REQUEST["core"]})

import numpy

from engines import Engine, Search, Unavailable, engine_of
from grid import Point, Setting, explore, leaders, values_of
from recall import share_found, worst_scores
from timing import call_overhead, count_within, microseconds_of, without_overhead
from vector_files import read_rows, read_vectors

FINALISTS = 3
PROBES = 10  # queries that tell how long the others will take


class Judge:
    """The queries of one half, and what their hits must reach."""

    def __init__(self, items: Path, half: Path):
        # Recall gathers rows at random; a copy in memory is what an index would have.
        self.items = read_vectors(items)
        self.vectors = numpy.array(read_vectors(half / "queries.fbin"))
        self.truth = read_rows(half / "truth.ibin")
        self.queries = [numpy.ascontiguousarray(row[None, :]) for row in self.vectors]
        self.worst: Dict[int, numpy.ndarray] = {}

    def recall(self, hits: Sequence[numpy.ndarray], k: int) -> float:
        """Of the first queries, as many as there are hits."""
        if k not in self.worst:
            self.worst[k] = worst_scores(self.items, self.vectors, self.truth, k)
        shares = [share_found(self.items, self.vectors[place], rows, self.worst[k][place], k)
                  for place, rows in enumerate(hits)]
        return float(numpy.mean(shares))


def search_all(search: Search, queries: Sequence[numpy.ndarray]) -> Tuple[List[numpy.ndarray], numpy.ndarray]:
    """The hits, and the microseconds of each query."""
    hits: List[numpy.ndarray] = []
    times = microseconds_of(lambda query: hits.append(search(query)), queries)
    return hits, times


def affordable(search: Search, queries: Sequence[numpy.ndarray], request: Mapping[str, Any]) -> int:
    probe = float(microseconds_of(search, queries[:PROBES]).mean())
    return count_within(request["seconds_per_setting"], probe, len(queries), request["least_queries"])


def build(engine: Engine, request: Mapping[str, Any]) -> Dict[str, Any]:
    items = read_vectors(Path(request["items"]))
    started = time.monotonic()
    engine.build(numpy.array(items), request["threads"])
    return {"seconds": time.monotonic() - started, "threads": request["threads"], "version": engine.version(),
            "bytes": engine.stored_bytes(), "specification": request["specification"]}


def calibrate(engine: Engine, judge: Judge, request: Mapping[str, Any]) -> Dict[str, Any]:
    """Every point tried, for each k."""
    count, dimension = judge.items.shape
    rules = request["specification"]["search"]
    result: Dict[str, Any] = {}
    for k in request["ks"]:
        overhead = call_overhead(engine.overhead(k, dimension)[0], judge.queries)
        started = time.monotonic()

        def evaluate(setting: Setting) -> Point:
            search = engine.search(k, setting)
            queries = judge.queries[:affordable(search, judge.queries, request)]
            hits, times = search_all(search, queries)
            net = without_overhead(times, overhead)
            return Point(dict(setting), judge.recall(hits, k), net.p50, net.mean)

        axes = {name: values_of(rule, k, count) for name, rule in rules.items()}
        points = confirm(evaluate, explore(evaluate, axes, request["aims"], request["slowest_us"]), request["aims"])
        result[str(k)] = [point.to_json() for point in points]
        print(f"  k = {k}: {len(points)} settings in {time.monotonic() - started:.0f} s, recall up to "
              f"{max(point.recall for point in points):.4f}", file=sys.stderr, flush=True)
    return {"points": result}


def confirm(evaluate: Callable[[Setting], Point], points: List[Point], aims: Sequence[float]) -> List[Point]:
    """The fastest few of each target are timed once more and keep the better time: a setting that met a slow moment of the
    machine is not passed over for it."""
    leading = {id(point): point for target in aims for point in leaders(points, target, FINALISTS)}
    for point in leading.values():
        again = evaluate(point.setting)
        points[points.index(point)] = Point(point.setting, point.recall, min(point.p50, again.p50), min(point.mean, again.mean))
    return points


def measure(engine: Engine, judge: Judge, request: Mapping[str, Any]) -> Dict[str, Any]:
    """The chosen settings over the other half: each once for its hits, then for its times."""
    dimension = judge.items.shape[1]
    rows: List[Dict[str, Any]] = []
    for k in sorted({row["k"] for row in request["settings"]}):
        overhead_search, overhead_kind = engine.overhead(k, dimension)
        overhead = call_overhead(overhead_search, judge.queries)
        done: Dict[str, Dict[str, Any]] = {}  # one setting may be the cheapest for several targets
        for row in request["settings"]:
            if row["k"] != k:
                continue
            key = json.dumps(row["setting"], sort_keys=True)
            if key not in done:
                search = engine.search(k, row["setting"])
                queries = judge.queries[:affordable(search, judge.queries, request)]
                hits, _ = search_all(search, queries)
                net = without_overhead(microseconds_of(search, queries), overhead)
                done[key] = {"recall": judge.recall(hits, k), "us_p50": net.p50, "us_p99": net.p99, "us_mean": net.mean,
                             "overhead_us": overhead, "queries": net.queries}
            rows.append({"k": k, "target": row["target"], "overhead": overhead_kind, **done[key]})
    return {"rows": rows}


def run(request: Mapping[str, Any]) -> Dict[str, Any]:
    folder = Path(request["folder"])
    try:
        engine = engine_of(request["specification"], folder)
        if request["action"] == "build":
            return build(engine, request)
        judge = Judge(Path(request["items"]), Path(request["half"]))
        engine.load(*judge.items.shape)
        return {"calibrate": calibrate, "measure": measure}[request["action"]](engine, judge, request)
    except Unavailable as error:
        return {"unavailable": str(error)}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(run(REQUEST)))
    sys.stdout.flush()
    # Some libraries' threads crash in their destructors; the result stands.
    os._exit(0)
