#!/usr/bin/env python3
"""How much of a graph's recall is luck: each library's graph, built several times from shuffled items.

    seeds.py --data .build/bench/data/tower-trained-200000x64 --seeds 4

Graphs of 24 links (efConstruction 120) by hnswlib, faiss-cpu and `belfry index build`; the last is read and searched by
faiss-cpu, so that the graphs are compared and not the searches. All recalls are of the same queries. Prints a Markdown table, and over how
many different items the recall is taken.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import faiss
import hnswlib
import numpy

from recall import share_found, worst_scores
from vector_files import read_rows, read_vectors, write_vectors

REPOSITORY = Path(__file__).resolve().parent.parent.parent
LINKS, EF_CONSTRUCTION = 24, 120
# Rows of the items as they were shuffled, (queries, k), at one ef.
Search = Callable[[int], numpy.ndarray]


def by_hnswlib(items: numpy.ndarray, k: int, queries: numpy.ndarray, seed: int) -> Search:
    index = hnswlib.Index(space="ip", dim=items.shape[1])
    index.init_index(len(items), M=LINKS, ef_construction=EF_CONSTRUCTION, random_seed=seed)
    index.set_num_threads(2)
    index.add_items(items, numpy.arange(len(items)))

    def search(ef: int) -> numpy.ndarray:
        index.set_ef(ef)
        return index.knn_query(queries, k=k)[0].astype(numpy.int64)
    return search


def in_faiss(index: faiss.Index, k: int, queries: numpy.ndarray) -> Search:
    def search(ef: int) -> numpy.ndarray:
        index.hnsw.efSearch = ef
        return index.search(queries, k)[1]
    return search


def by_faiss(items: numpy.ndarray, k: int, queries: numpy.ndarray, seed: int) -> Search:
    index = faiss.IndexHNSWFlat(items.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    index.add(items)
    return in_faiss(index, k, queries)


def by_belfry(program: Path) -> Callable[[numpy.ndarray, int, numpy.ndarray, int], Search]:
    def build(items: numpy.ndarray, k: int, queries: numpy.ndarray, seed: int) -> Search:
        with tempfile.TemporaryDirectory() as folder:
            write_vectors(Path(folder) / "items.fbin", items)
            subprocess.run([str(program), "index", "build", "--items", f"{folder}/items.fbin", "--factory", f"HNSW{LINKS}",
                            "--ef-construction", str(EF_CONSTRUCTION), "--threads", "2", "--out", f"{folder}/index.faiss"],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return in_faiss(faiss.read_index(f"{folder}/index.faiss"), k, queries)
    return build


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of data.py")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--ef", type=int, nargs="+", default=[10, 15, 24, 60])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--belfry", type=Path, default=REPOSITORY / ".build/release/belfry")
    options = parser.parse_args()

    faiss.omp_set_num_threads(2)
    items = numpy.array(read_vectors(options.data / "items.fbin"))
    queries = numpy.array(read_vectors(options.data / "queries.fbin"))[:options.queries]
    truth = numpy.array(read_rows(options.data / "truth.ibin"))[:options.queries]
    worst = worst_scores(items, queries, truth, options.k)
    builders = {"hnswlib": by_hnswlib, "faiss-cpu": by_faiss, "belfry": by_belfry(options.belfry)}
    recalls: Dict[Tuple[str, int], List[float]] = {(name, ef): [] for name in builders for ef in options.ef}
    for seed in range(1, options.seeds + 1):
        order = numpy.random.default_rng(seed).permutation(len(items))
        for name, build in builders.items():
            search = build(numpy.ascontiguousarray(items[order]), options.k, queries, seed)
            for ef in options.ef:
                found = order[search(ef)]
                recalls[name, ef].append(statistics.mean(
                    share_found(items, query, rows, least, options.k)
                    for query, rows, least in zip(queries, found, worst)))
            print(f"{time.strftime('%H:%M:%S')} seed {seed}: {name}", file=sys.stderr, flush=True)

    distinct = len(numpy.unique(truth[:, :options.k]))
    print(f"{len(queries)} queries have {distinct} different items among their {options.k} best; recall over {options.seeds} "
          "builds, mean (least to greatest)\n")
    print("| graph | " + " | ".join(f"ef {ef}" for ef in options.ef) + " |")
    print("|---|" + "--:|" * len(options.ef))
    for name in builders:
        cells = [recalls[name, ef] for ef in options.ef]
        print(f"| {name} | " + " | ".join(f"{statistics.mean(cell):.4f} ({min(cell):.4f} to {max(cell):.4f})" for cell in cells)
              + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
