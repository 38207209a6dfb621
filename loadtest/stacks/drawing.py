"""People, and a user tower 256-256-128-64 that reads them, drawn from a seed.

    drawing = Drawing(seed=1, item_ids=ids)
    people = drawing.draw_people(1000, generator)
    embeddings = drawing.embed(people)                   # float32 (1000, 64), of length 1
    bodies = drawing.requests(people, user_ids)          # what a caller would send for them

Each person is a point in `LATENTS` dimensions; what the tower reads follows from it: cached vectors are its linear images with
noise, and the values of most features are, of a few drawn ones, those whose own point lies nearest. Rows of the embedding
tables are images of their values' points. So embeddings lie on a curved surface of few dimensions, as those of a trained tower do,
and have meaningful neighbours; a tower of independent weights over independent features would give noise, which no graph can search.
"""

from __future__ import annotations

import pathlib
import sys
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "models"))

from belfry_models.encoding import Bags, EncodedFeatures, Numbers, hash_row, transform_numbers  # noqa: E402
from belfry_models.schema import (BucketiseEncoding, DenseLayer, EmbeddingInput, Feature, HashEncoding, Log1p,  # noqa: E402
                                  NumericEncoding, NumericInput, Standardise, Tower as TowerDescription, VectorInput)
from belfry_models.towers import Tower  # noqa: E402

DIMENSION = 64
CASCADE_DIMENSION = 32
LATENTS = 12
CANDIDATES = 4  # values drawn, of which the nearest is taken
CHUNK_PEOPLE = 16_384

# How much each kind of input counts for; the first layer's columns are scaled so that it does.
WEIGHT_OF_CROSS = 1.0
WEIGHT_OF_CASCADE = 0.7
WEIGHT_OF_TASTE = 0.25  # features that follow from the person
WEIGHT_OF_MOMENT = 0.08  # features that do not: the hour, the slot
# Added to an item's vector, as a share of its length.
ITEM_NOISE = 0.15


@dataclass(frozen=True)
class Column:
    """A feature, the dimension of its embedding (0: a number), and the values that it can have (None: drawn otherwise)."""

    feature: Feature
    dimension: int
    values: Optional[Tuple[Any, ...]] = None
    follows_person: bool = True
    drawn_maximum: int = 1  # values of one request at most

    @property
    def rows(self) -> numpy.ndarray:
        """The row of the embedding table for each of the values, by the daemon's own definitions."""
        encoding = self.feature.encoding
        if isinstance(encoding, BucketiseEncoding):
            return numpy.searchsorted(encoding.boundaries, self.values, side="right").astype(numpy.int64)
        return numpy.array([hash_row(str(value), encoding.rows, encoding.seed) for value in self.values], dtype=numpy.int64)

    @property
    def row_count(self) -> int:
        encoding = self.feature.encoding
        return len(encoding.boundaries) + 1 if isinstance(encoding, BucketiseEncoding) else encoding.rows


def words(stem: str, count: int) -> Tuple[str, ...]:
    return tuple(f"{stem}-{index}" for index in range(count))


def describe_columns(item_ids: Sequence[int]) -> Tuple[Column, ...]:
    """The features of a request. `recent_items` holds ids of the catalogue's first items, as texts."""
    history = tuple(str(each) for each in item_ids[:20_000])
    return (
        Column(Feature("age", "user", "integer", BucketiseEncoding((18, 25, 35, 45, 55, 65, 75))), 8, tuple(range(13, 91))),
        Column(Feature("country", "user", "string", HashEncoding(256, seed=1)), 16, words("country", 60)),
        Column(Feature("city", "user", "string", HashEncoding(16_384, seed=2)), 16, words("city", 5000)),
        Column(Feature("device", "user", "string", HashEncoding(64, seed=3)), 8, words("device", 12)),
        Column(Feature("language", "user", "string", HashEncoding(128, seed=4)), 8, words("language", 30)),
        Column(Feature("segment", "user", "integer", HashEncoding(1024, seed=5)), 16, tuple(range(0, 4000, 10))),
        Column(Feature("recent_items", "user", "id", HashEncoding(65_536, seed=6), True, 20), 32, history, True, 12),
        Column(Feature("interests", "user", "string", HashEncoding(4096, seed=7), True, 8), 32, words("interest", 800), True, 8),
        Column(Feature("account_days", "user", "integer", NumericEncoding((Log1p(), Standardise(5.0, 1.5)))), 0,
               tuple(range(4000)), False),
        Column(Feature("activity", "user", "number", NumericEncoding()), 0,
               tuple(index / 100 for index in range(-300, 300)), False),
        Column(Feature("hour", "context", "integer", BucketiseEncoding(tuple(range(1, 24)))), 8, tuple(range(24)), False),
        Column(Feature("weekday", "context", "integer", BucketiseEncoding(tuple(range(1, 7)))), 6, tuple(range(7)), False),
        Column(Feature("slot", "context", "string", HashEncoding(32, seed=8)), 8, words("slot", 6), False),
    )


