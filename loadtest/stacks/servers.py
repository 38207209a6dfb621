"""The three servers as processes, each pinned to a core, and nothing left behind.

    with Server("C++", command, core=0, folder=logs) as server:
        server.url

A command is a function of the port, which is free when the server starts.
"""

from __future__ import annotations

import http.client
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from typing import Callable, Dict, List, Optional

ROOT = pathlib.Path(__file__).resolve().parents[2]
BELFRY = ROOT / ".build" / "release" / "belfry"
CPP_STACK = ROOT / ".build" / "bench" / "cpp-stack"
START_SECONDS = 180
STOP_SECONDS = 20


class Failure(Exception):
    """What a person is told in one line."""


class Server:
    def __init__(self, name: str, command: Callable[[int], List[str]], core: int, folder: pathlib.Path,
                 environment: Optional[Dict[str, str]] = None, parameter: str = "ef"):
        self.parameter = parameter  # of `search`, by which recall is bought
        self.name, self.command, self.core = name, command, core
        self.log = folder / f"{name.replace(' ', '-').replace('+', 'p')}.log"
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **(environment or {})}
        self.process: Optional[subprocess.Popen] = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Server":
        self.port = free_port()
        command = ["taskset", "-c", str(self.core), *self.command(self.port)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def check(self) -> None:
        if self.process is None or self.process.poll() is not None:
            raise Failure(f"the {self.name} server has ended: {self._last_words()}")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check()
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            finally:
                connection.close()
            time.sleep(0.1)
        raise Failure(f"the {self.name} server was not ready after {START_SECONDS} s: {self._last_words()}")

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return f"{lines[-1] if lines else 'it said nothing'} ({self.log})"

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve_command(snapshot: pathlib.Path, port: int, *options: str) -> List[str]:
    # Each with an admin plane of its own: there are two of them side by side.
    return [str(BELFRY), "serve", "--snapshots", str(snapshot), "--listen", f"127.0.0.1:{port}",
            "--admin", f"127.0.0.1:{free_port()}", "--workers", "1", "--log-level", "notice", *options]


def belfry_server(data: pathlib.Path, core: int, folder: pathlib.Path, *options: str) -> Server:
    require(BELFRY, "make build")
    snapshot = snapshot_of(data)
    return Server("Belfry", lambda port: serve_command(snapshot, port, *options), core, folder)


def belfry_lists_server(data: pathlib.Path, core: int, folder: pathlib.Path) -> Server:
    """The same snapshot but for its index, an inverted file (lists.py)."""
    require(BELFRY, "make build")
    snapshot = data / "lists" / snapshot_of(data).name
    require(snapshot / "_SUCCESS", f"loadtest/stacks/lists.py {data}")
    return Server("Belfry, lists", lambda port: serve_command(snapshot, port), core, folder, parameter="nprobe")


def python_server(data: pathlib.Path, core: int, folder: pathlib.Path) -> Server:
    program = pathlib.Path(__file__).with_name("python_stack.py")
    return Server("Python stack", lambda port: [sys.executable, str(program), "--snapshot", str(snapshot_of(data)), "--tower",
                                                str(data / "stack" / "tower.onnx"), "--port", str(port)], core, folder)


def cpp_server(data: pathlib.Path, core: int, folder: pathlib.Path) -> Server:
    require(CPP_STACK, "make stacks")
    index = data / "stack" / "hnswlib.index"
    require(index, f"{CPP_STACK} build {data / 'stack'} {index} 2")
    return Server("C++ stack", lambda port: [str(CPP_STACK), "serve", str(data / "stack"), str(index), str(port),
                                             snapshot_of(data).name, "stacks"], core, folder)


def snapshot_of(data: pathlib.Path) -> pathlib.Path:
    found = sorted((data / "snapshot").glob("*/_SUCCESS"))
    if len(found) != 1:
        raise Failure(f"{data}: holds no snapshot; write one with loadtest/stacks/snapshot.py --out {data}")
    return found[0].parent


def require(path: pathlib.Path, remedy: str) -> None:
    if not path.exists():
        raise Failure(f"{path} is missing: {remedy}")
