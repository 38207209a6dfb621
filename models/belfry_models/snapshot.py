"""Snapshots as `docs/SNAPSHOT.md` has them: written whole or not at all, read with every byte checked.

    write_snapshot(Path("snapshots/2026-11-21"), SnapshotContents(model=model, ...), IndexPlan("HNSW24,Flat"))
    snapshot = read_snapshot(Path("snapshots/2026-11-21"))
    snapshot.oracle().answer({"user": {"id": "u42"}, "k": 10})

The last part of the path is the snapshot's id. The files are written into ID.tmp/ beside it, synced, and renamed; the
same contents give the same bytes, but for the time of publication in `_SUCCESS`, which SOURCE_DATE_EPOCH fixes too.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence

import faiss
import numpy

from .catalogue import Items, Users, checked_vectors
from .encoding import FeatureEncoder
from .errors import InvalidInput
from .feature_schema import IDENTIFIER, require, take_keys
from .golden import MINIMUM_COUNT, compose_requests, compose_warmup
from .item_index import RECALL_AT, IndexPlan, adopt_search, build_best_index, write_index
from .json_files import read_json, read_json_lines, write_json, write_json_lines
from .oracle import Oracle
from .schema import ModelSpec
from .tensor_files import read_tensors, split_vocabularies, vocabulary_tensors, write_tensors
from .towers import Tower

FORMAT = "belfry-snapshot/1"
SEAL = "_SUCCESS"
MANIFEST_KEYS = ("format", "id", "kind", "created_at", *ModelSpec.KEYS, "items", "users", "index", "live_watermark",
                 "files", "training")


@dataclass(frozen=True, eq=False)
class SnapshotContents:
    model: ModelSpec
    user_tensors: Mapping[str, numpy.ndarray]
    item_tensors: Mapping[str, numpy.ndarray]
    items: Items
    vectors: numpy.ndarray  # float32 (item, dimension), normalised if the model says so
    requests: Sequence[Mapping[str, Any]]  # candidates for golden.jsonl and warmup.jsonl
    newest_event: int  # seconds since 1970
    user_vocabularies: Mapping[str, Sequence[str]] = field(default_factory=dict)
    item_vocabularies: Mapping[str, Sequence[str]] = field(default_factory=dict)
    users: Optional[Users] = None
    training: Mapping[str, Any] = field(default_factory=dict)
    golden_count: int = MINIMUM_COUNT
    warmup_count: int = 200

    def user_tower(self) -> Tower:
        tower = Tower(self.model.user_tower, self.model.user_features, self.model.normalisation.user)
        tower.import_tensors(self.user_tensors)
        return tower.eval()

    def oracle(self) -> Oracle:
        encoder = FeatureEncoder(self.model.user_features, self.user_vocabularies)
        return Oracle(self.model, self.user_tower(), encoder, self.users, self.items.ids, self.vectors)


def write_snapshot(out: Path, contents: SnapshotContents, plan: IndexPlan) -> Dict[str, Any]:
    """Writes the snapshot and returns its manifest."""
    out = Path(out)
    if IDENTIFIER.fullmatch(out.name) is None:
        raise InvalidInput(f"{out}: {out.name!r} is no snapshot id, which matches [A-Za-z0-9_-]{{1,64}}")
    if out.exists():
        raise InvalidInput(f"{out}: exists already, and a snapshot is never modified; choose another id or remove it")
    draft = out.with_name(out.name + ".tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        manifest = write_files(draft, out.name, contents, plan)
        sync_tree(draft)
        os.rename(draft, out)
        sync_directory(out.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return manifest


def write_files(draft: Path, id: str, contents: SnapshotContents, plan: IndexPlan) -> Dict[str, Any]:
    model, items, users = contents.model, contents.items, contents.users
    vectors = checked_vectors(contents.vectors, items.count, model.dimension, "item vectors").astype(numpy.float32)
    require(items.count > 0, "a snapshot needs at least one item")
    for side, tensors, vocabularies in (("user", contents.user_tensors, contents.user_vocabularies),
                                        ("item", contents.item_tensors, contents.item_vocabularies)):
        write_tensors(draft / f"{side}_tower.safetensors", {**tensors, **vocabulary_tensors(vocabularies)}, model.space_id)
    item_tensors = items.tensors(model)
    if not plan.holds_vectors:
        item_tensors["vectors"] = vectors
    write_tensors(draft / "items.safetensors", item_tensors, model.space_id)
    if items.words():
        write_json(draft / "attributes.json", items.words())
    state = items.state_tensors(model)
    if state:
        write_tensors(draft / "item_state.safetensors", state, model.space_id)
    if users is not None:
        write_tensors(draft / "users.safetensors", users.tensors(model), model.space_id)

    oracle = contents.oracle()
    golden = compose_requests(contents.requests, model, contents.golden_count)
    queries = [*golden, *compose_warmup(contents.requests, len(contents.requests))]
    index, search, recall = build_best_index(vectors, oracle.embed_all(queries), model.metric, plan)
    adopt_search(index, search)
    write_index(index, str(draft / "index.faiss"), plan)
    write_json_lines(draft / "golden.jsonl", oracle.answer_all(golden))
    write_json_lines(draft / "warmup.jsonl", compose_warmup(contents.requests, contents.warmup_count))

    manifest = {
        "format": FORMAT, "id": id, "kind": "full", "created_at": rfc3339(source_date(contents.newest_event)),
        **model.to_json(),
        "items": {"count": items.count, "attributes": [each.to_json() for each in items.attributes]},
        "users": None if users is None else {"count": users.count, "vectors": users.vectors},
        "index": {"factory": plan.factory, "kind": plan.kind, "holds_vectors": plan.holds_vectors, "search": search,
                  "recall": {"k": RECALL_AT, "floor": plan.recall_floor}},
        "live_watermark": 0,
        "files": {path.name: digest(path) for path in sorted(draft.iterdir())},
        "training": {**contents.training, "measured_recall": round(recall, 6), "measured_recall_queries": len(queries)}}
    write_json(draft / "manifest.json", manifest)
    seal = {"published_at": rfc3339(source_date(int(time.time()))), "manifest": digest(draft / "manifest.json")}
    write_json(draft / SEAL, seal)
    return manifest


def source_date(otherwise: int) -> int:
    """SOURCE_DATE_EPOCH, by which builds are reproduced, or the given time."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if text == "":
        return otherwise
    if not text.isascii() or not text.isdigit():
        raise InvalidInput(f"SOURCE_DATE_EPOCH is {text!r}, not seconds since 1970")
    return int(text)


