"""Small models and snapshots that several tests share."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any, Dict, List

import numpy

from belfry_models import random_model
from belfry_models.catalogue import Attribute, Items, Users
from belfry_models.run import Run
from belfry_models.schema import (BucketiseEncoding, DenseLayer, EmbeddingInput, Feature, HashEncoding, LayerNorm, ModelSpec,
                                  NumericEncoding, NumericInput, Standardise, Tower, VectorInput, VocabularyEncoding)
from belfry_models.snapshot import SnapshotContents
from belfry_models.towers import Tower as TowerModule

CITY = Feature("city", "user", "string", VocabularyEncoding(3))
RECENT = Feature("recent_items", "user", "id", HashEncoding(64, seed=7), multi_valued=True, maximum_values=3)
AGE = Feature("age", "user", "number", BucketiseEncoding((1.0, 2.0, 3.0)))
HOUR = Feature("hour", "context", "integer", NumericEncoding((Standardise(12.0, 7.0),)))
USER_FEATURES = (CITY, RECENT, AGE, HOUR)
CITIES = ["Oslo", "Tromsø"]
ITEM_ID = Feature("item_id", "item_id", "id", HashEncoding(16, seed=1))
PRICE = Feature("price", "item", "number", NumericEncoding())
DIMENSION = 8


def small_model(**changes: Any) -> ModelSpec:
    user_tower = Tower("user_tower.safetensors",
                       (EmbeddingInput("city", 3), EmbeddingInput("recent_items", 4), EmbeddingInput("age", 2, "sum"),
                        NumericInput("hour"), VectorInput("cross", DIMENSION), VectorInput("cascade", 5)),
                       (DenseLayer("layers.0", 23, 12, "relu", cycles=1), LayerNorm("layers.1", 12),
                        DenseLayer("layers.2", 12, DIMENSION)))
    item_tower = Tower("item_tower.safetensors", (EmbeddingInput("item_id", 6), NumericInput("price"), VectorInput("cross", DIMENSION)),
                       (DenseLayer("layers.0", 15, DIMENSION),))
    fields: Dict[str, Any] = dict(space_id="s-1", dimension=DIMENSION, user_features=USER_FEATURES,
                                  item_features=(ITEM_ID, PRICE), user_tower=user_tower, item_tower=item_tower,
                                  user_id_type="string", cascade_space_id="ranker-1", cascade_dimension=5)
    return ModelSpec(**{**fields, **changes})


def small_run(items: int = 150) -> Run:
    model = small_model()
    draw = numpy.random.default_rng(5)
    user_tower = TowerModule(model.user_tower, model.user_features, seed=1, embedding_deviation=0.5)
    item_tower = TowerModule(model.item_tower, model.item_features, seed=2, embedding_deviation=0.5)
    country = Attribute("country", "code", draw.integers(0, 2, 2 * items), numpy.arange(0, 2 * items + 1, 2), ("NO", "SE"))
    catalogue = Items(numpy.arange(100, 100 + items, dtype=numpy.uint64),
                      (country, Attribute("age_min", "i64", draw.integers(0, 21, items))),
                      cross=draw.normal(0, 1, (items, DIMENSION)).astype(numpy.float32))
    users = Users(["u1", "bruker ø"], cross=draw.normal(0, 1, (2, DIMENSION)).astype(numpy.float32),
                  cascade=draw.normal(0, 1, (2, 5)).astype(numpy.float32))
    requests: List[Dict[str, Any]] = [
        {"user": {"id": "u1", "features": {"city": "Oslo", "recent_items": [100, "101"], "age": 2}}, "context": {"hour": 7}},
        {"user": {"id": "bruker ø", "features": {"city": "Tromsø", "recent_items": [105], "age": 2.5}}, "context": {"hour": 23}}]
    return Run(model, user_tower.export_tensors(), item_tower.export_tensors(), catalogue,
               {"price": draw.normal(0, 1, items)}, requests, 1700000000, {"city": CITIES}, {}, users, {"seed": 5})


def random_arguments(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    random_model.add_arguments(parser)
    given = " ".join(options)
    for option, value in (("--items", "300"), ("--dimension", "16"), ("--seed", "3"), ("--users", "50")):
        if option not in given:
            options += (option, value)
    return parser.parse_args([*options, "--out", "unused"])


def random_contents(*options: str) -> SnapshotContents:
    return random_model.draw_contents(random_arguments(*options))


def file_digests(directory: Path) -> Dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.iterdir())}
