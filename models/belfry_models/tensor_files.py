"""Safetensors files as the snapshot format wants them: finite numbers, and the embedding space in `__metadata__`.

    write_tensors(path, {"ids": numpy.arange(3, dtype=numpy.uint64)}, space_id="s-1")
    tensors = read_tensors(path, space_id="s-1")       # refuses a file of another space
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

import numpy
import safetensors
import safetensors.numpy

from .errors import InvalidInput

Identifiers = Union[numpy.ndarray, Sequence[str]]  # uint64 [n] for "u64", else texts


def write_tensors(path: Path, tensors: Mapping[str, numpy.ndarray], space_id: str) -> None:
    contiguous: Dict[str, numpy.ndarray] = {}
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not numpy.isfinite(tensor).all():
            raise InvalidInput(f"{path.name}: the tensor {name!r} holds a number that is not finite")
        # safetensors writes the memory as it lies, strides or not.
        contiguous[name] = numpy.ascontiguousarray(tensor)
    # Exactly one key: with more, safetensors writes them in an order that changes from run to run.
    safetensors.numpy.save_file(contiguous, str(path), metadata={"space_id": space_id})
    # safetensors makes files that only their owner may read, and a daemon runs as somebody else.
    path.chmod(0o644)


def read_tensors(path: Path, space_id: Optional[str] = None) -> Dict[str, numpy.ndarray]:
    if not path.is_file():
        raise InvalidInput(f"{path}: there is no such file")
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except safetensors.SafetensorError as error:
        raise InvalidInput(f"{path}: {error}") from error
    if space_id is not None and metadata.get("space_id") != space_id:
        raise InvalidInput(f"{path}: of the space {metadata.get('space_id')!r}, not {space_id!r}")
    return tensors


def pack_texts(texts: Sequence[str]) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """UTF-8 bytes U8 [total] and offsets U64 [n + 1]."""
    encoded = [text.encode("utf-8") for text in texts]
    offsets = numpy.zeros(len(encoded) + 1, dtype=numpy.uint64)
    offsets[1:] = numpy.cumsum([len(each) for each in encoded], dtype=numpy.uint64)
    return numpy.frombuffer(b"".join(encoded), dtype=numpy.uint8), offsets


def unpack_texts(content: numpy.ndarray, offsets: numpy.ndarray) -> List[str]:
    raw = content.tobytes()
    bounds = offsets.tolist()
    return [raw[start:stop].decode("utf-8") for start, stop in zip(bounds, bounds[1:])]


def as_identifiers(ids: Iterable[Any]) -> Identifiers:
    """Integers of any container as uint64 [n], texts as a list."""
    array = ids if isinstance(ids, numpy.ndarray) else None
    values = list(ids) if array is None or array.dtype.kind not in "ui" else None
    if values is not None and values and all(isinstance(each, str) for each in values):
        return [str(each) for each in values]
    try:
        array = array if values is None else numpy.array(values, dtype=numpy.uint64 if is_unsigned(values) else None)
    except (OverflowError, ValueError) as error:
        raise InvalidInput(f"ids that are neither texts nor unsigned 64-bit integers: {error}") from error
    if len(array) > 0 and (array.dtype.kind not in "ui" or (array.dtype.kind == "i" and array.min() < 0)):
        raise InvalidInput(f"ids of type {array.dtype} are neither texts nor unsigned integers")
    return array.astype(numpy.uint64)


def is_unsigned(values: Sequence[Any]) -> bool:
    """Asked of Python's integers, since numpy would make floats of those that differ in size by much."""
    return all(isinstance(each, (int, numpy.integer)) and not isinstance(each, bool) and each >= 0 for each in values)


def identifier_tensors(ids: Identifiers, id_type: str) -> Dict[str, numpy.ndarray]:
    """As the file holds them; `ids` as `as_identifiers` makes them."""
    if len(ids) > 0 and isinstance(ids, numpy.ndarray) != (id_type == "u64"):
        raise InvalidInput(f"ids are not of the model's type {id_type!r}")
    if id_type == "u64":
        array = numpy.asarray(ids, dtype=numpy.uint64)
        if len(numpy.unique(array)) != len(array):
            raise InvalidInput("ids are not unique")
        return {"ids": array}
    texts = list(ids)
    if len(set(texts)) != len(texts):
        raise InvalidInput("ids are not unique")
    content, offsets = pack_texts(texts)
    lengths = numpy.diff(offsets)
    if len(texts) > 0 and (lengths.min() < 1 or lengths.max() > 256):
        raise InvalidInput("an id is empty or longer than 256 bytes")
    return {"ids.bytes": content, "ids.offsets": offsets}


def identifiers_from(tensors: Mapping[str, numpy.ndarray], id_type: str, what: str) -> Identifiers:
    names = ("ids",) if id_type == "u64" else ("ids.bytes", "ids.offsets")
    for name in names:
        if name not in tensors:
            raise InvalidInput(f"{what}: the tensor {name!r} is missing")
    return tensors["ids"] if id_type == "u64" else unpack_texts(tensors["ids.bytes"], tensors["ids.offsets"])


def vocabulary_tensors(vocabularies: Mapping[str, Sequence[str]]) -> Dict[str, numpy.ndarray]:
    tensors: Dict[str, numpy.ndarray] = {}
    for name, words in vocabularies.items():
        tensors[f"vocabulary.{name}.bytes"], tensors[f"vocabulary.{name}.offsets"] = pack_texts(words)
    return tensors


def split_vocabularies(tensors: Mapping[str, numpy.ndarray]) -> Tuple[Dict[str, numpy.ndarray], Dict[str, List[str]]]:
    """A tower file's weights and its vocabularies."""
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith("vocabulary.")}
    vocabularies: Dict[str, List[str]] = {}
    for name in tensors:
        if name.startswith("vocabulary.") and name.endswith(".bytes"):
            feature = name[len("vocabulary."):-len(".bytes")]
            vocabularies[feature] = unpack_texts(tensors[name], tensors[f"vocabulary.{feature}.offsets"])
    return weights, vocabularies
