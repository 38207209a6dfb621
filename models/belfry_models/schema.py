"""What a model is, without a single weight: features, towers and how their results are scored.

Everything here is a frozen dataclass that writes itself as the JSON of `docs/SNAPSHOT.md` and reads it back, refusing
keys that are unknown or missing. Construction validates, so an object that exists is a model that a daemon accepts.

    city = Feature("city", source="user", type="string", encoding=VocabularyEncoding(rows=3))
    recent = Feature("recent_items", source="user", type="id", encoding=HashEncoding(rows=1024, seed=7),
                     multi_valued=True, maximum_values=20)
    hour = Feature("hour", source="context", type="integer", encoding=NumericEncoding((Standardise(12.0, 7.0),)))
    tower = Tower("user_tower.safetensors",
                  inputs=(EmbeddingInput("city", 8), EmbeddingInput("recent_items", 16, pooling="mean"),
                          NumericInput("hour"), VectorInput("cross", 32)),
                  layers=(DenseLayer("layers.0", 57, 64, "relu", cycles=1), DenseLayer("layers.1", 64, 32)))
    tower.input_size                    # 57
    model = ModelSpec(space_id="s-1", dimension=32, user_features=(city, recent, hour), user_tower=tower, ...)
    assert ModelSpec.from_json(model.to_json()) == model

`in` and `out` of a dense layer are `input_size` and `output_size` in Python, since `in` is a keyword.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Mapping, Optional, Tuple, Union

from .errors import InvalidInput
from .feature_schema import (ID_TYPES, IDENTIFIER, ITEM_SOURCES, USER_SOURCES, BucketiseEncoding, Clip, Encoding, Feature,
                             HashEncoding, Log1p, NumericEncoding, Standardise, Transform, VocabularyEncoding, is_integer,
                             is_number, require, take_keys)

__all__ = ["BucketiseEncoding", "Clip", "Decays", "DenseLayer", "EmbeddingInput", "Encoding", "Feature", "HashEncoding",
           "Input", "Layer", "LayerNorm", "Log1p", "ModelSpec", "Normalisation", "NumericEncoding", "NumericInput",
           "ScoreCalibration", "Standardise", "Tower", "Transform", "VectorInput", "VocabularyEncoding"]

ACTIVATIONS = ("identity", "relu", "leaky_relu", "tanh", "sigmoid", "silu", "gelu")


@dataclass(frozen=True)
class EmbeddingInput:
    feature: str
    dimension: int
    pooling: str = "mean"

    def __post_init__(self) -> None:
        require(is_integer(self.dimension) and self.dimension >= 1, f"embedding of {self.feature!r}: no dimension")
        require(self.pooling in ("mean", "sum"), f"embedding of {self.feature!r}: unknown pooling {self.pooling!r}")

    @property
    def size(self) -> int:
        return self.dimension

    def to_json(self) -> dict:
        return {"kind": "embedding", "feature": self.feature, "dimension": self.dimension, "pooling": self.pooling}


@dataclass(frozen=True)
class NumericInput:
    feature: str

    @property
    def size(self) -> int:
        return 1

    def to_json(self) -> dict:
        return {"kind": "numeric", "feature": self.feature}


@dataclass(frozen=True)
class VectorInput:
    vector: str  # cross: of the other tower's space; cascade: of the ranker's
    dimension: int

    def __post_init__(self) -> None:
        require(self.vector in ("cross", "cascade"), f"unknown vector input {self.vector!r}")
        require(is_integer(self.dimension) and self.dimension >= 1, f"vector {self.vector!r}: no dimension")

    @property
    def size(self) -> int:
        return self.dimension

    def to_json(self) -> dict:
        return {"kind": "vector", "vector": self.vector, "dimension": self.dimension}


Input = Union[EmbeddingInput, NumericInput, VectorInput]


def input_from_json(value: Any) -> Input:
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind == "embedding":
        take_keys(value, "an embedding input", ("kind", "feature", "dimension", "pooling"))
        return EmbeddingInput(value["feature"], value["dimension"], value["pooling"])
    if kind == "numeric":
        take_keys(value, "a numeric input", ("kind", "feature"))
        return NumericInput(value["feature"])
    if kind == "vector":
        take_keys(value, "a vector input", ("kind", "vector", "dimension"))
        return VectorInput(value["vector"], value["dimension"])
    raise InvalidInput(f"unknown input {kind!r}")


@dataclass(frozen=True)
class DenseLayer:
    """z = f(Wx + b), and `cycles` times z = f(W (x * 2 sigmoid(V z + a)) + b)"""

    name: str
    input_size: int
    output_size: int
    activation: str = "identity"
    cycles: int = 0

    def __post_init__(self) -> None:
        for size in (self.input_size, self.output_size):
            require(is_integer(size) and size >= 1, f"layer {self.name!r}: a size is not at least 1")
        require(self.activation in ACTIVATIONS, f"layer {self.name!r}: unknown activation {self.activation!r}")
        require(is_integer(self.cycles) and self.cycles >= 0, f"layer {self.name!r}: cycles is not at least 0")

    def to_json(self) -> dict:
        return {"kind": "dense", "name": self.name, "in": self.input_size, "out": self.output_size,
                "activation": self.activation, "cycles": self.cycles}


@dataclass(frozen=True)
class LayerNorm:
    name: str
    size: int
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        require(is_integer(self.size) and self.size >= 1, f"layer {self.name!r}: the size is not at least 1")
        require(is_number(self.epsilon) and self.epsilon > 0, f"layer {self.name!r}: epsilon is not above 0")

    @property
    def input_size(self) -> int:
        return self.size

    @property
    def output_size(self) -> int:
        return self.size

    def to_json(self) -> dict:
        return {"kind": "layer_norm", "name": self.name, "size": self.size, "epsilon": self.epsilon}


Layer = Union[DenseLayer, LayerNorm]


def layer_from_json(value: Any) -> Layer:
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind == "dense":
        take_keys(value, "a dense layer", ("kind", "name", "in", "out", "activation", "cycles"))
        return DenseLayer(value["name"], value["in"], value["out"], value["activation"], value["cycles"])
    if kind == "layer_norm":
        take_keys(value, "a layer_norm", ("kind", "name", "size", "epsilon"))
        return LayerNorm(value["name"], value["size"], value["epsilon"])
    raise InvalidInput(f"unknown layer {kind!r}")


@dataclass(frozen=True)
class Tower:
    file: str
    inputs: Tuple[Input, ...]
    layers: Tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "layers", tuple(self.layers))
        require(len(self.inputs) > 0 and len(self.layers) > 0, f"tower {self.file!r}: needs inputs and layers")
        fed = [each.feature for each in self.inputs if isinstance(each, EmbeddingInput)]
        require(len(set(fed)) == len(fed), f"tower {self.file!r}: a feature feeds two embeddings")
        names = [layer.name for layer in self.layers]
        require(len(set(names)) == len(names), f"tower {self.file!r}: two layers share a name")
        for name in names:
            require(isinstance(name, str) and name != "" and not name.startswith(("inputs.", "vocabulary.")),
                    f"tower {self.file!r}: layer name {name!r} is empty or taken by inputs and vocabularies")
        size = self.input_size
        for layer in self.layers:
            require(layer.input_size == size,
                    f"tower {self.file!r}: layer {layer.name!r} takes {layer.input_size} numbers and gets {size}")
            size = layer.output_size

    @property
    def input_size(self) -> int:
        return sum(each.size for each in self.inputs)

    @property
    def output_size(self) -> int:
        return self.layers[-1].output_size

    def vector_size(self, vector: str) -> Optional[int]:
        """The length of the `cross` or `cascade` vector that the tower reads; None if it reads none."""
        return next((each.dimension for each in self.inputs
                     if isinstance(each, VectorInput) and each.vector == vector), None)

    def to_json(self) -> dict:
        return {"file": self.file, "inputs": [each.to_json() for each in self.inputs],
                "layers": [layer.to_json() for layer in self.layers]}

    @staticmethod
    def from_json(value: Any) -> "Tower":
        take_keys(value, "a tower", ("file", "inputs", "layers"))
        return Tower(value["file"], tuple(input_from_json(each) for each in value["inputs"]),
                     tuple(layer_from_json(each) for each in value["layers"]))


@dataclass(frozen=True)
class Normalisation:
    """`l2` divides a vector by max(norm, 1e-12); `none` leaves it."""

    user: str = "none"
    item: str = "none"

    def __post_init__(self) -> None:
        for kind in (self.user, self.item):
            require(kind in ("none", "l2"), f"unknown normalisation {kind!r}")

    def to_json(self) -> dict:
        return {"user": self.user, "item": self.item}


@dataclass(frozen=True)
class ScoreCalibration:
    """click probability = sigmoid(score * scale + bias)"""

    scale: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        require(is_number(self.scale) and is_number(self.bias), "score: scale and bias are not finite numbers")

    def to_json(self) -> dict:
        return {"scale": float(self.scale), "bias": float(self.bias)}


@dataclass(frozen=True)
class Decays:
    """Of the exponential moving averages: the cross vectors on either side, the cascade vectors."""

    user_alpha: float = 0.8
    item_alpha: float = 0.8
    beta: float = 0.8

    def __post_init__(self) -> None:
        for value in (self.user_alpha, self.item_alpha, self.beta):
            require(is_number(value) and 0 <= value <= 1, "ema: a decay is not within 0 and 1")

    def to_json(self) -> dict:
        return {"user_alpha": float(self.user_alpha), "item_alpha": float(self.item_alpha), "beta": float(self.beta)}


@dataclass(frozen=True)
class ModelSpec:
    """Both towers and all they share. `to_json` gives the manifest's keys that describe the model, and no others."""

    space_id: str
    dimension: int
    user_features: Tuple[Feature, ...]
    item_features: Tuple[Feature, ...]
    user_tower: Tower
    item_tower: Tower
    item_id_type: str = "u64"
    user_id_type: str = "u64"
    metric: str = "ip"
    normalisation: Normalisation = Normalisation()
    score: ScoreCalibration = ScoreCalibration()
    ema: Decays = Decays()
    cascade_space_id: Optional[str] = None  # with cascade_dimension, if and only if a tower reads cascade vectors
    cascade_dimension: Optional[int] = None

    KEYS: ClassVar[Tuple[str, ...]] = (
        "space_id", "cascade_space_id", "dimension", "cascade_dimension", "metric", "normalisation", "score",
            "item_id_type", "user_id_type", "ema", "features", "towers")

    def __post_init__(self) -> None:
        object.__setattr__(self, "user_features", tuple(self.user_features))
        object.__setattr__(self, "item_features", tuple(self.item_features))
        require(isinstance(self.space_id, str) and IDENTIFIER.fullmatch(self.space_id) is not None,
                f"space_id {self.space_id!r} does not match [A-Za-z0-9_-]{{1,64}}")
        require(is_integer(self.dimension) and self.dimension >= 1, "dimension is not at least 1")
        require(self.metric in ("ip", "l2"), f"unknown metric {self.metric!r}")
        require(self.item_id_type in ID_TYPES, f"unknown item_id_type {self.item_id_type!r}")
        require(self.user_id_type in ID_TYPES, f"unknown user_id_type {self.user_id_type!r}")
        self._validate_side("user", self.user_features, USER_SOURCES, self.user_tower, self.user_id_type)
        self._validate_side("item", self.item_features, ITEM_SOURCES, self.item_tower, self.item_id_type)
        require(self.user_tower.file == "user_tower.safetensors" and self.item_tower.file == "item_tower.safetensors",
                "the towers' files are user_tower.safetensors and item_tower.safetensors")
        self._validate_cascade()

    def _validate_side(self, side: str, features: Tuple[Feature, ...], sources: Tuple[str, ...], tower: Tower,
                       id_type: str) -> None:
        by_name = {feature.name: feature for feature in features}
        require(len(by_name) == len(features), f"{side} features: two share a name")
        for feature in features:
            require(feature.source in sources, f"{side} feature {feature.name!r}: source {feature.source!r}")
            if feature.source in ("user_id", "item_id"):
                fitting = ("id", "integer") if id_type == "u64" else ("id", "string")
                require(feature.type in fitting, f"{side} feature {feature.name!r}: {id_type} ids are not {feature.type!r}")
        identifiers = [feature for feature in features if feature.source in ("user_id", "item_id")]
        require(len(identifiers) <= 1, f"{side} features: more than one takes the id")
        for each in tower.inputs:
            if isinstance(each, VectorInput):
                size = self.dimension if each.vector == "cross" else self.cascade_dimension
                require(each.dimension == size, f"{side} tower: its {each.vector} vector has {each.dimension} numbers, "
                                                f"the model's has {size}")
                continue
            require(each.feature in by_name, f"{side} tower: no feature {each.feature!r}")
            numeric = isinstance(by_name[each.feature].encoding, NumericEncoding)
            require(numeric == isinstance(each, NumericInput),
                    f"{side} tower: the encoding of {each.feature!r} does not fit its input")
        require(tower.output_size == self.dimension,
                f"{side} tower: ends with {tower.output_size} numbers, the dimension is {self.dimension}")

    def _validate_cascade(self) -> None:
        reads = any(tower.vector_size("cascade") is not None for tower in (self.user_tower, self.item_tower))
        require((self.cascade_space_id is not None) == reads and (self.cascade_dimension is not None) == reads,
                "cascade_space_id and cascade_dimension are for models with a tower that reads cascade vectors")
        if reads:
            require(isinstance(self.cascade_space_id, str) and IDENTIFIER.fullmatch(self.cascade_space_id) is not None,
                    f"cascade_space_id {self.cascade_space_id!r} does not match [A-Za-z0-9_-]{{1,64}}")
            require(is_integer(self.cascade_dimension) and self.cascade_dimension >= 1, "cascade_dimension is not at least 1")

    def to_json(self) -> dict:
        return {"space_id": self.space_id, "cascade_space_id": self.cascade_space_id, "dimension": self.dimension,
                "cascade_dimension": self.cascade_dimension, "metric": self.metric,
                "normalisation": self.normalisation.to_json(), "score": self.score.to_json(),
                "item_id_type": self.item_id_type, "user_id_type": self.user_id_type, "ema": self.ema.to_json(),
                "features": {"user": [feature.to_json() for feature in self.user_features],
                             "item": [feature.to_json() for feature in self.item_features]},
                "towers": {"user": self.user_tower.to_json(), "item": self.item_tower.to_json()}}

    @staticmethod
    def from_json(value: Any) -> "ModelSpec":
        take_keys(value, "the model", ModelSpec.KEYS)
        normalisation = take_keys(value["normalisation"], "normalisation", ("user", "item"))
        score = take_keys(value["score"], "score", ("scale", "bias"))
        ema = take_keys(value["ema"], "ema", ("user_alpha", "item_alpha", "beta"))
        features = take_keys(value["features"], "features", ("user", "item"))
        towers = take_keys(value["towers"], "towers", ("user", "item"))
        return ModelSpec(
            space_id=value["space_id"], dimension=value["dimension"],
            user_features=tuple(Feature.from_json(each) for each in features["user"]),
            item_features=tuple(Feature.from_json(each) for each in features["item"]),
            user_tower=Tower.from_json(towers["user"]), item_tower=Tower.from_json(towers["item"]),
            item_id_type=value["item_id_type"], user_id_type=value["user_id_type"], metric=value["metric"],
            normalisation=Normalisation(normalisation["user"], normalisation["item"]),
            score=ScoreCalibration(score["scale"], score["bias"]),
            ema=Decays(ema["user_alpha"], ema["item_alpha"], ema["beta"]),
            cascade_space_id=value["cascade_space_id"], cascade_dimension=value["cascade_dimension"])
