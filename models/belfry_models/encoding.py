"""Raw feature values to what a tower reads: table rows in bags, and float32 numbers.

In bulk, whole columns at once; a column is a polars Series (a List one for bags), a list or a numpy array, and null is a
missing value. The trainer encodes its log once and then slices:

    encoder = FeatureEncoder(model.user_features, vocabularies={"city": ["Oslo", "Bergen"]})
    encoded = encoder.encode_columns({"city": ["Oslo", None], "recent_items": [["i9", "i7"], []], "hour": [13, 4]})
    encoded.count                            # 2
    batch = encoded.take(numpy.array([1]))   # or encoded.slice(0, 1): rows again, ready for Tower.forward
    rows, offsets = batch.bags("city")       # int64 tensors, offsets[n] included, as torch's embedding_bag wants them
    values = batch.numbers("hour")           # float32 tensor [n], 0 where missing

Columns stand under the feature's name whatever its source is. One request, by the same definitions:

    encoder.encode_request({"id": "u42", "features": {"city": "Oslo"}}, {"hour": 13})

A missing value is an empty bag or the number 0. A value of the wrong type is an InvalidInput that names the feature.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

import numpy
import polars
import torch
import xxhash

from .errors import InvalidInput
from .schema import (BucketiseEncoding, Clip, Feature, HashEncoding, Log1p, NumericEncoding, Standardise,
                     VocabularyEncoding)

Column = Union[polars.Series, numpy.ndarray, Sequence[Any]]
Vocabularies = Mapping[str, Sequence[str]]


def hash_row(text: str, rows: int, seed: int) -> int:
    """The row of a hashed value: XXH64 of its UTF-8 text, modulo the table's rows."""
    return xxhash.xxh64_intdigest(text.encode("utf-8"), seed) % rows


def transform_numbers(values: numpy.ndarray, encoding: NumericEncoding) -> numpy.ndarray:
    """float64 in, float32 out; the rounding comes last."""
    values = numpy.asarray(values, dtype=numpy.float64)
    for transform in encoding.transforms:
        if isinstance(transform, Log1p):
            values = numpy.sign(values) * numpy.log1p(numpy.abs(values))
        elif isinstance(transform, Standardise):
            values = (values - transform.mean) / transform.deviation
        elif isinstance(transform, Clip):
            values = numpy.clip(values, transform.minimum, transform.maximum)
    with numpy.errstate(over="ignore"):
        return values.astype(numpy.float32)


class Bags:
    """Rows of an embedding table for n records: record i has rows[offsets[i]:offsets[i + 1]]."""

    def __init__(self, rows: numpy.ndarray, offsets: numpy.ndarray):
        self.rows = rows  # int64 [total]
        self.offsets = offsets  # int64 [n + 1]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def slice(self, start: int, stop: int) -> "Bags":
        offsets = self.offsets[start:stop + 1]
        return Bags(self.rows[offsets[0]:offsets[-1]], offsets - offsets[0])

    def take(self, indices: numpy.ndarray) -> "Bags":
        starts = self.offsets[indices]
        lengths = self.offsets[numpy.asarray(indices) + 1] - starts
        offsets = numpy.zeros(len(lengths) + 1, dtype=numpy.int64)
        numpy.cumsum(lengths, out=offsets[1:])
        # Position j of the result is position j - offsets[i] of bag i.
        positions = numpy.arange(offsets[-1]) + numpy.repeat(starts - offsets[:-1], lengths)
        return Bags(self.rows[positions], offsets)


class Numbers:
    """One float32 for each of n records; 0 where the value is missing."""

    def __init__(self, values: numpy.ndarray):
        self.values = values  # float32 [n]

    def __len__(self) -> int:
        return len(self.values)

    def slice(self, start: int, stop: int) -> "Numbers":
        return Numbers(self.values[start:stop])

    def take(self, indices: numpy.ndarray) -> "Numbers":
        return Numbers(self.values[indices])


