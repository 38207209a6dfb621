"""`tune`: how the settings of `settings.CHOSEN` were found. Validation slice and tuning seeds only, never the test slice.

The plain two towers come first, since the learning rate of their embeddings moves AUC more than any module does: each
grid's best by the figure of merit is kept for the next grid. What a later grid asks of another model it changes for the
parts of that model alone, so every model of a table shares the settings that suited the baseline.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .ablation import RESULTS
from .data import NAMES, Log, read_log
from .seeds import TUNING_DATA_SEED, TUNING_MODEL_SEEDS
from .settings import OBJECTIVES, Settings
from .stream import Stream
from .train import SWITCHES, add_data_arguments, measure


@dataclass(frozen=True)
class Grid:
    model: str
    values: dict[str, tuple]


# The switches and the figure that decide, and the grids in their order.
GRIDS = {
    "synthetic, logistic": ("FS", "auc", (
        Grid("dssm", {"hidden": ((128, 64), (32,), ())}),
        Grid("dssm", {"embedding_rate": (0.03, 0.1)}),
        Grid("dssm+cts", {"hidden": ((128, 64), (32,), ())}))),
    "logistic": ("FS", "auc", (
        Grid("dssm", {"embedding_rate": (0.01, 0.03, 0.1)}),
        Grid("dssm", {"embedding_deviation": (0.01, 0.05)}),
        Grid("dssm", {"batch": (32, 64)}),
        Grid("cs3", {"item_alpha": (0.8, 0.98)}))),
    "retrieval": ("SS", "recall@50", (
        Grid("dssm", {"sampled_negatives": (0, 64, 256)}),
        Grid("dssm", {"embedding_rate": (0.03, 0.1)}),
        Grid("dssm", {"passes": (1, 2)}),
        Grid("dssm+cts", {"item_alpha": (0.8, 0.98)}))),
}
# The first grid starts from here; smaller initial embeddings suit ids that no event has trained yet.
START = {"synthetic, logistic": {"embedding_deviation": 0.1, "embedding_rate": 0.1, "dimension": 16, "base_rate_bias": True},
         "logistic": {"embedding_deviation": 0.01},
         "retrieval": {"embedding_deviation": 0.01, "embedding_rate": 0.03}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    parser.add_argument("--objective", choices=OBJECTIVES, default="logistic")
    parser.add_argument("--seeds", type=int, default=len(TUNING_MODEL_SEEDS), help="the first so many tuning seeds")
    parser.add_argument("--out", type=Path, default=RESULTS / "tuning")


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    log = read_log(arguments.data, arguments.directory, TUNING_DATA_SEED if arguments.data == "synthetic" else None)
    special = f"{arguments.data}, {arguments.objective}"
    name = special if special in GRIDS else arguments.objective
    deciding, figure, grids = GRIDS[name]
    seeds = TUNING_MODEL_SEEDS[:arguments.seeds]
    lines = [f"# Tuning on {arguments.data}, {arguments.objective}", "",
             f"    python -m belfry_models tune --data {arguments.data} --objective {arguments.objective} "
             f"--seeds {arguments.seeds}", "",
             f"{log.description}. Trained on the first 70 % of the rows, scored on the 10 % after them; tuning seeds "
             f"{', '.join(map(str, seeds))}. {figure} under {deciding} decides, and a grid's best is kept for the next.", ""]
    chosen = dict(START[name])
    for grid in grids:
        lines += [f"## {grid.model}, with {json.dumps(chosen)}", "",
                  "| " + " | ".join(grid.values) + f" | {figure}, FS | {figure}, SS |", "|---" * (len(grid.values) + 2) + "|"]
        results = []
        for values in tqdm(list(itertools.product(*grid.values.values())), desc=grid.model, unit="setting"):
            changes = dict(zip(grid.values, values))
            settings = Settings(**{"objective": arguments.objective, **chosen, **changes})
            figures = validation_figures(log, grid.model, settings, seeds, figure)
            results.append((figures[deciding].mean(), changes))
            cells = [f"{figures[switch].mean():.4f} ± {figures[switch].std(ddof=1) if len(seeds) > 1 else 0.0:.4f}"
                     for switch in ("FS", "SS")]
            lines.append("| " + " | ".join(str(value) for value in values) + " | " + " | ".join(cells) + " |")
            write(arguments, lines)
        chosen.update(max(results, key=lambda each: each[0])[1])
        lines.append("")
    lines += [f"Chosen: `{json.dumps(chosen)}`"]
    write(arguments, lines)
    print("\n".join(lines))


def validation_figures(log: Log, model: str, settings: Settings, seeds, figure: str) -> dict[str, np.ndarray]:
    """One figure for each seed and pair of switches, on the validation slice."""
    split = log.split()
    figures: dict[str, list] = {"FS": [], "SS": []}
    for seed in seeds:
        stream = Stream(log, model, settings, seed)
        stream.learn(split.train)
        for switch, values in figures.items():
            predictions = stream.copy().predict(split.validation, *SWITCHES[switch],
                                                ranks=settings.objective == "retrieval")
            values.append(measure(predictions, settings.objective)[figure])
    return {switch: np.array(values) for switch, values in figures.items()}


def write(arguments: argparse.Namespace, lines: list[str]) -> None:
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{arguments.data}-{arguments.objective}.md").write_text("\n".join(lines) + "\n")
