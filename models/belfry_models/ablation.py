"""`ablation`: every model on one data set, over seeds, as a table in Markdown and JSON.

On MovieLens a seed draws the initial weights; on the synthetic log it draws the log as well. AUC, log loss and
normalised entropy are those of the logistic objective, Recall@K that of the retrieval objective; each is a training of
its own. Both switches of the protocol stand with every figure.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Iterator, Optional

import numpy as np
import torch
from tqdm import tqdm

from .data import NAMES, Log, read_log
from .errors import InvalidInput
from .metrics import auc, recall_at, welch_test
from .seeds import DATA_SEEDS, MODEL_SEEDS
from .settings import MODELS, OBJECTIVES, parts_of, settings_for
from .stream import Stream
from .train import SWITCHES, add_data_arguments, measure
from .trained import versions

RESULTS = Path(__file__).resolve().parent.parent / "results"
COLUMNS = ("auc", "log_loss", "normalised_entropy", "recall@50", "recall@100")
HEADINGS = {"auc": "AUC", "log_loss": "LogLoss", "normalised_entropy": "NE", "recall@50": "Recall@50",
            "recall@100": "Recall@100"}
STATEMENTS = {"FS": "tower weights frozen, caches streaming (updated strictly after scoring)",
              "SS": "tower weights and caches streaming (updated strictly after scoring)",
              "FF": "tower weights and caches frozen",
              "SF": "tower weights streaming (updated strictly after scoring), caches frozen"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    parser.add_argument("--seeds", type=int, default=5, help="the first so many of the committed seeds")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=list(OBJECTIVES))
    parser.add_argument("--switches", nargs="+", choices=SWITCHES, default=["FS", "SS", "FF"],
                        help="F frozen, S streaming; the first letter is for tower weights, the second for caches")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, each a process of one thread")
    parser.add_argument("--resume", action="store_true",
                        help="keep the figures that --out holds already, if settings and versions are the same")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder for the table; default: models/results")


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    synthetic = arguments.data == "synthetic"
    available = DATA_SEEDS if synthetic else MODEL_SEEDS
    if not 1 <= arguments.seeds <= len(available):
        raise InvalidInput(f"--seeds is from 1 to {len(available)}: seeds.py holds no more")
    document = {
        "command": f"python -m belfry_models ablation --data {arguments.data} --seeds {arguments.seeds} "
                   f"--switches {' '.join(arguments.switches)}",
        "data": [], "model_seeds": MODEL_SEEDS[:arguments.seeds],
        "data_seeds": DATA_SEEDS[:arguments.seeds] if synthetic else None,
        "settings": {objective: asdict(settings_for(arguments.data, objective)) for objective in arguments.objectives},
        "versions": versions(), "rows": []}
    rows = document["rows"]
    if arguments.resume:
        rows += kept_rows(arguments, document)
    done = {(row["seed"], row["model"], row["objective"]) for row in rows}
    trainings = [(seed, model, objective) for seed in range(arguments.seeds) for model in arguments.models
                 for objective in arguments.objectives]
    for data_seed in document["data_seeds"] or [None]:
        document["data"].append(read_log(arguments.data, arguments.directory, data_seed).description)
    jobs = [("reference", "", index) for index in range(arguments.seeds)]
    jobs += [(objective, model, index) for index, model, objective in trainings]
    jobs = [job for job in jobs if (MODEL_SEEDS[job[2]], job[1] or "popularity", job[0]) not in done]
    calls = [(arguments.data, arguments.directory, objective, model, MODEL_SEEDS[index],
              DATA_SEEDS[index] if synthetic else None, arguments.switches) for objective, model, index in jobs]
    for finished in tqdm(run_jobs(calls, arguments.jobs), total=len(calls), unit="training"):
        rows += finished
        # Whichever ends first: the tables pair figures by seed.
        rows.sort(key=lambda row: (row["seed"], row["objective"], row["model"], row["switches"]))
        # Hours of figures should not depend on the last one.
        write(document, arguments)
    print(render(document, arguments))


def kept_rows(arguments: argparse.Namespace, document: dict) -> list[dict]:
    """The figures of an earlier call, of the objectives whose settings have not changed since."""
    path = arguments.out / f"ablation-{arguments.data}.json"
    if not path.is_file():
        return []
    earlier = json.loads(path.read_text())
    if earlier["versions"] != document["versions"]:
        raise InvalidInput(f"{path}: its figures come from other versions of the packages; leave --resume out")
    settings = json.loads(json.dumps(document["settings"]))
    same = {objective for objective in settings if earlier["settings"].get(objective) == settings[objective]}
    seeds = set(document["model_seeds"])
    return [row for row in earlier["rows"] if row["objective"] in same | {"reference"} and row["seed"] in seeds
            and row["switches"] in arguments.switches]


def write(document: dict, arguments: argparse.Namespace) -> None:
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"ablation-{arguments.data}.json").write_text(json.dumps(document, indent=1) + "\n")
    (arguments.out / f"ablation-{arguments.data}.md").write_text(render(document, arguments))


def run_jobs(calls: list[tuple], processes: int) -> Iterator[list[dict]]:
    """The figures of each call to `run_job`, in the order in which they come."""
    if processes == 1:
        yield from (run_job(*call) for call in calls)
        return
    # Spawned, not forked: the libraries hold threads of their own.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for finished in as_completed([pool.submit(run_job, *call) for call in calls]):
            yield finished.result()


def run_job(data: str, directory: Optional[str], objective: str, model: str, seed: int, data_seed: Optional[int],
            switches: list[str]) -> list[dict]:
    """One training, or the reference figures of one seed."""
    torch.set_num_threads(1)
    log = read_log(data, directory, data_seed)
    if objective == "reference":
        return reference_rows(log, seed, data_seed, switches)
    return train_and_measure(log, data, model, objective, seed, data_seed, switches)


def train_and_measure(log: Log, data: str, model: str, objective: str, seed: int, data_seed: Optional[int],
                      switches: list[str]) -> list[dict]:
    """One training, scored on the test slice under each pair of switches from the same trained state."""
    split = log.split()
    stream = Stream(log, model, settings_for(data, objective), seed)
    started = time.process_time()
    stream.learn(split.fit)
    seconds = time.process_time() - started
    rows = []
    for switch in switches:
        predictions = stream.copy().predict(split.test, *SWITCHES[switch], ranks=objective == "retrieval")
        rows.append({"model": model, "objective": objective, "seed": seed, "data_seed": data_seed, "switches": switch,
                     "train_seconds": round(seconds, 2), **measure(predictions, objective)})
    return rows


def reference_rows(log: Log, seed: int, data_seed: Optional[int], switches: list[str]) -> list[dict]:
    """What no model is needed for: items by how many positives they had, and the truth where it is known."""
    split = log.split()
    rows = []
    if log.truth is not None:
        test = slice(split.test.start, split.test.stop)
        rows += [{"model": "truth", "objective": "reference", "seed": seed, "data_seed": data_seed, "switches": switch,
                  "train_seconds": 0.0, "auc": auc(log.label[test], log.truth[test])} for switch in switches]
    counts = np.bincount(log.item[:split.test.start], weights=log.label[:split.test.start], minlength=log.items.height)
    stream = Stream(log, "dssm", settings_for(log.name, "retrieval"), seed)
    for switch in switches:
        running, ranks = counts.copy(), []
        for row in split.test:
            if not log.label[row]:
                continue
            scores = running.copy()
            target = log.item[row]
            seen = stream.seen(int(log.user[row]), row)
            scores[seen[seen != target]] = -1.0
            ranks.append(int((scores >= scores[target]).sum()) - 1)
            if SWITCHES[switch][1] == "streaming":
                running[target] += 1.0
        rows.append({"model": "popularity", "objective": "reference", "seed": seed, "data_seed": data_seed,
                     "switches": switch, "train_seconds": 0.0, "recall@50": recall_at(np.array(ranks), 50),
                     "recall@100": recall_at(np.array(ranks), 100)})
    return rows


def values_of(rows: list[dict], model: str, switch: str, column: str) -> np.ndarray:
    """One figure over seeds, in the order of the seeds."""
    return np.array([row[column] for row in rows
                     if row["model"] == model and row["switches"] == switch and row.get(column) is not None])


def render(document: dict, arguments: argparse.Namespace) -> str:
    """The tables and tests as Markdown."""
    rows, models = document["rows"], arguments.models
    lines = [f"# Ablation on {arguments.data}", "", f"    {document['command']}", ""]
    lines += [f"* {description}." for description in document["data"]]
    lines += [f"* Model seeds {_list(document['model_seeds'])}"
              + (f", data seeds {_list(document['data_seeds'])}" if document["data_seeds"] else "")
              + "; mean ± standard deviation over seeds; training in seconds of one core (CPU time), by the logistic + the retrieval objective.",
              "* AUC, LogLoss and NE (normalised entropy) by the logistic objective, Recall@K by the retrieval objective "
              "among all items that the user had no positive with before.",
              "* " + ", ".join(f"{name} {version}" for name, version in document["versions"].items()) + ".", ""]
    for switch in arguments.switches:
        lines += [f"## {switch}: {STATEMENTS[switch]}", "",
                  "| model | " + " | ".join(HEADINGS[column] for column in COLUMNS) + " | training, s |",
                  "|---|" + "---|" * (len(COLUMNS) + 1)]
        for model in ["truth", "popularity", *models]:
            cells = [_cell(values_of(rows, model, switch, column)) for column in COLUMNS]
            if all(cell == "" for cell in cells):
                continue
            seconds = [values_of([row for row in rows if row["objective"] == objective], model, switch, "train_seconds")
                       for objective in arguments.objectives]
            times = " + ".join(f"{each.mean():.0f}" if len(each) else "–" for each in seconds)
            times = times if any(map(len, seconds)) else ""
            lines.append(f"| {model} | " + " | ".join(cells) + f" | {times} |")
        lines.append("")
    lines += ["## Differences to dssm, Welch's t test", "", "| switches | figure | model | difference | t | df | p |",
              "|---|---|---|---|---|---|---|"]
    for switch in arguments.switches:
        for column in ("auc", "recall@50"):
            base = values_of(rows, "dssm", switch, column)
            for model in models:
                values = values_of(rows, model, switch, column)
                if model == "dssm" or len(values) < 2 or len(base) < 2:
                    continue
                test = welch_test(values, base)
                lines.append(f"| {switch} | {HEADINGS[column]} | {model} | {test.difference:+.4f} | {test.statistic:.2f} | "
                             f"{test.degrees_of_freedom:.1f} | {test.p_value:.2g} |")
    if document["data_seeds"]:
        lines += ["", "## cs3 less dssm on each log, AUC", "", "| data seed | " + " | ".join(arguments.switches) + " |",
                  "|---|" + "---|" * len(arguments.switches)]
        gains = {}
        for switch in arguments.switches:
            ours, base = (values_of(rows, model, switch, "auc") for model in ("cs3", "dssm"))
            gains[switch] = ours - base[:len(ours)]
        for index, data_seed in enumerate(document["data_seeds"][:min(map(len, gains.values()))]):
            lines.append(f"| {data_seed} | " + " | ".join(f"{gains[each][index]:+.4f}" for each in gains) + " |")
        lines.append("| mean ± deviation | " + " | ".join(
            f"{values.mean():+.4f} ± {values.std(ddof=1):.4f}" if len(values) > 1 else "" for values in gains.values()) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: np.ndarray) -> str:
    if len(values) == 0:
        return ""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{values.mean():.4f} ± {values.std(ddof=1):.4f}"


def _list(values) -> str:
    return ", ".join(str(value) for value in values)