class EncodedFeatures:
    """Every feature of one side for `count` records."""

    def __init__(self, count: int, columns: Dict[str, Union[Bags, Numbers]]):
        self.count = count
        self.columns = columns

    def slice(self, start: int, stop: int) -> "EncodedFeatures":
        stop = min(stop, self.count)
        return EncodedFeatures(stop - start, {name: column.slice(start, stop) for name, column in self.columns.items()})

    def take(self, indices: numpy.ndarray) -> "EncodedFeatures":
        return EncodedFeatures(len(indices), {name: column.take(indices) for name, column in self.columns.items()})

    def merged(self, other: "EncodedFeatures") -> "EncodedFeatures":
        """These columns and those of `other`, for the same records: say, users' features taken by row and contexts."""
        if self.count != other.count:
            raise InvalidInput(f"{self.count} and {other.count} records cannot be merged")
        return EncodedFeatures(self.count, {**self.columns, **other.columns})

    def bags(self, feature: str, device: Optional[torch.device] = None) -> Tuple[torch.Tensor, torch.Tensor]:
        bags = self.columns[feature]
        return torch.from_numpy(bags.rows).to(device), torch.from_numpy(bags.offsets).to(device)

    def numbers(self, feature: str, device: Optional[torch.device] = None) -> torch.Tensor:
        return torch.from_numpy(self.columns[feature].values).to(device)


def concatenate(parts: Sequence[EncodedFeatures]) -> EncodedFeatures:
    """The records of all parts, one part after the other."""
    columns: Dict[str, Union[Bags, Numbers]] = {}
    for name, first in parts[0].columns.items():
        each = [part.columns[name] for part in parts]
        if isinstance(first, Numbers):
            columns[name] = Numbers(numpy.concatenate([column.values for column in each]))
            continue
        lengths = numpy.concatenate([numpy.diff(column.offsets) for column in each])
        offsets = numpy.zeros(len(lengths) + 1, dtype=numpy.int64)
        numpy.cumsum(lengths, out=offsets[1:])
        columns[name] = Bags(numpy.concatenate([column.rows for column in each]), offsets)
    return EncodedFeatures(sum(part.count for part in parts), columns)


