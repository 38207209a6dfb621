"""`train`: one model on one log. What it scores on the test slice is printed; RUN holds the model after the whole log."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Callable, Optional

import torch
from tqdm import tqdm

from .data import NAMES, read_log
from .metrics import auc, log_loss, normalised_entropy, recall_at
from .run import write_run
from .settings import MODELS, OBJECTIVES, settings_for
from .stream import Predictions, Stream
from .trained import assemble_run, name_space, versions

# The two switches at test time, by the names that tables use: (tower weights, caches).
SWITCHES = {"FF": ("frozen", "frozen"), "FS": ("frozen", "streaming"), "SF": ("streaming", "frozen"),
            "SS": ("streaming", "streaming")}


def add_data_arguments(parser: argparse.ArgumentParser, names=NAMES) -> None:
    parser.add_argument("--data", required=True, choices=names)
    parser.add_argument("--directory", help="where the data set's files stand; default: $BELFRY_DATA/DATA or models/.data")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument("--objective", choices=OBJECTIVES, default="logistic")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data-seed", type=int, help="draws the synthetic log")
    parser.add_argument("--passes", type=int, help="over the training rows; caches are reset for each")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN")


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    log = read_log(arguments.data, arguments.directory, arguments.data_seed)
    print(f"{log.description}; {len(log)} events, {log.users.height} users, {log.items.height} items")
    changes = {} if arguments.passes is None else {"passes": arguments.passes}
    settings = settings_for(arguments.data, arguments.objective, **changes)
    space_id = name_space(arguments.data, arguments.model, settings, arguments.seed, arguments.data_seed)
    stream = Stream(log, arguments.model, settings, arguments.seed, space_id)
    split = log.split()

    started = time.perf_counter()
    stream.learn(split.fit, progress=show_progress("train"))
    print(f"trained in {time.perf_counter() - started:.1f} s")
    frozen = stream.copy().predict(split.test, *SWITCHES["FS"], ranks=arguments.objective == "retrieval",
                                   progress=show_progress("test, weights frozen"))
    streaming = stream.predict(split.test, *SWITCHES["SS"], ranks=arguments.objective == "retrieval",
                               progress=show_progress("test, weights streaming"))
    metrics = {}
    for switch, predictions in (("FS", frozen), ("SS", streaming)):
        metrics[switch] = measure(predictions, arguments.objective)
        weights, caches = SWITCHES[switch]
        figures = ", ".join(f"{name} {value:.4f}" for name, value in metrics[switch].items())
        print(f"test, weights {weights}, caches {caches}: {figures}")

    training = {"command": f"python -m belfry_models train --data {arguments.data} --model {arguments.model} "
                           f"--objective {arguments.objective} --seed {arguments.seed}",
                "data": log.description, "model": arguments.model, "seed": arguments.seed,
                "data_seed": arguments.data_seed, "settings": asdict(settings), "metrics": metrics,
                "seen": "the whole log, in time order", "versions": versions()}
    write_run(arguments.out, assemble_run(stream, training, streaming))
    print(f"{arguments.out}: the model after the whole log, space {space_id}")


def measure(predictions: Predictions, objective: str) -> dict[str, float]:
    """What an objective is judged by: probabilities of exposures, or the places of positives among all items."""
    if objective == "retrieval":
        return {"recall@50": recall_at(predictions.ranks, 50), "recall@100": recall_at(predictions.ranks, 100)}
    labels, probabilities = predictions.labels, predictions.probabilities
    return {"auc": auc(labels, predictions.logits), "log_loss": log_loss(labels, probabilities),
            "normalised_entropy": normalised_entropy(labels, probabilities)}


def show_progress(what: str) -> Callable:
    """A progress bar over a pass's batches."""
    def bar(batches: Optional[range]):
        return tqdm(batches, desc=what, unit="batch", mininterval=0.5)
    return bar