def describe_tower(columns: Sequence[Column]) -> TowerDescription:
    inputs: List[Any] = [EmbeddingInput(each.feature.name, each.dimension) if each.dimension else NumericInput(each.feature.name)
                         for each in columns]
    inputs += [VectorInput("cross", DIMENSION), VectorInput("cascade", CASCADE_DIMENSION)]
    return TowerDescription("user_tower.safetensors", tuple(inputs), (
        DenseLayer("layers.0", 256, 256, "relu", cycles=1),
        DenseLayer("layers.1", 256, 128, "relu", cycles=1),
        DenseLayer("layers.2", 128, DIMENSION, "identity", cycles=1)))


@dataclass(frozen=True, eq=False)
class People:
    cross: numpy.ndarray  # float32 (person, 64)
    cascade: numpy.ndarray  # float32 (person, 32)
    chosen: Dict[str, numpy.ndarray]  # int64 (person, maximum): indices of the feature's values
    counts: Dict[str, numpy.ndarray]  # int64 (person): how many of them stand in the request

    def __len__(self) -> int:
        return len(self.cross)

    def slice(self, start: int, stop: int) -> "People":
        return People(self.cross[start:stop], self.cascade[start:stop],
                      {name: each[start:stop] for name, each in self.chosen.items()},
                      {name: each[start:stop] for name, each in self.counts.items()})


