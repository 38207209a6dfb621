"""A run: what training leaves and `export` turns into a snapshot. One directory:

    run.json                 {"format": "belfry-run/1", "model": ModelSpec, "attributes": [...], "newest_event": seconds,
                             "training": free-form: metrics, command, seed, versions}
    user_tower.safetensors   weights and vocabularies, named as in docs/SNAPSHOT.md
    item_tower.safetensors
    items.safetensors        ids and attributes            attributes.json   the words of coded attributes
    item_state.safetensors   c_v, s_v, if the item tower reads any
    item_features.parquet    one column per item feature, raw, rows as in items.safetensors
    users.safetensors        ids, c_u, s_u, if the user tower reads any
    requests.jsonl           bodies of `/v1/retrieve` requests from real users, the candidates for golden.jsonl

Nothing in it depends on the clock or the machine, so the same training gives the same bytes.

    write_run(Path("runs/cs3"), Run(
        model=model, user_tensors=user_tower.export_tensors(), item_tensors=item_tower.export_tensors(),
        user_vocabularies=user_encoder.vocabularies, item_vocabularies=item_encoder.vocabularies,
        items=Items(ids, attributes, cross=c_v, cascade=s_v), item_columns={"category": categories, ...},
        users=Users(user_ids, cross=c_u, cascade=s_u),
        requests=[{"user": {"id": 7, "features": {"age": 3}}, "context": {"hour": 13}}],
        newest_event=893286638, training={"seed": 1, "command": "...", "metrics": {"auc": 0.71}, "versions": {...}}))

`newest_event`, in seconds since 1970, becomes `created_at`. `item_columns` has one column for every item feature under
its name: the `item_id` feature's as well, though it may be left out and is then filled from the ids. 100 requests are
plenty: export makes the unknown users, missing features and empty histories out of them. A request's `user.id` is a
number with u64 ids and a text with string ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence

import numpy
import polars

from .catalogue import Items, Users
from .encoding import Column, EncodedFeatures, FeatureEncoder
from .errors import InvalidInput
from .feature_schema import require, take_keys
from .json_files import read_json, read_json_lines, write_json, write_json_lines
from .schema import ModelSpec
from .tensor_files import read_tensors, split_vocabularies, vocabulary_tensors, write_tensors

FORMAT = "belfry-run/1"


@dataclass(frozen=True, eq=False)
class Run:
    model: ModelSpec
    user_tensors: Mapping[str, numpy.ndarray]
    item_tensors: Mapping[str, numpy.ndarray]
    items: Items
    item_columns: Mapping[str, Column]
    requests: Sequence[Mapping[str, Any]]
    newest_event: int
    user_vocabularies: Mapping[str, Sequence[str]] = field(default_factory=dict)
    item_vocabularies: Mapping[str, Sequence[str]] = field(default_factory=dict)
    users: Optional[Users] = None
    training: Mapping[str, Any] = field(default_factory=dict)

    def encode_items(self) -> EncodedFeatures:
        """The item features of every item, ready for the item tower."""
        columns: Dict[str, Column] = {name: self.item_columns[name] for name in self.item_columns}
        for feature in self.model.item_features:
            if feature.source == "item_id":
                columns.setdefault(feature.name, identifier_column(self.items))
        encoded = FeatureEncoder(self.model.item_features, self.item_vocabularies).encode_columns(columns)
        require(not self.model.item_features or encoded.count == self.items.count,
                f"{encoded.count} rows of item features for {self.items.count} items")
        return encoded if self.model.item_features else EncodedFeatures(self.items.count, {})


def identifier_column(items: Items) -> polars.Series:
    dtype = polars.UInt64 if isinstance(items.ids, numpy.ndarray) else polars.String
    return polars.Series(items.ids, dtype=dtype)


def write_run(directory: Path, run: Run) -> None:
    """Writes or replaces the run's files; `run.json` comes last, so that a run without it is not a run."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "run.json").unlink(missing_ok=True)
    model, space_id = run.model, run.model.space_id
    for side, tensors, vocabularies in (("user", run.user_tensors, run.user_vocabularies),
                                        ("item", run.item_tensors, run.item_vocabularies)):
        write_tensors(directory / f"{side}_tower.safetensors", {**tensors, **vocabulary_tensors(vocabularies)}, space_id)
    write_tensors(directory / "items.safetensors", run.items.tensors(model), space_id)
    write_json(directory / "attributes.json", run.items.words())
    write_optional(directory / "item_state.safetensors", run.items.state_tensors(model), space_id)
    users = run.users.read_by(model) if run.users is not None else None
    write_optional(directory / "users.safetensors", users.tensors(model) if users is not None else {}, space_id)
    names = [feature.name for feature in model.item_features if feature.name in run.item_columns]
    polars.DataFrame({name: run.item_columns[name] for name in names}).write_parquet(directory / "item_features.parquet")
    write_json_lines(directory / "requests.jsonl", run.requests)
    write_json(directory / "run.json", {
        "format": FORMAT, "model": model.to_json(), "attributes": [each.to_json() for each in run.items.attributes],
        "newest_event": int(run.newest_event), "training": dict(run.training)})


def read_run(directory: Path) -> Run:
    directory = Path(directory)
    if not (directory / "run.json").is_file():
        raise InvalidInput(f"{directory}: not a run, as it has no run.json")
    document = read_json(directory / "run.json")
    take_keys(document, "run.json", ("format", "model", "attributes", "newest_event", "training"))
    require(document["format"] == FORMAT, f"run.json: the format is {document['format']!r}, not {FORMAT!r}")
    model = ModelSpec.from_json(document["model"])
    user_tensors, user_vocabularies = split_vocabularies(read_tensors(directory / "user_tower.safetensors", model.space_id))
    item_tensors, item_vocabularies = split_vocabularies(read_tensors(directory / "item_tower.safetensors", model.space_id))
    items = Items.from_tensors(model, read_tensors(directory / "items.safetensors", model.space_id), document["attributes"],
                               read_json(directory / "attributes.json"),
                               read_optional(directory / "item_state.safetensors", model.space_id))
    users = read_optional(directory / "users.safetensors", model.space_id)
    columns = polars.read_parquet(directory / "item_features.parquet")
    requests = read_json_lines(directory / "requests.jsonl")
    return Run(model, user_tensors, item_tensors, items, {name: columns[name] for name in columns.columns}, requests,
               document["newest_event"], user_vocabularies, item_vocabularies,
               Users.from_tensors(model, users) if users else None, document["training"])


def write_optional(path: Path, tensors: Mapping[str, numpy.ndarray], space_id: str) -> None:
    path.unlink(missing_ok=True)
    if tensors:
        write_tensors(path, tensors, space_id)


def read_optional(path: Path, space_id: str) -> Dict[str, numpy.ndarray]:
    return read_tensors(path, space_id) if path.is_file() else {}
