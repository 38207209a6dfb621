#!/usr/bin/env python3
"""The Python stack: FastAPI on uvicorn (httptools, uvloop), the tower in ONNX Runtime, the items in faiss-cpu; one process, one
thread.

    python_stack.py --snapshot OUT/snapshot/items-N --tower OUT/stack/tower.onnx --port 8090

It reads Belfry's own snapshot, index.faiss included, and answers `POST /v1/retrieve` as Belfry does: user, context, k, search.ef,
format rows or columns.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import pathlib
from bisect import bisect_right
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import faiss  # noqa: E402
import numpy  # noqa: E402
import onnxruntime  # noqa: E402
import orjson  # noqa: E402
import safetensors.numpy  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI, Request, Response  # noqa: E402
from xxhash import xxh64_intdigest  # noqa: E402

Values = Mapping[str, Any]
# Writes a feature's part of the tower's input from `user.features` and `context`.
Writer = Callable[[Values, Values], None]


def make_writer(feature: Dict[str, Any], table: Optional[numpy.ndarray], slot: numpy.ndarray) -> Writer:
    """`slot` is the feature's view into the input."""
    name, encoding = feature["name"], feature["encoding"]
    of_user = feature["source"] == "user"
    kind = encoding["kind"]
    if kind == "numeric":
        transform = make_transform(encoding["transforms"])

        def write_number(user: Values, context: Values) -> None:
            value = (user if of_user else context).get(name)
            slot[0] = 0.0 if value is None else transform(value)
        return write_number
    if kind == "bucketise":
        boundaries = encoding["boundaries"]

        def write_bucket(user: Values, context: Values) -> None:
            value = (user if of_user else context).get(name)
            slot[:] = 0.0 if value is None else table[bisect_right(boundaries, value)]
        return write_bucket
    if kind != "hash":
        raise SystemExit(f"python_stack.py: feature {name!r}: this stack has no encoding {kind!r}")
    rows, seed = encoding["rows"], encoding["seed"]
    if not feature["multi_valued"]:
        def write_value(user: Values, context: Values) -> None:
            value = (user if of_user else context).get(name)
            slot[:] = 0.0 if value is None else table[xxh64_intdigest(str(value), seed) % rows]
        return write_value
    most = feature["maximum_values"]

    def write_list(user: Values, context: Values) -> None:
        values = (user if of_user else context).get(name)
        if not values:
            slot[:] = 0.0
            return
        chosen = [xxh64_intdigest(str(value), seed) % rows for value in values[:most]]
        numpy.add.reduce(table[chosen], axis=0, out=slot)
        numpy.multiply(slot, 1.0 / len(chosen), out=slot)
    return write_list


def make_transform(steps: List[Dict[str, Any]]) -> Callable[[float], float]:
    def transform(value: float) -> float:
        for step in steps:
            kind = step["kind"]
            if kind == "log1p":
                value = math.copysign(math.log1p(abs(value)), value)
            elif kind == "standardise":
                value = (value - step["mean"]) / step["deviation"]
            else:
                value = min(max(value, step["minimum"]), step["maximum"])
        return value
    return transform


