"""`leakage`: does a label reach its own score? On permuted labels there is nothing to learn, so AUC must be 0.5; and
caches that are deliberately written before the batch is scored must show, or the first test could not fail.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .ablation import RESULTS
from .data import NAMES, Log, read_log
from .metrics import auc, auc_standard_error
from .seeds import DATA_SEEDS, MODEL_SEEDS, SHUFFLE_SEED
from .settings import MODELS, settings_for
from .stream import Stream
from .train import SWITCHES, add_data_arguments
from .trained import versions

CANARY_FLOOR = 0.55


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["dssm", "dssm+cts", "dssm+cms", "cs3",
                                                                         "dssm+rates", "dssm+history", "cs3+history"])
    parser.add_argument("--canaries", nargs="+", choices=MODELS, default=["dssm+cts", "cs3"])
    parser.add_argument("--out", type=Path, default=RESULTS)


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    data_seed = DATA_SEEDS[0] if arguments.data == "synthetic" else None
    log = read_log(arguments.data, arguments.directory, data_seed).with_shuffled_labels(SHUFFLE_SEED)
    test = log.split().test
    error = auc_standard_error(log.label[test.start:test.stop])
    cases = [(model, False) for model in arguments.models] + [(model, True) for model in arguments.canaries]
    lines = [f"# Leakage on {arguments.data}", "", f"    python -m belfry_models leakage --data {arguments.data}", "",
             f"Labels permuted over the whole log before the split (seed {SHUFFLE_SEED}), model seed {MODEL_SEEDS[0]}. "
             f"AUC on the test slice; one standard error of a score that knows nothing is {error:.4f}. FS: weights frozen, "
             "caches streaming; SS: both streaming. Honest caches are written after scoring and must give 0.5 within 3 "
             f"standard errors; the canary's are written before, and must give more than {CANARY_FLOOR}.", "",
             "| model | caches are written | FS | SS | as it must be |", "|---|---|---|---|---|"]
    for model, leak in tqdm(cases, unit="training"):
        figures = [shuffled_auc(log, arguments.data, model, leak, switch) for switch in ("FS", "SS")]
        passed = all(is_as_it_must_be(figure, error, leak) for figure in figures)
        lines.append(f"| {model} | {'before scoring: canary' if leak else 'after scoring'} | "
                     + " | ".join(f"{figure:.4f}" for figure in figures) + f" | {'yes' if passed else 'NO'} |")
    lines += ["", ", ".join(f"{name} {version}" for name, version in versions().items()) + "."]
    text = "\n".join(lines) + "\n"
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"leakage-{arguments.data}.md").write_text(text)


def shuffled_auc(log: Log, data: str, model: str, leak: bool, switch: str) -> float:
    """A training on labels that mean nothing, scored on its test slice."""
    split = log.split()
    stream = Stream(log, model, settings_for(data, "logistic"), MODEL_SEEDS[0], leak=leak)
    stream.learn(split.fit)
    predictions = stream.predict(split.test, *SWITCHES[switch])
    return auc(predictions.labels, predictions.logits)


def is_as_it_must_be(figure: float, error: float, leak: bool) -> bool:
    return bool(figure > CANARY_FLOOR if leak else np.abs(figure - 0.5) <= 3.0 * error)
