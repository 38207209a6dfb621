"""`python -m belfry_models expect --snapshot SNAPSHOT --requests F.jsonl --out F`: embeddings and the exact top k by
PyTorch for any requests, lines like those of golden.jsonl.

A line of the requests is the body of a `/v1/retrieve` request, or an object with that body under `request`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from .json_files import read_json_lines, write_json_lines
from .snapshot import read_snapshot


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--snapshot", required=True, type=Path, metavar="SNAPSHOT")
    parser.add_argument("--requests", required=True, type=Path, metavar="F.jsonl")
    parser.add_argument("--out", required=True, type=Path, metavar="F")


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    requests = [line.get("request", line) for line in read_json_lines(arguments.requests)]
    oracle = read_snapshot(arguments.snapshot).oracle()
    draft = arguments.out.with_name(arguments.out.name + ".tmp")
    try:
        write_json_lines(draft, oracle.answer_all(requests))
        draft.replace(arguments.out)
    finally:
        draft.unlink(missing_ok=True)
