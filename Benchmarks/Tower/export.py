"""Draws the snapshot that is measured, and writes its user tower for ONNX Runtime with the inputs and what PyTorch makes of
them.

    PYTHONPATH=models .venv/bin/python Benchmarks/Tower/export.py .build/bench-tower
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import numpy
import torch

from belfry_models.snapshot import read_snapshot
from belfry_models.towers import Tower, normalise

USERS = 64
# Features of 112 numbers, a cross vector of 64 and a cascade vector of 80: 256 inputs.
LAYERS = ["--dimension", "64", "--layers", "256,128", "--cycles", "1", "--cascade-dimension", "80"]
ACTIVATIONS = ("relu", "silu")


class Layers(torch.nn.Module):
    """What comes after the inputs are assembled: ONNX Runtime gets the vector, without the work of encoding features."""

    def __init__(self, tower: Tower):
        super().__init__()
        self.layers = tower.layers
        self.normalisation = tower.normalisation

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            inputs = layer(inputs)
        return normalise(inputs, self.normalisation)


class Nothing(torch.nn.Module):
    """The least a model can do, to see what a call costs."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[:, :64].neg()


def export_model(model: torch.nn.Module, inputs: torch.Tensor, path: Path) -> None:
    torch.onnx.export(model, inputs, str(path), input_names=["inputs"], output_names=["embedding"], opset_version=14,
                      dynamic_axes={"inputs": {0: "users"}, "embedding": {0: "users"}})


def export(folder: Path, activation: str) -> None:
    snapshot = folder / activation
    shutil.rmtree(snapshot, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "belfry_models", "random", "--items", "500", "--seed", "21", "--users", "300",
                    "--activation", activation, *LAYERS, "--out", str(snapshot)], check=True, stdout=subprocess.DEVNULL)
    oracle = read_snapshot(snapshot).oracle()
    lines = (snapshot / "warmup.jsonl").read_text(encoding="utf-8").splitlines()[:USERS]
    requests: List[Dict] = [json.loads(line) for line in lines]
    inputs, embeddings = [], []
    with torch.no_grad():
        for request in requests:
            encoded = oracle.encoder.encode_request(request["user"], request.get("context"))
            row = oracle.user_row(request["user"])
            cached = [oracle._cached_vector(vector, row) for vector in ("cross", "cascade")]
            inputs.append(oracle.tower.assemble_inputs(encoded, *cached))
            embeddings.append(oracle.tower(encoded, *cached))
    (folder / f"{activation}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    numpy.save(folder / f"{activation}-inputs.npy", torch.cat(inputs).numpy())
    numpy.save(folder / f"{activation}-embeddings.npy", torch.cat(embeddings).numpy())
    export_model(Layers(oracle.tower).eval(), inputs[0], folder / f"{activation}.onnx")
    export_model(Nothing(), inputs[0], folder / "nothing.onnx")
    print(f"{activation}: {len(requests)} requests, inputs of {inputs[0].shape[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for activation in ACTIVATIONS:
        export(folder, activation)


if __name__ == "__main__":
    main()