class UserTower:
    """Features and cached vectors to an embedding, in buffers that are used again for every request."""

    def __init__(self, manifest: Dict[str, Any], snapshot: pathlib.Path, tower: pathlib.Path):
        tensors = safetensors.numpy.load_file(str(snapshot / "user_tower.safetensors"))
        users = safetensors.numpy.load_file(str(snapshot / "users.safetensors"))
        texts, offsets = users["ids.bytes"].tobytes(), users["ids.offsets"].tolist()
        self.row_of_user = {texts[start:stop].decode(): row for row, (start, stop) in enumerate(zip(offsets, offsets[1:]))}
        features = {each["name"]: each for each in manifest["features"]["user"]}
        inputs = manifest["towers"]["user"]["inputs"]
        self.input = numpy.zeros((1, sum(each.get("dimension", 1) for each in inputs)), dtype=numpy.float32)
        self.writers: List[Writer] = []
        self.cached: List[Tuple[numpy.ndarray, numpy.ndarray]] = []  # (slot, vectors)
        position = 0
        for each in inputs:
            size = each.get("dimension", 1)
            slot = self.input[0, position:position + size]
            position += size
            if each["kind"] == "vector":
                self.cached.append((slot, users["c_u" if each["vector"] == "cross" else "s_u"]))
            else:
                table = tensors.get(f"inputs.{each['feature']}.weight")
                self.writers.append(make_writer(features[each["feature"]], table, slot))
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        settings.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(tower), settings, providers=["CPUExecutionProvider"])
        # Bound once: a run then neither looks names up nor makes arrays.
        self.embedding = numpy.zeros((1, manifest["dimension"]), dtype=numpy.float32)
        self.binding = self.session.io_binding()
        self.binding.bind_input("inputs", "cpu", 0, numpy.float32, self.input.shape, self.input.ctypes.data)
        self.binding.bind_output("embedding", "cpu", 0, numpy.float32, self.embedding.shape, self.embedding.ctypes.data)

    def embed(self, user: Values, context: Values) -> Tuple[numpy.ndarray, bool]:
        """The embedding (1, dimension), valid until the next call, and whether the user is unknown."""
        features = user.get("features") or {}
        for write in self.writers:
            write(features, context)
        row = self.row_of_user.get(user.get("id"))
        for slot, vectors in self.cached:
            slot[:] = 0.0 if row is None else vectors[row]
        self.session.run_with_iobinding(self.binding)
        return self.embedding, row is None


class Retrieval:
    def __init__(self, snapshot: pathlib.Path, tower: pathlib.Path):
        manifest = json.loads((snapshot / "manifest.json").read_text())
        self.tower = UserTower(manifest, snapshot, tower)
        faiss.omp_set_num_threads(1)
        self.index = faiss.read_index(str(snapshot / "index.faiss"))
        ids = safetensors.numpy.load_file(str(snapshot / "items.safetensors"))["ids"]
        self.ids = [str(each) for each in ids.tolist()]
        self.default_ef = manifest["index"]["search"]["ef"]
        self.parameters: Dict[int, faiss.SearchParametersHNSW] = {}
        self.snapshot = {"model": "default", "id": manifest["id"], "space_id": manifest["space_id"]}

    def answer(self, request: Values) -> bytes:
        embedding, is_unknown = self.tower.embed(request["user"], request.get("context") or {})
        ef = (request.get("search") or {}).get("ef", self.default_ef)
        parameters = self.parameters.get(ef)
        if parameters is None:
            parameters = self.parameters[ef] = faiss.SearchParametersHNSW(efSearch=ef)
        scores, rows = self.index.search(embedding, request.get("k", 100), params=parameters)
        ids = self.ids
        found = [ids[row] for row in rows[0].tolist() if row >= 0]
        reply: Dict[str, Any] = {"snapshot": self.snapshot}
        if request.get("format", "rows") == "columns":
            reply["ids"], reply["scores"] = found, scores[0, :len(found)]
        else:
            reply["items"] = [{"id": id, "score": score} for id, score in zip(found, scores[0].tolist())]
        reply["cold_start"] = is_unknown
        reply["degraded"] = []
        return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)


def make_application(retrieval: Retrieval) -> FastAPI:
    application = FastAPI(openapi_url=None)

    @application.get("/readyz")
    async def ready() -> Response:
        return Response(b"{}", media_type="application/json")

    # No pydantic model, which would validate and copy the request, and none of the reply.
    @application.post("/v1/retrieve")
    async def retrieve(request: Request) -> Response:
        try:
            body = retrieval.answer(orjson.loads(await request.body()))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            return Response(orjson.dumps({"status": 400, "detail": repr(error)}), 400, media_type="application/problem+json")
        return Response(body, media_type="application/json")
    return application


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshot", type=pathlib.Path, required=True)
    parser.add_argument("--tower", type=pathlib.Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    application = make_application(Retrieval(options.snapshot, options.tower))
    # A million ids need not be looked through at every collection.
    gc.collect()
    gc.freeze()
    uvicorn.run(application, host="127.0.0.1", port=options.port, loop="uvloop", http="httptools", access_log=False,
                server_header=False, date_header=False, lifespan="off", timeout_keep_alive=75, log_level="warning")


if __name__ == "__main__":
    main()