class FeatureEncoder:
    """Encodes the features of one side, user or item. `vocabularies` holds the words of each vocabulary feature, in
    order and without the out-of-vocabulary row."""

    def __init__(self, features: Iterable[Feature], vocabularies: Optional[Vocabularies] = None):
        self.features = tuple(features)
        self.vocabularies: Dict[str, List[str]] = {}
        self._rows_by_word: Dict[str, Dict[str, int]] = {}
        for feature in self.features:
            if isinstance(feature.encoding, VocabularyEncoding):
                self._adopt_vocabulary(feature, (vocabularies or {}).get(feature.name))
        for name in vocabularies or {}:
            if name not in self.vocabularies:
                raise InvalidInput(f"vocabulary {name!r}: no feature of that name has a vocabulary encoding")

    def _adopt_vocabulary(self, feature: Feature, words: Optional[Sequence[str]]) -> None:
        if words is None:
            raise InvalidInput(f"feature {feature.name!r}: its vocabulary is missing")
        rows_by_word = {word: index + 1 for index, word in enumerate(words)}
        if len(words) + 1 != feature.encoding.rows or len(rows_by_word) != len(words):
            raise InvalidInput(f"feature {feature.name!r}: {len(words)} words, {len(rows_by_word)} of them different, "
                               f"do not fill {feature.encoding.rows} rows less one")
        self.vocabularies[feature.name] = list(words)
        self._rows_by_word[feature.name] = rows_by_word

    # In bulk

    def encode_columns(self, columns: Mapping[str, Column]) -> EncodedFeatures:
        """One column for each feature; columns that no feature names are left alone."""
        encoded: Dict[str, Union[Bags, Numbers]] = {}
        for feature in self.features:
            if feature.name not in columns:
                raise InvalidInput(f"feature {feature.name!r}: its column is missing")
            encoded[feature.name] = self._encode_column(feature, columns[feature.name])
        counts = {len(column) for column in encoded.values()}
        if len(counts) > 1:
            raise InvalidInput(f"columns of different lengths: {sorted(counts)}")
        return EncodedFeatures(counts.pop() if counts else 0, encoded)

    def encode_columns_of(self, names: Iterable[str], columns: Mapping[str, Column]) -> EncodedFeatures:
        """Only the named features: for users, contexts and histories that stand in tables of different lengths."""
        wanted = set(names)
        part = FeatureEncoder.__new__(FeatureEncoder)
        part.features = tuple(feature for feature in self.features if feature.name in wanted)
        part.vocabularies, part._rows_by_word = self.vocabularies, self._rows_by_word
        return part.encode_columns(columns)

    def _encode_column(self, feature: Feature, column: Column) -> Union[Bags, Numbers]:
        series = as_series(feature, column)
        if isinstance(feature.encoding, NumericEncoding):
            present = series.is_not_null().to_numpy()
            values = numpy.zeros(len(series), dtype=numpy.float32)
            values[present] = transform_numbers(finite_numbers(feature, series.drop_nulls()), feature.encoding)
            if not numpy.isfinite(values).all():
                raise InvalidInput(f"feature {feature.name!r}: a value leaves the range of float32")
            return Numbers(values)
        if feature.multi_valued:
            series = series.list.head(feature.maximum_values)
            lengths = series.list.len().fill_null(0).to_numpy()
            values = series.filter(series.list.len().fill_null(0) > 0).explode()
            if values.null_count() > 0:
                raise InvalidInput(f"feature {feature.name!r}: a null inside a list")
        else:
            lengths = series.is_not_null().to_numpy()
            values = series.drop_nulls()
        offsets = numpy.zeros(len(series) + 1, dtype=numpy.int64)
        numpy.cumsum(lengths, out=offsets[1:])
        return Bags(self._rows_of(feature, values), offsets)

    def _rows_of(self, feature: Feature, values: polars.Series) -> numpy.ndarray:
        encoding = feature.encoding
        if isinstance(encoding, BucketiseEncoding):
            boundaries = numpy.array(encoding.boundaries, dtype=numpy.float64)
            return numpy.searchsorted(boundaries, finite_numbers(feature, values), side="right").astype(numpy.int64)
        if len(values) == 0:
            return numpy.zeros(0, dtype=numpy.int64)
        texts = values.cast(polars.String)
        unique = texts.unique()
        if isinstance(encoding, HashEncoding):
            rows = [hash_row(text, encoding.rows, encoding.seed) for text in unique]
        else:
            rows_by_word = self._rows_by_word[feature.name]
            rows = [rows_by_word.get(text, 0) for text in unique]
        return texts.replace_strict(unique, polars.Series(rows, dtype=polars.Int64)).to_numpy().astype(numpy.int64)

    # One request

    def encode_request(self, user: Mapping[str, Any], context: Optional[Mapping[str, Any]] = None) -> EncodedFeatures:
        """`user` and `context` as in the body of a `/v1/retrieve` request. Features that the model does not know are
        ignored."""
        sources = {"user": given_object(user.get("features"), "user.features"), "context": given_object(context, "context")}
        encoded: Dict[str, Union[Bags, Numbers]] = {}
        for feature in self.features:
            value = user.get("id") if feature.source == "user_id" else sources[feature.source].get(feature.name)
            encoded[feature.name] = self._encode_value(feature, value)
        return EncodedFeatures(1, encoded)

    def _encode_value(self, feature: Feature, value: Any) -> Union[Bags, Numbers]:
        if isinstance(feature.encoding, NumericEncoding):
            number = 0.0
            if value is not None:
                number = float(transform_numbers(numpy.float64(checked_number(feature, value)), feature.encoding))
                if not numpy.isfinite(number):
                    raise InvalidInput(f"feature {feature.name!r}: {value!r} leaves the range of float32")
            return Numbers(numpy.array([number], dtype=numpy.float32))
        if value is None:
            values = []
        elif feature.multi_valued:
            if not isinstance(value, (list, tuple)):
                raise InvalidInput(f"feature {feature.name!r}: {value!r} is not a list")
            values = value[:feature.maximum_values]
        else:
            values = [value]
        rows = numpy.array([self._row_of(feature, each) for each in values], dtype=numpy.int64)
        return Bags(rows, numpy.array([0, len(rows)], dtype=numpy.int64))

    def _row_of(self, feature: Feature, value: Any) -> int:
        encoding = feature.encoding
        if isinstance(encoding, BucketiseEncoding):
            return int(numpy.searchsorted(encoding.boundaries, checked_number(feature, value), side="right"))
        text = checked_text(feature, value)
        if isinstance(encoding, HashEncoding):
            return hash_row(text, encoding.rows, encoding.seed)
        return self._rows_by_word[feature.name].get(text, 0)


