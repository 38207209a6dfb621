"""From a stream that went through its log to a run that `export` turns into a snapshot."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from dataclasses import asdict, replace
from importlib import metadata
from typing import Any, Optional

import numpy as np
import polars
import torch

from .calibration import fit_calibration
from .catalogue import Attribute, Items, Users
from .data.log import Log
from .run import Run
from .schema import ScoreCalibration
from .settings import Settings
from .stream import Predictions, Stream

REQUESTS = 100


def name_space(data: str, model: str, settings: Settings, seed: int, data_seed: Optional[int] = None) -> str:
    """The id of the embedding space: two trainings that may differ in a weight have different ones."""
    text = json.dumps([data, model, asdict(settings), seed, data_seed], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return re.sub(r"[^A-Za-z0-9_-]", "-", f"{data}-{model}-{digest}")


def versions() -> dict[str, str]:
    """What the figures were computed with."""
    packages = {name: metadata.version(name) for name in ("numpy", "polars", "faiss-cpu", "safetensors")}
    return {"python": platform.python_version(), "torch": str(torch.__version__), **packages}


def assemble_run(stream: Stream, training: dict[str, Any], predictions: Optional[Predictions] = None) -> Run:
    """The stream's weights and caches as they stand now, with the catalogue and requests of the log's last users.

    A softmax says which item, not how probable a click is; so of the retrieval objective scale and bias are fitted to
    `predictions`, which were made in the stream before their labels were seen.
    """
    log, caches, weights = stream.log, stream.caches, stream.weights
    scale, bias = float(weights.score["log_scale"].exp()), float(weights.score["bias"])
    if stream.settings.objective == "retrieval" and predictions is not None:
        scale, bias = fit_calibration((predictions.logits - bias) / scale, predictions.labels)
    score = ScoreCalibration(scale, bias)
    model = replace(stream.description, score=score)

    def vectors(cache) -> Optional[np.ndarray]:
        return None if cache is None else cache.vectors.numpy().copy()

    items = Items(_ids(log.items, model.item_id_type), _attributes(log, stream.plan.attributes),
                  cross=vectors(caches.item_cross), cascade=vectors(caches.item_cascade))
    users = None
    if stream.parts.cross or stream.parts.cascade:
        users = Users(_ids(log.users, model.user_id_type), cross=vectors(caches.user_cross),
                      cascade=vectors(caches.user_cascade))
    columns: dict[str, Any] = {}
    for feature in stream.plan.item:
        if feature.source == "item":
            columns[feature.name] = log.items[feature.name] if feature.name in log.items.columns else None
    if stream.parts.rates:
        rows = np.arange(log.items.height)
        columns.update(zip(("item_log_odds", "item_exposures"), caches.item_rates.read(rows)))
    return Run(model=model, user_tensors=weights.user_tower.export_tensors(),
               item_tensors=weights.item_tower.export_tensors(), items=items, item_columns=columns,
               requests=[request_of(stream, row, event) for row, event in _last_users(log)],
               newest_event=log.newest_time, user_vocabularies=stream.user_encoder.vocabularies,
               item_vocabularies=stream.item_encoder.vocabularies, users=users, training=training)


def request_of(stream: Stream, user: int, event: Optional[int] = None) -> dict:
    """The body of a request for a user as the caches stand now, in the context of one event of the log."""
    log, features, context = stream.log, {}, {}
    rates = stream.caches.user_rates.read(np.array([user])) if stream.parts.rates else None
    for feature in stream.plan.user:
        if feature.source == "context":
            if event is not None:
                context[feature.name] = log.context[feature.name][event].item()
        elif feature.source == "user":
            if feature.name == "recent_items":
                value = [_id(text, stream.description.item_id_type)
                         for text in log.items["id"].gather(stream.caches.histories.recent(user)).to_list()]
            elif rates is not None and feature.name in ("user_log_odds", "user_exposures"):
                value = float(rates[feature.name == "user_exposures"][0])
            else:
                value = log.users[feature.name][user]
                value = value.to_list() if isinstance(value, polars.Series) else value
            if value is not None:
                features[feature.name] = value
    body: dict = {"user": {"id": _id(log.users["id"][user], stream.description.user_id_type), "features": features}}
    return {**body, "context": context} if context else body


def _last_users(log: Log) -> list[tuple[int, int]]:
    """The users of the newest events, each with the row of their newest one."""
    users, rows = np.unique(log.user[::-1], return_index=True)
    newest = np.argsort(rows)[:REQUESTS]
    return [(int(users[index]), len(log) - 1 - int(rows[index])) for index in newest]


def _id(text: str, id_type: str) -> Any:
    return int(text) if id_type == "u64" else text


def _ids(table: polars.DataFrame, id_type: str) -> Any:
    return table["id"].cast(polars.UInt64).to_numpy() if id_type == "u64" else table["id"].to_list()


def _attributes(log: Log, names: tuple[str, ...]) -> tuple[Attribute, ...]:
    """The attribute columns; a missing number is 0, a missing word is the word ""."""
    result = []
    for name in names:
        column, offsets = log.items[name], None
        if isinstance(column.dtype, polars.List):
            lengths = column.list.len().fill_null(0).to_numpy().astype(np.int64)
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            column = column.filter(column.list.len().fill_null(0) > 0).explode()
        if column.dtype.is_integer():
            result.append(Attribute(name, "i64", column.fill_null(0).to_numpy(), offsets))
        elif column.dtype.is_numeric():
            result.append(Attribute(name, "f32", column.fill_null(0.0).to_numpy(), offsets))
        else:
            texts = column.fill_null("")
            words = texts.unique().sort().to_list()
            codes = {word: code for code, word in enumerate(words)}
            values = np.array([codes[text] for text in texts.to_list()], dtype=np.uint32)
            result.append(Attribute(name, "code", values, offsets, tuple(words)))
    return tuple(result)