def rfc3339(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def digest(path: Path) -> Dict[str, Any]:
    state = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            state.update(block)
    return {"bytes": path.stat().st_size, "sha256": state.hexdigest()}


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    for path in directory.iterdir():
        sync_directory(path)  # fsync asks for a descriptor, of whatever it is
    sync_directory(directory)


# Reading


@dataclass(frozen=True, eq=False)
class Snapshot(SnapshotContents):
    """The contents of a snapshot that was read, and the manifest it had."""

    manifest: Mapping[str, Any] = field(default_factory=dict)


def read_snapshot(path: Path) -> Snapshot:
    """Reads a snapshot after checking its seal, every file against the manifest, and the towers against their tensors."""
    path = Path(path)
    manifest = read_sealed_manifest(path)
    for name, expected in manifest["files"].items():
        verify(path / name, expected)
    model = ModelSpec.from_json({key: manifest[key] for key in ModelSpec.KEYS})
    space_id, files = model.space_id, manifest["files"]

    def tensors_of(name: str) -> Dict[str, numpy.ndarray]:
        return read_tensors(path / name, space_id) if name in files else {}

    user_tensors, user_vocabularies = split_vocabularies(tensors_of(model.user_tower.file))
    item_tensors, item_vocabularies = split_vocabularies(tensors_of(model.item_tower.file))
    item_columns = tensors_of("items.safetensors")
    words = read_json(path / "attributes.json") if "attributes.json" in files else {}
    items = Items.from_tensors(model, item_columns, manifest["items"]["attributes"], words,
                               tensors_of("item_state.safetensors"))
    require(items.count == manifest["items"]["count"], f"{path}: {items.count} items, the manifest counts otherwise")
    vectors = item_columns["vectors"] if "vectors" in item_columns else read_index_vectors(path / "index.faiss")
    checked_vectors(vectors, items.count, model.dimension, "item vectors")
    users = Users.from_tensors(model, tensors_of("users.safetensors")) if manifest["users"] is not None else None
    requests = read_json_lines(path / "warmup.jsonl")
    created_at = datetime.datetime.strptime(manifest["created_at"], "%Y-%m-%dT%H:%M:%SZ")
    return Snapshot(model, user_tensors, item_tensors, items, vectors, requests,
                    int(created_at.replace(tzinfo=datetime.timezone.utc).timestamp()), user_vocabularies,
                    item_vocabularies, users, manifest["training"], manifest=manifest)


def read_sealed_manifest(path: Path) -> Mapping[str, Any]:
    if not (path / SEAL).is_file():
        raise InvalidInput(f"{path}: no snapshot, as it has no {SEAL}")
    seal = take_keys(read_json(path / SEAL), SEAL, ("published_at", "manifest"))
    verify(path / "manifest.json", seal["manifest"])
    manifest = take_keys(read_json(path / "manifest.json"), "manifest.json", MANIFEST_KEYS)
    require(manifest["format"] == FORMAT, f"manifest.json: the format is {manifest['format']!r}, not {FORMAT!r}")
    require(manifest["kind"] == "full", f"manifest.json: the kind is {manifest['kind']!r}, not 'full'")
    return manifest


def verify(path: Path, expected: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise InvalidInput(f"{path}: there is no such file")
    found = digest(path)
    for key in ("bytes", "sha256"):
        if found[key] != expected[key]:
            raise InvalidInput(f"{path}: {key} is {found[key]}, sealed was {expected[key]}")


def read_index_vectors(path: Path) -> numpy.ndarray:
    """float32 (item, dimension) out of an index that holds flat vectors."""
    owner = index = faiss.read_index(str(path))
    if isinstance(owner, faiss.IndexHNSWFlat):
        # The storage dies with its owner, which therefore keeps a name of its own.
        index = faiss.downcast_index(owner.storage)
    if isinstance(index, faiss.IndexFlat):
        return faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d).copy()
    index.make_direct_map()
    return index.reconstruct_n(0, index.ntotal)