class Drawing:
    """The tower, and what people are drawn with. All of it follows from the seed and the first 20,000 item ids."""

    def __init__(self, seed: int, item_ids: Sequence[int]):
        generator = numpy.random.default_rng([seed, 0])
        self.columns = describe_columns(item_ids)
        self.rows = {each.feature.name: each.rows for each in self.columns if each.dimension}
        self.cross_image = generator.normal(0, 1, (LATENTS, DIMENSION)).astype(numpy.float32)
        self.cascade_image = generator.normal(0, 1, (LATENTS, CASCADE_DIMENSION)).astype(numpy.float32)
        tables, self.points = {}, {}
        for column in self.columns:
            if column.dimension == 0:
                continue
            points = generator.normal(0, 1, (column.row_count, LATENTS)).astype(numpy.float32)
            image = generator.normal(0, 1 / numpy.sqrt(LATENTS), (LATENTS, column.dimension))
            noise = generator.normal(0, 0.3, (column.row_count, column.dimension))
            tables[column.feature.name] = (points @ image + noise).astype(numpy.float32)
            # A value's point is its row's, so that two values with one row are alike to the tower and to people.
            self.points[column.feature.name] = points[self.rows[column.feature.name]]
        self.tower = self._draw_tower(seed, tables, generator)

    def _draw_tower(self, seed: int, tables: Dict[str, numpy.ndarray], generator: numpy.random.Generator) -> Tower:
        tower = Tower(describe_tower(self.columns), [each.feature for each in self.columns], "l2", seed=seed).eval()
        sample = self.draw_people(4096, numpy.random.default_rng([seed, 1]))
        with torch.no_grad():
            for each, table in zip(tower.embedded, tower.tables):
                table.copy_(torch.from_numpy(tables[each.feature]))
            for layer in tower.layers:
                outputs, inputs = layer.weight.shape
                layer.bias.copy_(torch.from_numpy(generator.normal(0, 0.1, outputs)))
                # V z + a within about 2 of 0: gates that matter and do not saturate.
                layer.gate.weight.copy_(torch.from_numpy(generator.normal(0, 0.7 / numpy.sqrt(outputs), (inputs, outputs))))
                layer.gate.bias.copy_(torch.from_numpy(generator.normal(0, 0.4, inputs)))
            values = tower.assemble_inputs(self.encode(sample), torch.from_numpy(sample.cross),
                                           torch.from_numpy(sample.cascade))
            first = tower.layers[0]
            first.weight.mul_(torch.from_numpy(self.input_weights()) / values.std(dim=0).clamp_min(1e-3))
            first.bias.sub_(first.weight @ values.mean(dim=0))
            # A trained tower's embeddings have no direction in common; the bias takes away most of what these have.
            for layer in tower.layers:
                values = layer(values)
            tower.layers[-1].bias.sub_(values.mean(dim=0))
        return tower

    def input_weights(self) -> numpy.ndarray:
        """What each of the 256 inputs counts for. float32 (256)"""
        weights: List[float] = []
        for column in self.columns:
            weight = WEIGHT_OF_TASTE if column.follows_person else WEIGHT_OF_MOMENT
            weights += [weight] * max(1, column.dimension)
        weights += [WEIGHT_OF_CROSS] * DIMENSION + [WEIGHT_OF_CASCADE] * CASCADE_DIMENSION
        return numpy.array(weights, dtype=numpy.float32)

    # People

    def draw_people(self, count: int, generator: numpy.random.Generator) -> People:
        person = generator.normal(0, 1, (count, LATENTS)).astype(numpy.float32)
        # A cached cross vector is an average of vectors of length 1, hence shorter than that.
        cross = person @ self.cross_image + generator.normal(0, 0.5, (count, DIMENSION)).astype(numpy.float32)
        cross *= 0.6 / numpy.linalg.norm(cross, axis=1, keepdims=True)
        cascade = numpy.maximum(person @ self.cascade_image / 4 + generator.normal(0.2, 0.2, (count, CASCADE_DIMENSION)), 0)
        chosen, counts = {}, {}
        for column in self.columns:
            name, most = column.feature.name, column.drawn_maximum
            if column.follows_person:
                chosen[name] = self.choose(person, self.points[name], most, generator)
            else:
                chosen[name] = generator.integers(0, len(column.values), (count, most))
            counts[name] = generator.integers(most // 3, most, count, endpoint=True) if most > 1 else numpy.ones(count, numpy.int64)
        return People(cross, cascade.astype(numpy.float32), chosen, counts)

    @staticmethod
    def choose(person: numpy.ndarray, points: numpy.ndarray, most: int, generator: numpy.random.Generator) -> numpy.ndarray:
        """int64 (person, most): each the nearest of a few drawn values."""
        chosen = numpy.empty((len(person), most), dtype=numpy.int64)
        for start in range(0, len(person), CHUNK_PEOPLE):
            part = person[start:start + CHUNK_PEOPLE]
            drawn = generator.integers(0, len(points), (len(part), most, CANDIDATES))
            nearness = numpy.einsum("pl,pmcl->pmc", part, points[drawn])
            best = nearness.argmax(axis=2)[:, :, None]
            chosen[start:start + CHUNK_PEOPLE] = numpy.take_along_axis(drawn, best, axis=2)[:, :, 0]
        return chosen

    # What the tower makes of them

    def encode(self, people: People) -> EncodedFeatures:
        encoded: Dict[str, Any] = {}
        for column in self.columns:
            name = column.feature.name
            chosen, counts = people.chosen[name], people.counts[name]
            if column.dimension == 0:
                values = numpy.array(column.values, dtype=numpy.float64)[chosen[:, 0]]
                encoded[name] = Numbers(transform_numbers(values, column.feature.encoding))
                continue
            is_given = numpy.arange(chosen.shape[1])[None, :] < counts[:, None]
            offsets = numpy.concatenate([[0], numpy.cumsum(counts)]).astype(numpy.int64)
            encoded[name] = Bags(self.rows[name][chosen[is_given]], offsets)
        return EncodedFeatures(len(people), encoded)

    def embed(self, people: People) -> numpy.ndarray:
        """float32 (person, 64), of length 1."""
        parts = []
        with torch.no_grad():
            for start in range(0, len(people), CHUNK_PEOPLE):
                part = people.slice(start, start + CHUNK_PEOPLE)
                parts.append(self.tower(self.encode(part), torch.from_numpy(part.cross), torch.from_numpy(part.cascade)).numpy())
        return numpy.concatenate(parts)

    def requests(self, people: People, user_ids: Sequence[str]) -> List[Dict[str, Any]]:
        """A body of `/v1/retrieve` for each, without k."""
        return [self.request(people, index, user_ids[index]) for index in range(len(people))]

    def request(self, people: People, index: int, user_id: str) -> Dict[str, Any]:
        sources: Dict[str, Dict[str, Any]] = {"user": {}, "context": {}}
        for column in self.columns:
            name = column.feature.name
            given = people.chosen[name][index, :people.counts[name][index]].tolist()
            values = [column.values[each] for each in given]
            sources[column.feature.source][name] = values if column.feature.multi_valued else values[0]
        return {"user": {"id": user_id, "features": sources["user"]}, "context": sources["context"]}


def draw_items(drawing: Drawing, count: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """Item vectors where user embeddings lie: embeddings of drawn people, with noise, of length 1. float32 (item, 64)"""
    vectors = numpy.empty((count, DIMENSION), dtype=numpy.float32)
    for start in range(0, count, CHUNK_PEOPLE):
        stop = min(start + CHUNK_PEOPLE, count)
        part = drawing.embed(drawing.draw_people(stop - start, generator))
        part += generator.normal(0, ITEM_NOISE / numpy.sqrt(DIMENSION), part.shape).astype(numpy.float32)
        vectors[start:stop] = part / numpy.linalg.norm(part, axis=1, keepdims=True)
    return vectors
