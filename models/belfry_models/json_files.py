"""JSON documents and JSON lines: UTF-8, finite numbers only, and faults that name the file and the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterable, List

from .errors import InvalidInput


def write_json(path: Path, value: Any) -> None:
    try:
        text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    except ValueError as error:
        raise InvalidInput(f"{path.name}: a number in it is not finite, which JSON cannot say") from error
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInput(f"{path}: not JSON: {error}") from error


def write_json_lines(path: Path, values: Iterable[Any]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for value in values:
            file.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def read_json_lines(path: Path) -> List[dict]:
    """One object a line; blank lines are skipped."""
    values = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                raise InvalidInput(f"{path}: line {number} is not JSON: {error}") from error
            if not isinstance(value, dict):
                raise InvalidInput(f"{path}: line {number} is not an object")
            values.append(value)
    return values
