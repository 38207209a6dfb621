#!/usr/bin/env python3
"""Writes what the three servers answer from: a Belfry snapshot, the same for the hand-written stacks, and requests with the truth.

    .build/bench/stacks-venv/bin/python loadtest/stacks/snapshot.py --items 1000000 --out .build/bench/stacks/1000000

    OUT/snapshot/items-N/     the snapshot; index.faiss is HNSW24 built by faiss-cpu
    OUT/stack/                the same for the C++ stack in a plain binary form, and tower.onnx for the Python one
    OUT/requests/             calibration.jsonl and reported.jsonl, of different users, and truth.npz: for each the
                              embedding by PyTorch and the exact top 500

Prints the recall of FAISS's own search over the graph for some ef: the drawn data should need about 100 to 200 for 0.99.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import sys
import time
from typing import Any, Dict, List, Sequence

import faiss
import numpy
import torch

from drawing import CASCADE_DIMENSION, DIMENSION, Drawing, People, draw_items

from belfry_models import random_columns
from belfry_models.catalogue import Items, Users
from belfry_models.errors import InvalidInput
from belfry_models.item_index import IndexPlan
from belfry_models.schema import (BucketiseEncoding, DenseLayer, EmbeddingInput, Feature, HashEncoding, Log1p, ModelSpec,
                                  Normalisation, NumericEncoding, NumericInput, Tower as TowerDescription, VectorInput)
from belfry_models.snapshot import SnapshotContents, write_snapshot
from belfry_models.towers import Tower

NEWEST_EVENT = 1767225600  # a drawn model knows no events: 2026-01-01
TRUTH_K = 500
CANDIDATE_REQUESTS = 300  # for golden.jsonl and warmup.jsonl
QUERIES_AT_ONCE = 16  # (queries, items) float32 scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=100_000, help="with cached vectors (%(default)s)")
    parser.add_argument("--requests", type=int, default=20_000, help="of as many users, to be reported on (%(default)s)")
    parser.add_argument("--calibration", type=int, default=1000, help="requests of other users, to choose ef by (%(default)s)")
    parser.add_argument("--judged", type=int, default=1000, help="reported requests that have their exact top (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    if options.requests + options.calibration > options.users or options.judged > options.requests:
        parser.error("there must be at least as many users as requests of both kinds, and as requests as judged ones")
    if options.items < TRUTH_K:
        parser.error(f"at least {TRUTH_K} items")
    try:
        write_all(options)
    except (InvalidInput, OSError) as error:
        sys.exit(f"snapshot.py: {' '.join(str(error).split())}")


def write_all(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    if options.out.exists():
        raise InvalidInput(f"{options.out} exists already; remove it or choose another --out")
    draft = options.out.with_name(options.out.name + ".tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    item_ids = random_columns.draw_item_ids(options.items, "u64")
    note("the tower")
    drawing = Drawing(options.seed, item_ids)
    note(f"{options.items} items")
    vectors = draw_items(drawing, options.items, numpy.random.default_rng([options.seed, 2]))
    note(f"{options.users} users")
    people = drawing.draw_people(options.users, numpy.random.default_rng([options.seed, 3]))
    user_ids = [f"u{row}" for row in range(options.users)]
    users = Users(user_ids, people.cross, people.cascade)
    order = numpy.random.default_rng([options.seed, 4]).permutation(options.users)

    note("requests and their exact top")
    reported, calibration = order[:options.requests], order[options.requests:options.requests + options.calibration]
    write_requests(draft / "requests", drawing, people, user_ids, item_ids, vectors,
                   {"calibration": (calibration, options.calibration), "reported": (reported, options.judged)})
    note("snapshot, with its index")
    candidates = drawing.requests(take(people, order[-CANDIDATE_REQUESTS:]), [user_ids[row] for row in order[-CANDIDATE_REQUESTS:]])
    write_belfry_snapshot(draft / "snapshot" / f"items-{options.items}", drawing, item_ids, vectors, users, candidates, options)
    note("the stacks' files")
    write_stack(draft / "stack", drawing, item_ids, vectors, users)
    draft.rename(options.out)
    print_recall(options.out, options.items)


def note(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def take(people: People, rows: numpy.ndarray) -> People:
    return People(people.cross[rows], people.cascade[rows], {name: each[rows] for name, each in people.chosen.items()},
                  {name: each[rows] for name, each in people.counts.items()})


# Requests


def write_requests(folder: pathlib.Path, drawing: Drawing, people: People, user_ids: Sequence[str], item_ids: numpy.ndarray,
                   vectors: numpy.ndarray, parts: Dict[str, Any]) -> None:
    folder.mkdir()
    truth: Dict[str, numpy.ndarray] = {}
    for name, (rows, judged) in parts.items():
        asking = take(people, rows)
        bodies = drawing.requests(asking, [user_ids[row] for row in rows])
        with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as file:
            for body in bodies:
                file.write(json.dumps(body, separators=(",", ":")) + "\n")
        queries = drawing.embed(asking.slice(0, judged))
        truth[f"{name}.embeddings"] = queries
        truth[f"{name}.ids"] = item_ids[find_top(vectors, queries, TRUTH_K)]
    numpy.savez(folder / "truth.npz", **truth)


def find_top(vectors: numpy.ndarray, queries: numpy.ndarray, k: int) -> numpy.ndarray:
    """Rows of the k largest inner products, best first: chosen in float32 with some to spare, ordered in float64."""
    rows = numpy.empty((len(queries), k), dtype=numpy.int64)
    spare = min(len(vectors), k + 50)
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        part = queries[start:start + QUERIES_AT_ONCE]
        scores = part @ vectors.T
        for offset, query in enumerate(part):
            some = numpy.argpartition(-scores[offset], spare - 1)[:spare] if spare < len(vectors) else numpy.arange(spare)
            exact = vectors[some].astype(numpy.float64) @ query.astype(numpy.float64)
            rows[start + offset] = some[numpy.lexsort((some, -exact))[:k]]
    return rows


# Belfry's snapshot


def write_belfry_snapshot(out: pathlib.Path, drawing: Drawing, item_ids: numpy.ndarray, vectors: numpy.ndarray, users: Users,
                          candidates: List[Dict[str, Any]], options: argparse.Namespace) -> None:
    # A snapshot has an item tower, which the daemon does not run. Item vectors were drawn, so this one is a token.
    item_features = (Feature("item_id", "item_id", "id", HashEncoding(64, seed=9)),)
    item_description = TowerDescription("item_tower.safetensors", (EmbeddingInput("item_id", 8),),
                                        (DenseLayer("layers.0", 8, DIMENSION),))
    item_tower = Tower(item_description, item_features, "l2", seed=options.seed)
    model = ModelSpec(
        space_id=f"stacks-{options.seed}", dimension=DIMENSION,
        user_features=tuple(each.feature for each in drawing.columns), item_features=item_features,
        user_tower=drawing.tower.schema, item_tower=item_description, item_id_type="u64", user_id_type="string",
        normalisation=Normalisation("l2", "l2"), cascade_space_id=f"stacks-{options.seed}-ranker",
        cascade_dimension=CASCADE_DIMENSION)
    training = {"source": "loadtest/stacks/snapshot.py", "seed": options.seed}
    contents = SnapshotContents(model, drawing.tower.export_tensors(), item_tower.export_tensors(), Items(item_ids), vectors,
                                candidates, NEWEST_EVENT, users=users, training=training)
    write_snapshot(out, contents, IndexPlan("HNSW24,Flat"))


# The stacks' files


def write_stack(folder: pathlib.Path, drawing: Drawing, item_ids: numpy.ndarray, vectors: numpy.ndarray, users: Users) -> None:
    folder.mkdir()
    tensors = drawing.tower.export_tensors()
    lines = [f"sizes {len(item_ids)} {users.count} {DIMENSION} {CASCADE_DIMENSION}"]
    weights: List[numpy.ndarray] = []
    features = {each.feature.name: each.feature for each in drawing.columns}
    for each in drawing.tower.schema.inputs:
        lines.append(describe_input(each, features))
        if isinstance(each, EmbeddingInput):
            weights.append(tensors[f"inputs.{each.feature}.weight"])
    for layer in drawing.tower.schema.layers:
        lines.append(f"layer {layer.input_size} {layer.output_size} {layer.activation} {layer.cycles}")
        weights += [tensors[f"{layer.name}.{part}"] for part in ("weight", "bias", "gate.weight", "gate.bias")]
    (folder / "model.txt").write_text("\n".join(lines) + "\n")
    numpy.concatenate([each.ravel() for each in weights]).tofile(folder / "weights.f32")
    vectors.tofile(folder / "vectors.f32")
    item_ids.tofile(folder / "item_ids.u64")
    users.cross.tofile(folder / "cross.f32")
    users.cascade.tofile(folder / "cascade.f32")
    (folder / "user_ids.txt").write_text("\n".join(users.ids) + "\n")
    export_onnx(drawing.tower, folder / "tower.onnx")


def describe_input(each: Any, features: Dict[str, Feature]) -> str:
    """A line of model.txt, whose form cpp_stack.cpp explains."""
    if isinstance(each, VectorInput):
        return f"{each.vector} {each.dimension}"
    feature = features[each.feature]
    encoding = feature.encoding
    if isinstance(each, NumericInput):
        steps = ["log1p" if isinstance(step, Log1p) else f"standardise {step.mean!r} {step.deviation!r}"
                 for step in encoding.transforms]
        return " ".join(["numeric", feature.name, feature.source, str(len(steps)), *steps])
    head = f"embedding {feature.name} {feature.source} {each.dimension} {feature.maximum_values or 0}"
    if isinstance(encoding, BucketiseEncoding):
        return f"{head} bucketise {len(encoding.boundaries)} " + " ".join(str(each) for each in encoding.boundaries)
    return f"{head} hash {encoding.rows} {encoding.seed}"


class DenseTower(torch.nn.Module):
    """The layers alone: inputs (1, 256) that are already put together, embedding of length 1 out."""

    def __init__(self, tower: Tower):
        super().__init__()
        self.layers = tower.layers

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            values = layer(values)
        return torch.nn.functional.normalize(values, dim=1, eps=1e-12)


def export_onnx(tower: Tower, path: pathlib.Path) -> None:
    inputs = torch.zeros(1, tower.schema.input_size)
    torch.onnx.export(DenseTower(tower).eval(), inputs, str(path), input_names=["inputs"], output_names=["embedding"],
                      opset_version=15)


# What the generator is judged by


def print_recall(out: pathlib.Path, items: int) -> None:
    index = faiss.read_index(str(out / "snapshot" / f"items-{items}" / "index.faiss"))
    item_ids = numpy.fromfile(out / "stack" / "item_ids.u64", dtype=numpy.uint64)
    faiss.omp_set_num_threads(1)
    with numpy.load(out / "requests" / "truth.npz") as truth:
        queries, ids = truth["calibration.embeddings"], truth["calibration.ids"]
    for k in (100, TRUTH_K):
        for ef in (100, 150, 200, 300, 400, 800):
            if ef < k:
                continue
            _, rows = index.search(queries, k, params=faiss.SearchParametersHNSW(efSearch=ef))
            hits = sum(len(numpy.intersect1d(item_ids[found], top[:k])) for found, top in zip(rows, ids))
            print(f"FAISS, k {k}, ef {ef}: recall {hits / (k * len(queries)):.4f}")


if __name__ == "__main__":
    main()
