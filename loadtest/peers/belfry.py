"""Our side of the comparison: `belfry index build` and `belfry index bench`, run as any user runs them."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence


class BelfryFailure(Exception):
    """A command that failed, with the line it printed."""


class Belfry:
    def __init__(self, binary: Path, core: int):
        self.binary, self.core = binary, core
        help_text = self.run(["index", "bench", "--help"], pinned=False)
        # Timing what an earlier run found, over other queries; without it the search is tuned on the queries it reports.
        self.repeats_settings = "--settings" in help_text

    def run(self, arguments: Sequence[str], pinned: bool, allowed: Sequence[int] = (0,)) -> str:
        pin = ["taskset", "-c", str(self.core)] if pinned else []
        done = subprocess.run([*pin, str(self.binary), *arguments], capture_output=True, text=True)
        if done.returncode not in allowed:
            raise BelfryFailure((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
        return done.stdout

    def build(self, specification: Mapping[str, Any], items: Path, folder: Path, threads: int) -> Dict[str, Any]:
        started = time.monotonic()
        self.run(["index", "build", "--items", str(items), "--factory", specification["factory"], "--ef-construction",
                  str(specification["ef_construction"]), "--threads", str(threads), "--out", str(folder / "index.faiss")],
                 pinned=False)
        return {"seconds": time.monotonic() - started, "threads": threads, "version": "this commit",
                "specification": dict(specification)}

    def bench(self, items: Path, half: Path, folder: Path, ks: Sequence[int], recall: float, report: Path,
              settings: Path | None = None) -> List[Dict[str, Any]]:
        """The rows of its report, (k); a recall that no setting reaches is in the report too. Under `settings` stands
        the report whose settings are timed."""
        report.unlink(missing_ok=True)
        command = ["index", "bench", "--items", str(items), "--queries", str(half / "queries.fbin"), "--truth",
                   str(half / "truth.ibin"), "--index", str(folder / "index.faiss"), "--recall", str(recall), "--json",
                   str(report)]
        for k in ks:
            command += ["--k", str(k)]
        if settings is not None and self.repeats_settings:
            command += ["--settings", str(settings)]
        # A missed recall is status 1 with the report written.
        try:
            self.run(command, pinned=True)
        except BelfryFailure:
            if not report.exists():
                raise
        return json.loads(report.read_text())["rows"]
