"""`demo`: the small snapshot that stands in the repository, made from the generator alone.

Everything in it is invented, so it may be given away. The same machine makes the same bytes again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch

from .data.synthetic import START, Generator
from .export import contents_of
from .item_index import IndexPlan
from .metrics import recall_at
from .settings import settings_for
from .snapshot import write_snapshot
from .stream import Stream
from .train import SWITCHES, measure, show_progress
from .trained import assemble_run, name_space, versions

GENERATOR = Generator(users=1500, items=3000, events=300_000, seed=2026)
SEED = 7
MODEL = "cs3"
BYTES_MAX = 4 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="SNAPSHOT", help="replaced if it is there")


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    log = GENERATOR.generate()
    print(log.description)
    # One layer more than the log needs: a demonstration should run what larger models have.
    settings = settings_for("synthetic", "retrieval", hidden=(64,))
    split = log.split()
    stream = Stream(log, MODEL, settings, SEED, name_space("demo", MODEL, settings, SEED, GENERATOR.seed))
    stream.learn(split.fit, progress=show_progress("train"))
    frozen = stream.copy().predict(split.test, *SWITCHES["FS"], ranks=True, progress=show_progress("test, frozen"))
    streaming = stream.predict(split.test, *SWITCHES["SS"], ranks=True, progress=show_progress("test, streaming"))
    metrics = {"FS": measure(frozen, "retrieval"), "SS": measure(streaming, "retrieval")}
    for switch, figures in metrics.items():
        print(switch, ", ".join(f"{name} {value:.4f}" for name, value in figures.items()),
              f"recall@500 {recall_at((frozen if switch == 'FS' else streaming).ranks, 500):.4f}")
    training = {"command": "python -m belfry_models demo", "data": log.description, "model": MODEL, "seed": SEED,
                "data_seed": GENERATOR.seed, "settings": asdict(settings), "metrics": metrics,
                "seen": "the whole log, in time order", "versions": versions()}
    # The seal's time of publication is the only clock in a snapshot.
    os.environ["SOURCE_DATE_EPOCH"] = str(START + round(GENERATOR.days) * 86_400)
    contents = contents_of(assemble_run(stream, training, streaming), "float16", 64)
    publish(arguments.out, contents)


def publish(out: Path, contents) -> None:
    """Writes the snapshot beside `out` and puts it in its place; an old one goes only when the new one is whole."""
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        made = Path(folder) / out.name
        manifest = write_snapshot(made, contents, IndexPlan("HNSW24,Flat", 120, 0.95, None))
        byte_count = sum(path.stat().st_size for path in made.iterdir())
        if byte_count > BYTES_MAX:
            raise SystemExit(f"belfry_models demo: {byte_count} bytes are more than {BYTES_MAX}")
        if out.exists():
            shutil.rmtree(out)
        os.replace(made, out)
    index = manifest["index"]
    print(f"{out.name}: {manifest['items']['count']} items, {byte_count} bytes, index {index['factory']} "
          f"{index['search']}, recall {manifest['training']['measured_recall']:.4f}")
