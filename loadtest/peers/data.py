#!/usr/bin/env python3
"""Data sets for the search benchmark: items, queries and the exact truth, from a seed.

    data.py manifold  --items 1000000 --dimension 64
    data.py isotropic --items 1000000 --dimension 64
    data.py tower     --snapshot ../../models/demo

Each writes DIR/NAME-ITEMSxDIMENSION/{items.fbin,queries.fbin,truth.ibin,about.json}. Rows are drawn, written and searched in
chunks, so that only the page cache grows with the number of items.

* `manifold`: z is normal in 16 dimensions, a smooth random map brings it to the dimension, noise is added, the norm is 1.
  Queries are drawn alike from other numbers. This is what item vectors of trained models are like.
* `isotropic`: normal vectors, norm 1. Nothing is near to anything; the hard case.
* `tower`: item vectors of a trained snapshot, and queries that its user tower computes (`tower.py`), which are distributed
  otherwise than the items.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, Iterator

import numpy

from recall import score_rows
from vector_files import VectorWriter, read_vectors, write_rows

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
DATA = REPOSITORY / ".build/bench/data"

MANIFOLD_DIMENSION = 16
MANIFOLD_HIDDEN = 64
# The deviation of the noise beside a signal of about norm 1. README.md has what it was calibrated against.
MANIFOLD_NOISE = 0.2
TRUTH_WIDTH = 2000
# Exact search sums in another order than the judge of recall; so many more rows are taken and scored again.
TRUTH_SPARE = 32
DRAW_ROWS = 100_000
SEARCH_ROWS = 250_000
# The streams of one seed.
MAP, ITEMS, QUERIES = 0, 1, 2


def generator(seed: int, stream: int, chunk: int = 0) -> numpy.random.Generator:
    return numpy.random.default_rng([seed, stream, chunk])


def unit(rows: numpy.ndarray) -> numpy.ndarray:
    return rows / numpy.linalg.norm(rows, axis=1, keepdims=True)


class Manifold:
    """x = f(z) + noise, f(z) = W2 tanh(W1 z + b), z normal in 16 dimensions; then norm 1."""

    def __init__(self, dimension: int, seed: int, noise: float = MANIFOLD_NOISE):
        random = generator(seed, MAP)
        self.inner = random.normal(size=(MANIFOLD_DIMENSION, MANIFOLD_HIDDEN)) / numpy.sqrt(MANIFOLD_DIMENSION)
        self.offset = random.normal(size=MANIFOLD_HIDDEN) * 0.5
        self.outer = random.normal(size=(MANIFOLD_HIDDEN, dimension))
        # So that f(z) has a norm of about 1 whatever the dimension.
        probe = self.map(random.normal(size=(4096, MANIFOLD_DIMENSION)))
        self.outer /= numpy.sqrt((probe ** 2).sum(axis=1).mean())
        self.noise = noise / numpy.sqrt(dimension)
        self.dimension = dimension

    def map(self, latent: numpy.ndarray) -> numpy.ndarray:
        return numpy.tanh(latent @ self.inner + self.offset) @ self.outer

    def draw(self, count: int, random: numpy.random.Generator) -> numpy.ndarray:
        rows = self.map(random.normal(size=(count, MANIFOLD_DIMENSION)))
        return unit(rows + self.noise * random.normal(size=rows.shape)).astype(numpy.float32)


class Isotropic:
    def __init__(self, dimension: int):
        self.dimension = dimension

    def draw(self, count: int, random: numpy.random.Generator) -> numpy.ndarray:
        return unit(random.normal(size=(count, self.dimension))).astype(numpy.float32)


def write_drawn(path: Path, source: Manifold | Isotropic, count: int, seed: int, stream: int) -> None:
    """Chunks have seeds of their own: the first rows are the same whatever the count, up to the last chunk's end."""
    with VectorWriter(path, count, source.dimension) as writer:
        for chunk, start in enumerate(range(0, count, DRAW_ROWS)):
            rows = source.draw(min(DRAW_ROWS, count - start), generator(seed, stream, chunk))
            writer.append(rows)
            show(f"{path.name}: {start + len(rows):,} of {count:,}")


def chunks_of(items: numpy.ndarray) -> Iterator[tuple[int, numpy.ndarray]]:
    for start in range(0, len(items), SEARCH_ROWS):
        yield start, numpy.ascontiguousarray(items[start:start + SEARCH_ROWS])


