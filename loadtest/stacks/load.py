"""Runs of `belfry loadtest`, and single requests.

    load = Load(core=1, requests=path, folder=scratch)
    report = load.run(server, ["--closed", "--duration", "5s"], k=100, ef=200, format="columns")
    report["achieved_rate"], report["latency_us"]["p99"]
"""

from __future__ import annotations

import http.client
import json
import pathlib
import subprocess
import sys
from typing import Any, Dict, Iterator, List, Sequence

from replies import BadReply, Reply, decode_reply
from servers import BELFRY, Failure, Server, require

PASSED, INVALID = 0, 3
ATTEMPTS = 3


class Load:
    def __init__(self, core: int, requests: pathlib.Path, folder: pathlib.Path):
        require(BELFRY, "make build")
        self.core, self.requests, self.folder = core, requests, folder

    def run(self, server: Server, arguments: Sequence[str], k: int, ef: int, format: str) -> Dict[str, Any]:
        """A report without errors. A run that the generator itself spoilt is repeated; `attempts` counts, and `spoilt`
        tells that the last one was spoilt too."""
        for attempt in range(1, ATTEMPTS + 1):
            report = self._run_once(server, arguments, k, ef, format)
            report["attempts"], report["spoilt"] = attempt, not report["valid"]
            if report["valid"]:
                break
            print(f"    attempt {attempt} was invalid: {'; '.join(report['invalid'])}", file=sys.stderr)
        if report["errors"]["total"]:
            raise Failure(f"{server.url}: {report['errors']['total']} of {report['requests']} requests failed: "
                          f"{report['errors']['by_kind']} {report['error_bodies']}")
        return report

    def _run_once(self, server: Server, arguments: Sequence[str], k: int, ef: int, format: str) -> Dict[str, Any]:
        path = self.folder / "report.json"
        path.unlink(missing_ok=True)
        command = ["taskset", "-c", str(self.core), str(BELFRY), "loadtest", "--target", server.url, "--requests", str(self.requests),
                   "--k", str(k), f"--{server.parameter}", str(ef), "--format", format, "--recall-sample", "0", "--quiet", "--json", str(path),
                   *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode not in (PASSED, INVALID) or not path.exists():
            words = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise Failure(f"belfry loadtest ended with {done.returncode}: {words[-1] if words else 'it said nothing'} "
                          f"({' '.join(command)})")
        return json.loads(path.read_text())


def read_requests(path: pathlib.Path, count: int) -> List[Dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        bodies = [json.loads(line) for _, line in zip(range(count), file)]
    if len(bodies) < count:
        raise Failure(f"{path}: {len(bodies)} requests, {count} are judged")
    return bodies


def ask(server: Server, bodies: Sequence[Dict[str, Any]], k: int, ef: int, format: str) -> Iterator[Reply]:
    """The replies to all, one after the other over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        for body in bodies:
            text = json.dumps({**body, "k": k, "search": {server.parameter: ef}, "format": format})
            connection.request("POST", "/v1/retrieve", text, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
            if response.status != 200:
                raise Failure(f"the {server.name} server answered {response.status}: {content[:200]!r}")
            try:
                yield decode_reply(content)
            except BadReply as error:
                raise Failure(f"the {server.name} server's reply: {error}") from error
    except OSError as error:
        server.check()
        raise Failure(f"the {server.name} server: {error}") from error
    finally:
        connection.close()
