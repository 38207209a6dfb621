"""`python -m belfry_models expect --snapshot SNAPSHOT --requests F.jsonl --out F`: embeddings and the exact top k by
PyTorch for any requests, lines like those of golden.jsonl.

A line of the requests is the body of a `/v1/retrieve` request, or an object with that body under `request`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List

import torch

from .errors import InvalidInput
from .snapshot import read_snapshot


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--snapshot", required=True, type=Path, metavar="SNAPSHOT")
    parser.add_argument("--requests", required=True, type=Path, metavar="F.jsonl")
    parser.add_argument("--out", required=True, type=Path, metavar="F")


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    requests = read_requests(arguments.requests)
    oracle = read_snapshot(arguments.snapshot).oracle()
    draft = arguments.out.with_name(arguments.out.name + ".tmp")
    with open(draft, "w", encoding="utf-8") as file:
        for answer in oracle.answer_all(requests):
            file.write(json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n")
    draft.replace(arguments.out)


def read_requests(path: Path) -> List[Dict[str, Any]]:
    requests = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise InvalidInput(f"{path}: line {number} is not JSON: {error}") from error
            if not isinstance(value, dict):
                raise InvalidInput(f"{path}: line {number} is not an object")
            requests.append(value.get("request", value))
    return requests
