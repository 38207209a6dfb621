"""Items and users as tables: ids, cached vectors, and the items' attributes.

    country = Attribute("country", "code", numpy.array([0, 1, 1]), offsets=numpy.array([0, 1, 3]), words=("NO", "SE"))
    age_min = Attribute("age_min", "i64", numpy.array([18, 0]))
    items = Items(ids=numpy.array([7, 9]), attributes=(country, age_min), cross=c_v, cascade=s_v)
    users = Users(ids=["u1", "u2"], cross=c_u, cascade=s_u)

`country` is multi-valued, as it has offsets: item 7 has NO, item 9 has SE twice. Vectors are float32 [n, length], or None
where the model has none of that kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy

from .errors import InvalidInput
from .feature_schema import IDENTIFIER, require, take_keys
from .schema import ModelSpec
from .tensor_files import Identifiers, as_identifiers, identifier_tensors, identifiers_from

ATTRIBUTE_DTYPES = {"code": numpy.uint32, "f32": numpy.float32, "i64": numpy.int64}


@dataclass(frozen=True, eq=False)
class Attribute:
    name: str
    type: str  # code, f32, i64
    values: numpy.ndarray  # [n], or [total] with offsets
    offsets: Optional[numpy.ndarray] = None  # [n + 1] if multi-valued
    words: Optional[Tuple[str, ...]] = None  # of codes

    def __post_init__(self) -> None:
        what = f"attribute {self.name!r}"
        # Part of a tensor's name, where a dot would start another part.
        require(IDENTIFIER.fullmatch(self.name) is not None, f"{what}: the name does not match [A-Za-z0-9_-]{{1,64}}")
        require(self.type in ATTRIBUTE_DTYPES, f"{what}: unknown type {self.type!r}")
        require((self.words is not None) == (self.type == "code"), f"{what}: words are for codes, and codes need them")
        values = numpy.asarray(self.values)
        if self.type == "code":
            object.__setattr__(self, "words", tuple(self.words))
            require(len(set(self.words)) == len(self.words), f"{what}: a word stands twice")
            require(len(values) == 0 or (0 <= values.min() and values.max() < len(self.words)), f"{what}: a code has no word")
        object.__setattr__(self, "values", values.astype(ATTRIBUTE_DTYPES[self.type]))
        if self.offsets is not None:
            offsets = numpy.asarray(self.offsets).astype(numpy.uint64)
            require(len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(values) and
                    bool((offsets[:-1] <= offsets[1:]).all()), f"{what}: the offsets do not fit the values")
            object.__setattr__(self, "offsets", offsets)

    @property
    def count(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    def to_json(self) -> dict:
        return {"name": self.name, "type": self.type, "multi_valued": self.offsets is not None}


@dataclass(frozen=True, eq=False)
class Items:
    ids: Identifiers
    attributes: Tuple[Attribute, ...] = ()
    cross: Optional[numpy.ndarray] = None  # c_v
    cascade: Optional[numpy.ndarray] = None  # s_v

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", as_identifiers(self.ids))
        object.__setattr__(self, "attributes", tuple(self.attributes))
        names = [attribute.name for attribute in self.attributes]
        require(len(set(names)) == len(names), "items: two attributes share a name")
        for attribute in self.attributes:
            require(attribute.count == self.count, f"attribute {attribute.name!r}: {attribute.count} rows for {self.count} items")

    @property
    def count(self) -> int:
        return len(self.ids)

    def tensors(self, model: ModelSpec) -> Dict[str, numpy.ndarray]:
        """Ids and attributes, as in items.safetensors."""
        tensors = identifier_tensors(self.ids, model.item_id_type)
        for attribute in self.attributes:
            tensors[f"attribute.{attribute.name}"] = attribute.values
            if attribute.offsets is not None:
                tensors[f"attribute.{attribute.name}.offsets"] = attribute.offsets
        return tensors

    def state_tensors(self, model: ModelSpec) -> Dict[str, numpy.ndarray]:
        """The cached vectors that the item tower reads, as in item_state.safetensors."""
        tensors: Dict[str, numpy.ndarray] = {}
        for tensor, vector, array in (("c_v", "cross", self.cross), ("s_v", "cascade", self.cascade)):
            size = model.item_tower.vector_size(vector)
            if size is not None:
                tensors[tensor] = checked_vectors(array, self.count, size, tensor).astype(numpy.float32)
        return tensors

    def words(self) -> Dict[str, List[str]]:
        """The content of attributes.json."""
        return {each.name: list(each.words) for each in self.attributes if each.words is not None}

    @staticmethod
    def from_tensors(model: ModelSpec, tensors: Mapping[str, numpy.ndarray], attributes: Any, words: Mapping[str, Any],
                     state: Mapping[str, numpy.ndarray]) -> "Items":
        read = []
        for each in attributes:
            take_keys(each, "an attribute", ("name", "type", "multi_valued"))
            name = each["name"]
            wanted = [f"attribute.{name}"] + ([f"attribute.{name}.offsets"] if each["multi_valued"] else [])
            for tensor in wanted:
                require(tensor in tensors, f"items.safetensors: the tensor {tensor!r} is missing")
            require(each["type"] != "code" or name in words, f"attributes.json: no words for {name!r}")
            read.append(Attribute(name, each["type"], tensors[wanted[0]],
                                  tensors[wanted[1]] if each["multi_valued"] else None,
                                  tuple(words[name]) if each["type"] == "code" else None))
        return Items(identifiers_from(tensors, model.item_id_type, "items.safetensors"), tuple(read),
                     state.get("c_v"), state.get("s_v"))


@dataclass(frozen=True, eq=False)
class Users:
    ids: Identifiers
    cross: Optional[numpy.ndarray] = None  # c_u
    cascade: Optional[numpy.ndarray] = None  # s_u

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", as_identifiers(self.ids))

    @property
    def count(self) -> int:
        return len(self.ids)

    @property
    def vectors(self) -> List[str]:
        return [name for name, array in (("cross", self.cross), ("cascade", self.cascade)) if array is not None]

    def read_by(self, model: ModelSpec) -> Optional["Users"]:
        """The same users with the vectors that the user tower reads; None if it reads none."""
        cross = self.cross if model.user_tower.vector_size("cross") is not None else None
        cascade = self.cascade if model.user_tower.vector_size("cascade") is not None else None
        return None if cross is None and cascade is None else Users(self.ids, cross, cascade)

    def rounded(self, dtype: str) -> "Users":
        """The same users with their vectors as `float16` or `float32`: the precision that they are served with."""
        def convert(array: Optional[numpy.ndarray]) -> Optional[numpy.ndarray]:
            if array is None:
                return None
            with numpy.errstate(over="ignore"):
                return numpy.asarray(array).astype(dtype)
        return Users(self.ids, convert(self.cross), convert(self.cascade))

    def tensors(self, model: ModelSpec) -> Dict[str, numpy.ndarray]:
        tensors = identifier_tensors(self.ids, model.user_id_type)
        if self.cross is not None:
            tensors["c_u"] = checked_vectors(self.cross, self.count, model.dimension, "c_u")
        if self.cascade is not None:
            require(model.cascade_dimension is not None, "s_u: the model reads no cascade vectors")
            tensors["s_u"] = checked_vectors(self.cascade, self.count, model.cascade_dimension, "s_u")
        return tensors

    @staticmethod
    def from_tensors(model: ModelSpec, tensors: Mapping[str, numpy.ndarray]) -> "Users":
        return Users(identifiers_from(tensors, model.user_id_type, "users.safetensors"), tensors.get("c_u"),
                     tensors.get("s_u"))


def checked_vectors(array: Optional[numpy.ndarray], count: int, size: int, what: str) -> numpy.ndarray:
    if array is None:
        raise InvalidInput(f"{what}: the model reads these vectors and there are none")
    if tuple(array.shape) != (count, size):
        raise InvalidInput(f"{what}: the shape is {list(array.shape)}, not {[count, size]}")
    return array
