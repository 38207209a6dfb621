"""Where data sets come from, and what is said when they are not there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..errors import InvalidInput


class MissingData(InvalidInput):
    """Files that must be brought or fetched are not there; the message names each and says where it comes from."""


def data_directory(given: str | None, name: str) -> Path:
    """`given`, or NAME inside $BELFRY_DATA, or inside the git-ignored models/.data."""
    if given:
        return Path(given)
    base = os.environ.get("BELFRY_DATA")
    root = Path(base) if base else Path(__file__).resolve().parents[2] / ".data"
    return root / name


def find_files(directory: Path, names: dict[str, tuple[str, ...]], origin: str) -> dict[str, Path]:
    """For each key the first of its names that stands in `directory` or below; refuses with every missing one."""
    found: dict[str, Path] = {}
    missing: list[str] = []
    for key, candidates in names.items():
        matches = [path for name in candidates for path in [directory / name, *sorted(directory.rglob(name))]
                   if path.is_file()]
        if matches:
            found[key] = matches[0]
        else:
            missing.append(" or ".join(candidates))
    if missing:
        raise MissingData(f"{directory}: missing {', '.join(missing)}. {origin}")
    return found


def check_sha256(path: Path, expected: str) -> None:
    """Refuses a file whose bytes are not the ones that the reader was written for."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != expected:
        raise MissingData(f"{path}: sha256 is {digest}, expected {expected}; delete it and fetch it again")
