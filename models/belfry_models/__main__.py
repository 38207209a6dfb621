"""The command line: `python -m belfry_models SUBCOMMAND ...`.

A subcommand is a module with `add_arguments(parser)` and `run(arguments)`. Exit status: 0 done, 64 wrong usage, 1 failed,
with one line on stderr.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import List, NoReturn, Optional

from .errors import InvalidInput

# Name, module, and what it does in a line.
SUBCOMMANDS = [
    ("train", "train", "one model on one log, and what it scores on the test slice"),
    ("ablation", "ablation", "every model on one data set over seeds, as a table"),
    ("leakage", "leakage", "permuted labels: honest caches must score 0.5, leaking ones must show"),
    ("tune", "tune", "how the settings were chosen, on validation slices alone"),
    ("demo", "demo", "the snapshot of models/demo, from the generator alone"),
    ("examples", "examples", "films that a snapshot shows to five people of MovieLens-100k"),
    ("random", "random_model", "a model and a catalogue drawn from a seed, as a snapshot"),
    ("export", "export", "the snapshot of a training run"),
    ("expect", "expectation", "what PyTorch and exact search answer to requests"),
]


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(64, f"{self.prog}: {message}\n")


def main(arguments: Optional[List[str]] = None) -> int:
    parser = Parser(prog="belfry_models", description="Trains two-tower models and exports them as snapshots.")
    subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
    for name, module, summary in SUBCOMMANDS:
        subparser = subparsers.add_parser(name, help=summary, description=summary.capitalize() + ".")
        # Importing here keeps the registry in one place; the modules must stay cheap to import for their size.
        subcommand = importlib.import_module(f".{module}", __package__)
        subcommand.add_arguments(subparser)
        subparser.set_defaults(run=subcommand.run)
    parsed = parser.parse_args(arguments)
    try:
        parsed.run(parsed)
    except (InvalidInput, OSError) as error:
        print(f"belfry_models {parsed.subcommand}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
