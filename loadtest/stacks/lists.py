#!/usr/bin/env python3
"""The benchmark's snapshot once more with an inverted file in the place of the graph: same towers, users, items and ids.

    loadtest/stacks/lists.py .build/bench/stacks/1000000 [--lists 8192]

Writes DIR/lists/NAME beside DIR/snapshot/NAME. The index is built by `belfry index build` from the item vectors that snapshot.py
left; the other files are hard links.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import struct
import subprocess

from servers import BELFRY, require, snapshot_of


def described(path: pathlib.Path) -> dict:
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--lists", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    require(BELFRY, "make build")
    source = snapshot_of(options.data)
    target = options.data / "lists" / source.name
    target.mkdir(parents=True, exist_ok=True)
    (target / "_SUCCESS").unlink(missing_ok=True)
    manifest = json.loads((source / "manifest.json").read_text())
    for file in source.iterdir():
        if file.name not in ("_SUCCESS", "manifest.json", "index.faiss"):
            (target / file.name).unlink(missing_ok=True)
            os.link(file, target / file.name)

    vectors = options.data / "stack" / "vectors.f32"
    dimension = manifest["dimension"]
    items = options.data / "lists" / "items.fbin"
    with open(items, "wb") as file, open(vectors, "rb") as rows:
        file.write(struct.pack("<II", vectors.stat().st_size // 4 // dimension, dimension))
        while chunk := rows.read(1 << 24):
            file.write(chunk)
    factory = f"IVF{options.lists},Flat"
    subprocess.run([BELFRY, "index", "build", "--items", items, "--factory", factory, "--threads", str(options.threads),
                    "--out", target / "index.faiss"], check=True)
    items.unlink()

    manifest["index"] = {**manifest["index"], "factory": factory, "kind": "ivf_flat", "search": {"nprobe": options.lists // 32}}
    manifest["files"]["index.faiss"] = described(target / "index.faiss")
    (target / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    success = json.loads((source / "_SUCCESS").read_text())
    success["manifest"] = described(target / "manifest.json")
    (target / "_SUCCESS").write_text(json.dumps(success, indent=2) + "\n")
    print(target)


if __name__ == "__main__":
    main()
