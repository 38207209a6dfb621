"""`python -m belfry_models random --items N --dimension D --seed S --out SNAPSHOT`: a whole CS3 model and its catalogue
drawn from a seed, for tests of parity and of scale.

No tensor is trivial: biases, gates, layer norms and cached vectors are all drawn. The item vectors are what the item tower
makes of random items, and the users' cross vectors are moving averages of those, so towers, items and users belong
together as in a trained model.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import platform
from typing import Dict, List, Optional, Tuple

import faiss
import numpy
import torch

from . import random_columns, schema
from .catalogue import Items, Users
from .encoding import FeatureEncoder
from .errors import InvalidInput
from .export import add_snapshot_arguments, encode_items, plan_of, report
from .run import identifier_column
from .schema import DenseLayer, EmbeddingInput, LayerNorm, ModelSpec, Normalisation, NumericInput, VectorInput
from .snapshot import SnapshotContents, write_snapshot
from .towers import Tower

NEWEST_EVENT = 1767225600  # 2026-01-01, the day of all random models: they know no events
MIXED_ACTIVATIONS = ("relu", "leaky_relu", "tanh", "silu", "gelu", "sigmoid")
# Options that change how a model is served, and not the space that its vectors live in.
SERVING_OPTIONS = ("factory", "ef_construction", "effort", "recall_floor", "golden", "users_dtype")
CANDIDATES = 300  # requests drawn for golden.jsonl and warmup.jsonl


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--items", required=True, type=int, metavar="N")
    parser.add_argument("--dimension", required=True, type=int, metavar="D", help="of user and item vectors")
    parser.add_argument("--seed", required=True, type=int, metavar="S")
    parser.add_argument("--users", type=int, default=1000, metavar="N", help="users with cached vectors (%(default)s)")
    parser.add_argument("--layers", default="128,64", help="hidden layers of both towers (%(default)s)")
    parser.add_argument("--cycles", type=int, default=1, metavar="K", help="of every dense layer; 0 for plain ones (%(default)s)")
    parser.add_argument("--activation", default="relu", choices=(*schema.ACTIVATIONS, "mixed"),
                        help="of the hidden layers; mixed takes another for each (%(default)s)")
    parser.add_argument("--layer-norm", action="store_true", help="a layer norm after every hidden layer")
    parser.add_argument("--no-cross", action="store_true", help="no cross vectors")
    parser.add_argument("--no-cascade", action="store_true", help="no cascade vectors")
    parser.add_argument("--cascade-dimension", type=int, default=16, metavar="H", help="(%(default)s)")
    parser.add_argument("--metric", choices=("ip", "l2"), default="ip", help="(%(default)s)")
    parser.add_argument("--normalise", action="store_true", help="divide user and item vectors by their norm")
    parser.add_argument("--item-ids", choices=("u64", "string"), default="u64", help="(%(default)s)")
    parser.add_argument("--user-ids", choices=("u64", "string"), default="string", help="(%(default)s)")
    add_snapshot_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    report(arguments.out, write_snapshot(arguments.out, draw_contents(arguments), plan_of(arguments)))


def draw_contents(arguments: argparse.Namespace) -> SnapshotContents:
    model = describe_model(arguments)
    # One generator for each thing drawn: more items do not change the towers.
    streams = [numpy.random.default_rng([arguments.seed, stream]) for stream in range(5)]
    users, items = arguments.users, arguments.items
    user_tower = draw_tower(model.user_tower, model.user_features, model.normalisation.user, 2 * arguments.seed)
    item_tower = draw_tower(model.item_tower, model.item_features, model.normalisation.item, 2 * arguments.seed + 1)

    columns = random_columns.draw_item_columns(items, streams[0])
    c_v = None if arguments.no_cross else draw_item_cross(items, model.dimension, streams[1])
    s_v = None if arguments.no_cascade else draw_cascade(items, model.cascade_dimension, streams[1])
    catalogue = Items(random_columns.draw_item_ids(items, model.item_id_type),
                      random_columns.draw_attributes(columns, streams[2]), c_v, s_v)
    encoder = FeatureEncoder(model.item_features, random_columns.ITEM_VOCABULARIES)
    encoded = encoder.encode_columns({**columns, "item_id": identifier_column(catalogue)})
    vectors = encode_items(item_tower, encoded, c_v, s_v)

    user_ids = random_columns.draw_user_ids(users, model.user_id_type)
    c_u = None if arguments.no_cross else draw_cross(users, vectors, streams[3])
    s_u = None if arguments.no_cascade else draw_cascade(users, model.cascade_dimension, streams[3])
    known = None
    if users > 0 and (c_u is not None or s_u is not None):
        known = Users(user_ids, c_u, s_u).rounded(arguments.users_dtype)
    requests = random_columns.draw_requests(CANDIDATES, user_ids, catalogue.ids, streams[4])
    training = {"command": describe_command(arguments), "seed": arguments.seed, "source": "random", "versions": versions()}
    return SnapshotContents(model, user_tower.export_tensors(), item_tower.export_tensors(), catalogue, vectors, requests,
                            NEWEST_EVENT, random_columns.USER_VOCABULARIES, random_columns.ITEM_VOCABULARIES, known,
                            training, arguments.golden)


def describe_model(arguments: argparse.Namespace) -> ModelSpec:
    if arguments.items < 1 or arguments.dimension < 1 or arguments.users < 0 or arguments.seed < 0:
        raise InvalidInput("items and dimension are at least 1, users and seed at least 0")
    try:
        hidden = [int(size) for size in arguments.layers.split(",")] if arguments.layers else []
    except ValueError as error:
        raise InvalidInput(f"--layers {arguments.layers!r}: sizes separated by commas are wanted") from error
    cascade = None if arguments.no_cascade else arguments.cascade_dimension
    vectors: List[schema.Input] = [] if arguments.no_cross else [VectorInput("cross", arguments.dimension)]
    vectors += [] if cascade is None else [VectorInput("cascade", cascade)]

    def tower(file: str, features: Tuple[schema.Feature, ...]) -> schema.Tower:
        inputs = (*(input_of(feature) for feature in features), *vectors)
        return schema.Tower(file, inputs, describe_layers(sum(each.size for each in inputs), hidden, arguments))

    normalisation = "l2" if arguments.normalise else "none"
    space = hashlib.sha256(describe_command(arguments, SERVING_OPTIONS).encode("utf-8")).hexdigest()[:12]
    return ModelSpec(
        space_id=f"random-{space}", dimension=arguments.dimension, user_features=random_columns.USER_FEATURES,
        item_features=random_columns.ITEM_FEATURES,
        user_tower=tower("user_tower.safetensors", random_columns.USER_FEATURES),
        item_tower=tower("item_tower.safetensors", random_columns.ITEM_FEATURES),
        item_id_type=arguments.item_ids, user_id_type=arguments.user_ids, metric=arguments.metric,
        normalisation=Normalisation(normalisation, normalisation), score=schema.ScoreCalibration(1.25, -2.5),
        ema=schema.Decays(0.8, 0.98, 0.8), cascade_space_id=None if cascade is None else f"ranker-{space}",
        cascade_dimension=cascade)


def describe_layers(size: int, hidden: List[int], arguments: argparse.Namespace) -> List[schema.Layer]:
    layers: List[schema.Layer] = []
    for place, width in enumerate([*hidden, arguments.dimension]):
        last = place == len(hidden)
        activation = arguments.activation
        if activation == "mixed":
            activation = MIXED_ACTIVATIONS[place % len(MIXED_ACTIVATIONS)]
        layers.append(DenseLayer(f"layers.{len(layers)}", size, width, "identity" if last else activation, arguments.cycles))
        if arguments.layer_norm and not last:
            layers.append(LayerNorm(f"layers.{len(layers)}", width))
        size = width
    return layers


def input_of(feature: schema.Feature) -> schema.Input:
    if isinstance(feature.encoding, schema.NumericEncoding):
        return NumericInput(feature.name)
    return EmbeddingInput(feature.name, random_columns.EMBEDDING_DIMENSIONS.get(feature.name, 8),
                          "sum" if feature.name in random_columns.SUM_POOLED else "mean")


def draw_tower(description: schema.Tower, features: Tuple[schema.Feature, ...], normalisation: str, seed: int) -> Tower:
    """A tower of which no parameter is at its initial value, while what passes through it keeps its size."""
    tower = Tower(description, features, normalisation, seed=seed, embedding_deviation=0.5)
    generator = torch.Generator().manual_seed(seed + 2**32)
    with torch.no_grad():
        for each, table in zip(tower.embedded, tower.tables):
            table.mul_(random_columns.EMBEDDING_SCALES.get(each.feature, 1.0))
        for layer, module in zip(description.layers, tower.layers):
            module.bias.normal_(0, 0.1, generator=generator)
            if isinstance(layer, LayerNorm):
                module.weight.normal_(1, 0.15, generator=generator)
            elif module.gate is not None:
                # V z + a within about 2 of 0: gates that matter and do not saturate.
                module.gate.weight.normal_(0, 0.7 / math.sqrt(layer.output_size), generator=generator)
                module.gate.bias.normal_(0, 0.4, generator=generator)
    return tower


def draw_cross(count: int, vectors: numpy.ndarray, generator: numpy.random.Generator) -> numpy.ndarray:
    """c_u after three positives each: c <- 0.8 c + 0.2 v, from zeros."""
    cross = numpy.zeros((count, vectors.shape[1]), dtype=numpy.float32)
    for _ in range(3):
        cross = numpy.float32(0.8) * cross + numpy.float32(0.2) * vectors[generator.integers(0, len(vectors), count)]
    return cross


def draw_item_cross(count: int, size: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """c_v: averages of user vectors, which differ mostly in a few directions."""
    factors = generator.normal(0, 1, (8, size)) / math.sqrt(8)
    return (0.5 * generator.normal(0, 1, (count, 8)) @ factors + generator.normal(0, 0.1, (count, size))).astype(numpy.float32)


def draw_cascade(count: int, size: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """s_u or s_v: averages of what a ranker's hidden layer puts out, positive for the most part."""
    return numpy.abs(generator.normal(0.2, 0.4, (count, size))).astype(numpy.float32)


def describe_command(arguments: argparse.Namespace, without: Tuple[str, ...] = ()) -> str:
    """The options, in a form that does not depend on where the snapshot is written."""
    skipped = ("out", "run", "subcommand", *without)
    options = {name: value for name, value in sorted(vars(arguments).items()) if name not in skipped}
    return "random " + " ".join(f"--{name.replace('_', '-')}={value}" for name, value in options.items())


def versions() -> Dict[str, Optional[str]]:
    return {"python": platform.python_version(), "torch": str(torch.__version__), "faiss": faiss.__version__,
            "numpy": numpy.__version__}