def given_object(value: Any, what: str) -> Mapping[str, Any]:
    """An object of a request, which may be left out."""
    if value is not None and not isinstance(value, Mapping):
        raise InvalidInput(f"{what} is not an object")
    return value or {}


def checked_number(feature: Feature, value: Any) -> float:
    fitting = int if feature.type == "integer" else (int, float)
    if isinstance(value, bool) or not isinstance(value, fitting):
        raise InvalidInput(f"feature {feature.name!r}: {value!r} is not of type {feature.type!r}")
    checked_range(feature, value)
    number = float(value)
    if not numpy.isfinite(number):
        raise InvalidInput(f"feature {feature.name!r}: {value!r} is not finite")
    return number


def checked_text(feature: Feature, value: Any) -> str:
    fitting = {"string": str, "integer": int}.get(feature.type, (str, int))
    if isinstance(value, bool) or not isinstance(value, fitting):
        raise InvalidInput(f"feature {feature.name!r}: {value!r} is not of type {feature.type!r}")
    checked_range(feature, value)
    return str(value)


def checked_range(feature: Feature, value: Any) -> None:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise InvalidInput(f"feature {feature.name!r}: {value!r} does not fit 64 bits")


def finite_numbers(feature: Feature, values: polars.Series) -> numpy.ndarray:
    numbers = values.cast(polars.Float64).to_numpy()
    if not numpy.isfinite(numbers).all():
        raise InvalidInput(f"feature {feature.name!r}: a value is not finite")
    return numbers


def as_series(feature: Feature, column: Column) -> polars.Series:
    """The column with a polars type that fits the feature's."""
    if isinstance(column, (list, tuple)) or (isinstance(column, numpy.ndarray) and column.dtype == object):
        return series_of_values(feature, column)
    series = column if isinstance(column, polars.Series) else polars.Series(column)
    if isinstance(series.dtype, polars.Array):
        series = series.arr.to_list()
    dtype = series.dtype
    if feature.multi_valued:
        if dtype == polars.Null:
            return series.cast(polars.List(polars.String))
        if not isinstance(dtype, polars.List):
            raise InvalidInput(f"feature {feature.name!r}: a column of {dtype} is not a column of lists")
        dtype = dtype.inner
    fitting = {"string": is_text(dtype), "integer": dtype.is_integer(), "number": dtype.is_numeric(),
               "id": is_text(dtype) or dtype.is_integer()}[feature.type]
    if dtype != polars.Null and not fitting:
        raise InvalidInput(f"feature {feature.name!r}: a column of {dtype} is not of type {feature.type!r}")
    return series


def is_text(dtype: polars.DataType) -> bool:
    return isinstance(dtype, (polars.String, polars.Categorical, polars.Enum))


def series_of_values(feature: Feature, values: Sequence[Any]) -> polars.Series:
    """Python values, checked one by one. What is to be hashed or looked up becomes text, as an `id` column may mix
    strings and integers."""
    if isinstance(feature.encoding, (BucketiseEncoding, NumericEncoding)):
        return polars.Series([None if value is None else checked_number(feature, plain(value)) for value in values],
                             dtype=polars.Float64)
    if feature.multi_valued:
        return polars.Series([None if value is None else [checked_text(feature, plain(each)) for each in value]
                              for value in values], dtype=polars.List(polars.String))
    return polars.Series([None if value is None else checked_text(feature, plain(value)) for value in values],
                         dtype=polars.String)


def plain(value: Any) -> Any:
    """numpy's scalars as Python's own."""
    return value.item() if isinstance(value, numpy.generic) else value
