"""Times the user tower of Belfry and of ONNX Runtime on one core, in alternating rounds, for the same users.

    .build/bench-tower/venv/bin/python Benchmarks/Tower/compare.py .build/bench-tower

Belfry's time is `Tower.embed`: from decoded features to the embedding; `layers` is without the features, as in ONNX
Runtime's: one call with the inputs already assembled, the better of `run` and `run_with_iobinding`, one thread. What a call from Python costs is measured with a model
that does nothing, and the ratio is given with and without it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy
import onnxruntime

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / ".build" / "release" / "tower-benchmark"
TOLERANCE = 1e-5  # of the largest number of an embedding; both compute in float32
TOUCHED = 1 << 20
Figures = Dict[str, Tuple[float, float]]  # (median, 99th percentile) of one round, in us per user


class Runtime:
    """One ONNX model with both ways of calling it."""

    def __init__(self, path: Path, users: int, width: int, dimension: int):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = numpy.zeros((users, width), dtype=numpy.float32)
        self.embedding = numpy.zeros((users, dimension), dtype=numpy.float32)
        self.binding = self.session.io_binding()
        self.binding.bind_input("inputs", "cpu", 0, numpy.float32, self.inputs.shape, self.inputs.ctypes.data)
        self.binding.bind_output("embedding", "cpu", 0, numpy.float32, self.embedding.shape, self.embedding.ctypes.data)

    def run(self) -> numpy.ndarray:
        return self.session.run(None, {"inputs": self.inputs})[0]

    def run_bound(self) -> None:
        self.session.run_with_iobinding(self.binding)


def measure(call: Callable[[], object], runtime: Runtime, inputs: numpy.ndarray, calls: int, touch: bool) -> Tuple[float, float]:
    users = len(runtime.inputs)
    other = numpy.zeros(TOUCHED // 8, dtype=numpy.uint64)
    clock, times = time.perf_counter_ns, []
    for index in range(calls // 10 + calls):
        start = index * users % len(inputs)
        numpy.copyto(runtime.inputs, inputs[start:start + users])
        if touch:
            other += 1
        before = clock()
        call()
        times.append(clock() - before)
    return percentiles(numpy.array(times[calls // 10:]) / 1000 / users)


def percentiles(times: numpy.ndarray) -> Tuple[float, float]:
    return float(numpy.percentile(times, 50)), float(numpy.percentile(times, 99))


def runtime_round(one: Runtime, four: Runtime, nothing: Runtime, inputs: numpy.ndarray, calls: int) -> Figures:
    return {
        "run": measure(one.run, one, inputs, calls, False),
        "bound": measure(one.run_bound, one, inputs, calls, False),
        "run, touched": measure(one.run, one, inputs, calls, True),
        "bound, touched": measure(one.run_bound, one, inputs, calls, True),
        "run of four": measure(four.run, four, inputs, calls, False),
        "bound of four": measure(four.run_bound, four, inputs, calls, False),
        "call, run": measure(nothing.run, nothing, inputs, calls, False),
        "call, bound": measure(nothing.run_bound, nothing, inputs, calls, False),
    }


def belfry_round(folder: Path, activation: str, calls: int, instruction_set: str) -> Tuple[Figures, numpy.ndarray]:
    command = [str(PROGRAM), str(folder / activation), str(folder / f"{activation}.jsonl"), "--calls", str(calls),
               "--instruction-set", instruction_set, "--touched-byte-count", str(TOUCHED)]
    reply = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    figures = {name: (each["p50"], each["p99"]) for name, each in reply["us"].items()}
    return figures, numpy.array(reply["embeddings"], dtype=numpy.float32)


def instruction_sets() -> List[str]:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    return [name for name, flag in (("avx512", "avx512f"), ("avx2", "avx2")) if flag in flags] + ["portable"]


def deviation(embeddings: numpy.ndarray, expected: numpy.ndarray) -> float:
    return float(numpy.max(numpy.abs(embeddings - expected)) / numpy.max(numpy.abs(expected)))


def compare(folder: Path, activation: str, rounds: int, calls: int) -> bool:
    inputs = numpy.load(folder / f"{activation}-inputs.npy")
    expected = numpy.load(folder / f"{activation}-embeddings.npy")
    width, dimension = inputs.shape[1], expected.shape[1]
    one = Runtime(folder / f"{activation}.onnx", 1, width, dimension)
    four = Runtime(folder / f"{activation}.onnx", 4, width, dimension)
    nothing = Runtime(folder / "nothing.onnx", 1, width, dimension)
    outputs = []
    for row in inputs:
        numpy.copyto(one.inputs, row[None])
        outputs.append(one.run()[0].copy())
    deviations = {"ONNX Runtime": deviation(numpy.array(outputs), expected)}
    sets = instruction_sets()
    gathered: Dict[str, List[Tuple[float, float]]] = {}
    for _ in range(rounds):
        for name, figures in runtime_round(one, four, nothing, inputs, calls).items():
            gathered.setdefault(f"ONNX Runtime, {name}", []).append(figures)
        for each in sets:
            figures, embeddings = belfry_round(folder, activation, calls, each)
            deviations[f"Belfry {each}"] = deviation(embeddings, expected)
            for name, figure in figures.items():
                gathered.setdefault(f"Belfry {each}, {name}", []).append(figure)
    return report(activation, width, dimension, gathered, deviations, sets[0])


def report(activation: str, width: int, dimension: int, gathered: Dict[str, List[Tuple[float, float]]],
           deviations: Dict[str, float], best: str) -> bool:
    median = {name: statistics.median(each[0] for each in figures) for name, figures in gathered.items()}
    print(f"\n{width}-256-128-{dimension}, one cycle, {activation}; us per user, medians of {len(next(iter(gathered.values())))} rounds\n")
    print("| engine | median | p99 |\n|---|---|---|")
    for name, figures in gathered.items():
        print(f"| {name} | {median[name]:.2f} | {statistics.median(each[1] for each in figures):.2f} |")

    def ratio(ours: str, theirs: str, without_call: bool = False) -> float:
        """Median over rounds of ours to the better of the two ways to call theirs."""
        ratios = []
        for place, (time_of_ours, _) in enumerate(gathered[f"Belfry {best}, {ours}"]):
            ways = []
            for way in ("run", "bound"):
                call = gathered[f"ONNX Runtime, call, {way}"][place][0] if without_call else 0
                ways.append(gathered[f"ONNX Runtime, {way}{theirs}"][place][0] - call)
            ratios.append(time_of_ours / min(ways))
        return statistics.median(ratios)

    print(f"\nBelfry to ONNX Runtime ({best}, the better of its two ways):")
    print(f"  one user, the same work           {ratio('layers', ''):.3f}")
    print(f"  likewise, the call subtracted     {ratio('layers', '', True):.3f}")
    print(f"  one user, features included       {ratio('alone', ''):.3f}")
    print(f"  one user, {TOUCHED >> 20} MB touched in between {ratio('alone_touched', ', touched'):.3f}")
    print(f"  four users together               {ratio('together', ' of four'):.3f}")
    worst = max(deviations.values())
    print("largest deviation from PyTorch, relative to the largest number: "
          + ", ".join(f"{name} {value:.1e}" for name, value in deviations.items()))
    if worst > TOLERANCE:
        print(f"FAILED: {worst:.1e} is more than {TOLERANCE:.0e}")
    return worst <= TOLERANCE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    # Children inherit it: both engines run on this one core.
    os.sched_setaffinity(0, {arguments.core})
    results = [compare(arguments.folder, activation, arguments.rounds, arguments.calls) for activation in ("relu", "silu")]
    raise SystemExit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