def exact_truth(items: numpy.ndarray, queries: numpy.ndarray, width: int, threads: int) -> numpy.ndarray:
    """int32 (query, width), best first, of equal scores the lower row; by faiss's flat search in chunks."""
    import faiss

    faiss.omp_set_num_threads(threads)
    kept = min(width + TRUTH_SPARE, len(items))
    rows = numpy.zeros((len(queries), 0), dtype=numpy.int64)
    scores = numpy.zeros((len(queries), 0), dtype=numpy.float32)
    for start, chunk in chunks_of(items):
        index = faiss.IndexFlatIP(items.shape[1])
        index.add(chunk)
        found_scores, found = index.search(queries, min(kept, len(chunk)))
        rows = numpy.concatenate([rows, found + start], axis=1)
        scores = numpy.concatenate([scores, found_scores], axis=1)
        order = numpy.argsort(-scores, axis=1, kind="stable")[:, :kept]
        rows, scores = numpy.take_along_axis(rows, order, 1), numpy.take_along_axis(scores, order, 1)
        show(f"truth: {start + len(chunk):,} of {len(items):,} items")
    return best_rows(items, queries, rows, width)


def best_rows(items: numpy.ndarray, queries: numpy.ndarray, candidates: numpy.ndarray, width: int) -> numpy.ndarray:
    """The best of the candidates by the scores that recall is judged by."""
    result = numpy.empty((len(queries), width), dtype=numpy.int32)
    for place, (query, rows) in enumerate(zip(queries, candidates)):
        rows = numpy.sort(rows)
        order = numpy.argsort(-score_rows(items, query, rows), kind="stable")[:width]
        result[place] = rows[order]
    return result


def show(text: str) -> None:
    print(f"\r{text}\033[K", end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)


def make(folder: Path, write: Callable[[Path], Dict], width: int, threads: int, again: bool) -> None:
    """Fills a folder; about.json is written last, and where it stands nothing is done."""
    about = folder / "about.json"
    if about.exists() and not again:
        print(f"{folder}: stands already (--again makes it anew)")
        return
    folder.mkdir(parents=True, exist_ok=True)
    about.unlink(missing_ok=True)
    started = time.monotonic()
    description = write(folder)
    items, queries = read_vectors(folder / "items.fbin"), numpy.array(read_vectors(folder / "queries.fbin"))
    width = min(width, len(items))
    write_rows(folder / "truth.ibin", exact_truth(items, queries, width, threads))
    description.update(items=len(items), dimension=items.shape[1], queries=len(queries), truth_width=width, metric="ip")
    about.write_text(json.dumps(description, indent=2) + "\n")
    show("")
    print(f"{folder}: {len(items):,} items of {items.shape[1]}, {len(queries):,} queries, "
          f"{time.monotonic() - started:.0f} s")


def make_drawn(options: argparse.Namespace) -> None:
    def write(folder: Path) -> Dict:
        description = {"data": options.data, "seed": options.seed}
        if options.data == "manifold":
            source: Manifold | Isotropic = Manifold(options.dimension, options.seed, options.noise)
            description.update(noise=options.noise, manifold_dimension=MANIFOLD_DIMENSION)
        else:
            source = Isotropic(options.dimension)
        write_drawn(folder / "items.fbin", source, options.items, options.seed, ITEMS)
        write_drawn(folder / "queries.fbin", source, options.queries, options.seed, QUERIES)
        return description

    name = options.name or f"{options.data}-{options.items}x{options.dimension}"
    make(options.out / name, write, options.width, options.threads, options.again)


def make_tower(options: argparse.Namespace) -> None:
    """`tower.py` runs in the trainer's environment, which has PyTorch; this one has not."""
    def write(folder: Path) -> Dict:
        command = [str(options.models_python), str(HERE / "tower.py"), "--out", str(folder), "--queries", str(options.queries),
                   "--seed", str(options.seed)]
        if options.train_items:
            command += ["--train-items", str(options.train_items), "--train-dimension", str(options.dimension)]
        else:
            command += ["--snapshot", str(options.snapshot.resolve())]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "models")}
        subprocess.run(command, check=True, env=environment)
        return {"data": "tower", "seed": options.seed, **json.loads((folder / "tower.json").read_text())}

    name = options.name or (f"tower-trained-{options.train_items}x{options.dimension}" if options.train_items
                            else f"tower-{options.snapshot.resolve().name}")
    make(options.out / name, write, options.width, options.threads, options.again)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", choices=("manifold", "isotropic", "tower"))
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--noise", type=float, default=MANIFOLD_NOISE, help="of the manifold (%(default)s)")
    parser.add_argument("--width", type=int, default=TRUTH_WIDTH, help="of the truth (%(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--snapshot", type=Path, default=REPOSITORY / "models/demo", help="of the tower data")
    parser.add_argument("--train-items", type=int, help="train a model over so many items first, instead of --snapshot")
    parser.add_argument("--models-python", type=Path, default=REPOSITORY / ".venv/bin/python",
                        help="the trainer's Python (%(default)s)")
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument("--name", help="the data set's folder; by default from data, items and dimension")
    parser.add_argument("--again", action="store_true", help="make it anew although it stands")
    return parser.parse_args()


if __name__ == "__main__":
    parsed = parse()
    (make_tower if parsed.data == "tower" else make_drawn)(parsed)
