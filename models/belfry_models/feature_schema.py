"""Features and their encodings: the first half of `schema`, which re-exports all of it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Tuple, Union

from .errors import InvalidInput

IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
USER_SOURCES = ("user", "context", "user_id")
ITEM_SOURCES = ("item", "item_id")
FEATURE_TYPES = ("string", "integer", "number", "id")
ID_TYPES = ("u64", "string")


def require(condition: bool, message: str) -> None:
    if not condition:
        raise InvalidInput(message)


def is_integer(value: Any) -> bool:
    """True for integers proper: to Python `True` is an integer too, to the format it is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def take_keys(value: Any, what: str, required: Tuple[str, ...], optional: Tuple[str, ...] = ()) -> Mapping[str, Any]:
    """`value` as an object that has every required key and none but the required and the optional ones."""
    require(isinstance(value, Mapping), f"{what} is not an object")
    for key in required:
        require(key in value, f"{what} lacks the key {key!r}")
    for key in value:
        require(key in required or key in optional, f"{what} has the unknown key {key!r}")
    return value


@dataclass(frozen=True)
class Log1p:
    """sign(x) log(1 + |x|)"""

    def to_json(self) -> dict:
        return {"kind": "log1p"}


@dataclass(frozen=True)
class Standardise:
    """(x - mean) / deviation"""

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        require(is_number(self.mean), "standardise: the mean is not a finite number")
        require(is_number(self.deviation) and self.deviation > 0, "standardise: the deviation is not above 0")

    def to_json(self) -> dict:
        return {"kind": "standardise", "mean": float(self.mean), "deviation": float(self.deviation)}


@dataclass(frozen=True)
class Clip:
    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        require(is_number(self.minimum) and is_number(self.maximum) and self.minimum <= self.maximum,
                "clip: minimum and maximum are not finite numbers in order")

    def to_json(self) -> dict:
        return {"kind": "clip", "minimum": float(self.minimum), "maximum": float(self.maximum)}


Transform = Union[Log1p, Standardise, Clip]


def transform_from_json(value: Any) -> Transform:
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind == "log1p":
        take_keys(value, "a log1p transform", ("kind",))
        return Log1p()
    if kind == "standardise":
        take_keys(value, "a standardise transform", ("kind", "mean", "deviation"))
        return Standardise(value["mean"], value["deviation"])
    if kind == "clip":
        take_keys(value, "a clip transform", ("kind", "minimum", "maximum"))
        return Clip(value["minimum"], value["maximum"])
    raise InvalidInput(f"unknown transform {kind!r}")


@dataclass(frozen=True)
class HashEncoding:
    """row = XXH64(text, seed) mod rows"""

    rows: int
    seed: int = 0

    def __post_init__(self) -> None:
        require(is_integer(self.rows) and self.rows >= 1, "hash: rows is not at least 1")
        require(is_integer(self.seed) and 0 <= self.seed < 2**64, "hash: the seed is not an unsigned 64-bit integer")

    def to_json(self) -> dict:
        return {"kind": "hash", "rows": self.rows, "seed": self.seed}


@dataclass(frozen=True)
class VocabularyEncoding:
    """Word i has row i + 1 and any other word has row 0, so `rows` is the number of words plus one."""

    rows: int

    def __post_init__(self) -> None:
        require(is_integer(self.rows) and self.rows >= 1, "vocabulary: rows is not at least 1")

    def to_json(self) -> dict:
        return {"kind": "vocabulary", "rows": self.rows}


@dataclass(frozen=True)
class BucketiseEncoding:
    """row = how many boundaries are <= the value"""

    boundaries: Tuple[float, ...]

    def __post_init__(self) -> None:
        require(all(is_number(boundary) for boundary in self.boundaries), "bucketise: a boundary is not a finite number")
        object.__setattr__(self, "boundaries", tuple(float(boundary) for boundary in self.boundaries))
        require(all(low < high for low, high in zip(self.boundaries, self.boundaries[1:])),
                "bucketise: the boundaries are not strictly ascending")

    @property
    def rows(self) -> int:
        return len(self.boundaries) + 1

    def to_json(self) -> dict:
        return {"kind": "bucketise", "boundaries": list(self.boundaries)}


@dataclass(frozen=True)
class NumericEncoding:
    """The transforms in order, in float64, then rounded to float32."""

    transforms: Tuple[Transform, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "transforms", tuple(self.transforms))

    def to_json(self) -> dict:
        return {"kind": "numeric", "transforms": [transform.to_json() for transform in self.transforms]}


Encoding = Union[HashEncoding, VocabularyEncoding, BucketiseEncoding, NumericEncoding]


def encoding_from_json(value: Any) -> Encoding:
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind == "hash":
        take_keys(value, "a hash encoding", ("kind", "rows", "seed"))
        return HashEncoding(value["rows"], value["seed"])
    if kind == "vocabulary":
        take_keys(value, "a vocabulary encoding", ("kind", "rows"))
        return VocabularyEncoding(value["rows"])
    if kind == "bucketise":
        take_keys(value, "a bucketise encoding", ("kind", "boundaries"))
        return BucketiseEncoding(tuple(value["boundaries"]))
    if kind == "numeric":
        take_keys(value, "a numeric encoding", ("kind", "transforms"))
        return NumericEncoding(tuple(transform_from_json(each) for each in value["transforms"]))
    raise InvalidInput(f"unknown encoding {kind!r}")


@dataclass(frozen=True)
class Feature:
    name: str
    source: str  # user, context, user_id; item, item_id
    type: str  # string, integer, number, id
    encoding: Encoding
    multi_valued: bool = False
    maximum_values: Optional[int] = None  # set if and only if multi-valued

    def __post_init__(self) -> None:
        # A name becomes part of tensor names, so it may not hold a dot.
        require(isinstance(self.name, str) and IDENTIFIER.fullmatch(self.name) is not None,
                f"feature {self.name!r}: the name does not match [A-Za-z0-9_-]{{1,64}}")
        what = f"feature {self.name!r}"
        require(self.source in USER_SOURCES + ITEM_SOURCES, f"{what}: unknown source {self.source!r}")
        require(self.type in FEATURE_TYPES, f"{what}: unknown type {self.type!r}")
        numbers_only = isinstance(self.encoding, (BucketiseEncoding, NumericEncoding))
        allowed = ("integer", "number") if numbers_only else ("string", "integer", "id")
        require(self.type in allowed, f"{what}: its encoding does not take the type {self.type!r}")
        require(isinstance(self.multi_valued, bool), f"{what}: multi_valued is not true or false")
        if self.multi_valued:
            require(not numbers_only, f"{what}: bucketise and numeric are single-valued")
            require(self.source not in ("user_id", "item_id"), f"{what}: an id has one value")
            require(is_integer(self.maximum_values) and self.maximum_values >= 1,
                    f"{what}: a multi-valued feature needs maximum_values of at least 1")
        else:
            require(self.maximum_values is None, f"{what}: maximum_values is for multi-valued features")

    def to_json(self) -> dict:
        result = {"name": self.name, "source": self.source, "type": self.type, "multi_valued": self.multi_valued}
        if self.multi_valued:
            result["maximum_values"] = self.maximum_values
        result["encoding"] = self.encoding.to_json()
        return result

    @staticmethod
    def from_json(value: Any) -> "Feature":
        keys = ("name", "source", "type", "multi_valued", "encoding")
        take_keys(value, "a feature", keys, ("maximum_values",))
        return Feature(value["name"], value["source"], value["type"], encoding_from_json(value["encoding"]),
                       value["multi_valued"], value.get("maximum_values"))
