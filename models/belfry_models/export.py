"""`python -m belfry_models export RUN --out SNAPSHOT`: the snapshot of a training run."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy
import torch

from .encoding import EncodedFeatures
from .golden import MINIMUM_COUNT
from .item_index import IndexPlan
from .run import Run, read_run
from .snapshot import SnapshotContents, write_snapshot
from .towers import Tower

CHUNK_ITEMS = 8192  # items encoded at a time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_directory", metavar="RUN", type=Path, help="the directory that `train` wrote")
    add_snapshot_arguments(parser)


def add_snapshot_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of every command that writes a snapshot."""
    parser.add_argument("--out", required=True, type=Path, metavar="SNAPSHOT", help="the snapshot; its last part is the id")
    parser.add_argument("--factory", default="HNSW24,Flat", help="Flat, HNSWm,Flat, HNSWm,None or IVFn,Flat (%(default)s)")
    parser.add_argument("--ef-construction", type=int, default=120, metavar="N", help="of graphs (%(default)s)")
    parser.add_argument("--effort", type=int, metavar="N",
                        help="default ef or nprobe; by default the smallest that reaches the recall")
    parser.add_argument("--recall-floor", type=float, default=0.95, metavar="R", help="recall to hold (%(default)s)")
    parser.add_argument("--users-dtype", choices=("float32", "float16"), default="float32",
                        help="precision of the users' cached vectors (%(default)s)")
    parser.add_argument("--golden", type=int, default=MINIMUM_COUNT, metavar="N",
                        help=f"golden requests, at least {MINIMUM_COUNT} (%(default)s)")


def plan_of(arguments: argparse.Namespace) -> IndexPlan:
    return IndexPlan(arguments.factory, arguments.ef_construction, arguments.recall_floor, arguments.effort)


def run(arguments: argparse.Namespace) -> None:
    # One thread: sums of floats in one order, hence the same bytes.
    torch.set_num_threads(1)
    contents = contents_of(read_run(arguments.run_directory), arguments.users_dtype, arguments.golden)
    report(arguments.out, write_snapshot(arguments.out, contents, plan_of(arguments)))


def report(out: Path, manifest: dict) -> None:
    index = manifest["index"]
    print(f"{out}: {manifest['items']['count']} items, index {index['factory']} {index['search']}, recall "
          f"{manifest['training']['measured_recall']:.4f}")


def contents_of(source: Run, users_dtype: str, golden_count: int) -> SnapshotContents:
    model = source.model
    tower = Tower(model.item_tower, model.item_features, model.normalisation.item)
    tower.import_tensors(source.item_tensors)
    vectors = encode_items(tower, source.encode_items(), source.items.cross, source.items.cascade)
    users = source.users.read_by(model) if source.users is not None else None
    users = users.rounded(users_dtype) if users is not None else None
    return SnapshotContents(model, source.user_tensors, source.item_tensors, source.items, vectors, source.requests,
                            source.newest_event, source.user_vocabularies, source.item_vocabularies, users,
                            source.training, golden_count)


def encode_items(tower: Tower, features: EncodedFeatures, cross: numpy.ndarray, cascade: numpy.ndarray) -> numpy.ndarray:
    """The item tower over all items: float32 (item, dimension)."""
    tower.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, features.count, CHUNK_ITEMS):
            stop = min(start + CHUNK_ITEMS, features.count)
            cached = [None if array is None else torch.from_numpy(numpy.asarray(array[start:stop], dtype=numpy.float32))
                      for array in (cross, cascade)]
            parts.append(tower(features.slice(start, stop), cached[0], cached[1]).cpu().numpy())
    return numpy.concatenate(parts)
