"""Items and user-tower queries of a trained model, as .fbin files. Run by `data.py tower` in the trainer's environment.

A query is the user embedding of a user whom the snapshot knows, drawn at random, with the features and the context of one
of its warm-up requests. With --train-items a model is trained first, on a log drawn from a seed.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy
import torch

from belfry_models.data.synthetic import Generator
from belfry_models.export import contents_of
from belfry_models.oracle import plain_ids
from belfry_models.settings import settings_for
from belfry_models.snapshot import SnapshotContents, read_snapshot
from belfry_models.stream import Stream
from belfry_models.train import show_progress
from belfry_models.trained import assemble_run, name_space
from vector_files import write_vectors

MODEL = "cs3"
# Exposures of an item, on average: enough that its embedding has left where it started.
EVENTS_PER_ITEM = 6


def draw_requests(contents: SnapshotContents, count: int, seed: int) -> List[Dict[str, Any]]:
    random = numpy.random.default_rng([seed, 3])
    users: Sequence[Any] = [] if contents.users is None else plain_ids(contents.users.ids)
    requests = []
    for _ in range(count):
        features, context = (contents.requests[place] for place in random.integers(len(contents.requests), size=2))
        request = copy.deepcopy(dict(features))
        request["context"] = copy.deepcopy(context.get("context", {}))
        if users:
            request["user"]["id"] = users[int(random.integers(len(users)))]
        requests.append(request)
    return requests


def train(items: int, dimension: int, seed: int) -> Tuple[SnapshotContents, Dict[str, Any]]:
    log = Generator(users=max(1000, items // 10), items=items, events=items * EVENTS_PER_ITEM, seed=seed).generate()
    print(log.description)
    settings = settings_for("synthetic", "retrieval", dimension=dimension, batch=1024, sampled_negatives=256, hidden=(64,))
    stream = Stream(log, MODEL, settings, seed, name_space("bench", MODEL, settings, seed, seed))
    started = time.monotonic()
    stream.learn(range_of(log), progress=show_progress("train"))
    print(f"trained in {time.monotonic() - started:.0f} s")
    return contents_of(assemble_run(stream, {}), "float16", 64), {"log": log.description, "model": MODEL}


def range_of(log: Any) -> Any:
    return log.split().fit


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--snapshot", type=Path)
    parser.add_argument("--train-items", type=int)
    parser.add_argument("--train-dimension", type=int, default=64)
    parser.add_argument("--queries", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.train_items:
        contents, about = train(options.train_items, options.train_dimension, options.seed)
    else:
        contents, about = read_snapshot(options.snapshot), {"snapshot": options.snapshot.name}
    queries = contents.oracle().embed_all(draw_requests(contents, options.queries, options.seed))
    write_vectors(options.out / "items.fbin", contents.vectors)
    write_vectors(options.out / "queries.fbin", queries)
    (options.out / "tower.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
