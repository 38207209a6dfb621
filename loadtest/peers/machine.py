"""Where and when a result was made."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Sequence

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def first_line(path: str, start: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(start):
            return line.split(":", 1)[1].strip()
    return "unknown"


def flags() -> Sequence[str]:
    present = first_line("/proc/cpuinfo", "flags").split()
    return [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if flag in present]


def commit() -> str:
    done = subprocess.run(["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def versions(packages: Sequence[str]) -> Dict[str, str]:
    result = {"python": platform.python_version()}
    for package in packages:
        try:
            result[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            result[package] = "not installed"
    return result


def describe(packages: Sequence[str]) -> Dict[str, Any]:
    return {
        "cpu": first_line("/proc/cpuinfo", "model name"), "cores": os.cpu_count(), "instruction_sets": list(flags()),
        "memory": first_line("/proc/meminfo", "MemTotal"), "kernel": platform.release(),
        "huge_pages": Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text().strip()
        if Path("/sys/kernel/mm/transparent_hugepage/enabled").exists() else "unknown",
        "load_at_start": os.getloadavg()[0], "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(), "command": " ".join(sys.argv), "versions": versions(packages)}
