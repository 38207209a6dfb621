import math

import numpy
import polars
import pytest
import torch
from small_models import CITIES, RECENT, USER_FEATURES, random_contents

from belfry_models import random_columns
from belfry_models.encoding import FeatureEncoder, concatenate, hash_row, transform_numbers
from belfry_models.errors import InvalidInput
from belfry_models.schema import (BucketiseEncoding, Clip, Feature, HashEncoding, Log1p, NumericEncoding, Standardise,
                                  VocabularyEncoding)

ROWS = 2**64 - 1  # all but the last hash stand as they are


@pytest.mark.parametrize("text, seed, expected", [
    # From the specification of xxHash and its reference implementation.
    ("", 0, 0xEF46DB3751D8E999),
    ("a", 0, 0xD24EC4F1A98C6E5B),
    ("abc", 0, 0x44BC2CF5AD770999),
    ("Nobody inspects the spammish repetition", 0, 0xFBCEA83C8A378BF1),
])
def test_hashes_are_xxh64(text, seed, expected):
    assert hash_row(text, ROWS, seed) == expected


def test_the_seed_counts_and_rows_are_a_remainder():
    assert hash_row("abc", ROWS, 1) != hash_row("abc", ROWS, 0)
    assert hash_row("abc", 1000, 0) == 0x44BC2CF5AD770999 % 1000


def encoder() -> FeatureEncoder:
    return FeatureEncoder(USER_FEATURES, {"city": CITIES})


def test_columns_become_rows_and_numbers():
    encoded = encoder().encode_columns({
        "city": ["Oslo", None, "Bergen", "Tromsø"], "recent_items": [["a", 7, "b", "cut off"], [], None, ["7"]],
        "age": [1, 0.5, None, 3.5], "hour": [12, 19, None, 5]})
    assert encoded.count == 4
    assert encoded.columns["city"].rows.tolist() == [1, 0, 2]
    assert encoded.columns["city"].offsets.tolist() == [0, 1, 1, 2, 3]
    hashed = [hash_row(text, 64, 7) for text in ("a", "7", "b")]
    assert encoded.columns["recent_items"].rows.tolist() == hashed + [hashed[1]]
    assert encoded.columns["recent_items"].offsets.tolist() == [0, 3, 3, 3, 4]
    # A boundary belongs to the bucket above it.
    assert encoded.columns["age"].rows.tolist() == [1, 0, 3]
    assert encoded.columns["hour"].values.tolist() == [0, 1, 0, -1]


def test_batches_are_the_rows_that_were_asked_for():
    encoded = encoder().encode_columns({"city": ["Oslo", None, "Tromsø"], "recent_items": [["a", "b"], [], ["c"]],
                                        "age": [1, 2, 3], "hour": [1, 2, 3]})
    taken = encoded.take(numpy.array([2, 0, 0, 1]))
    assert taken.count == 4
    assert taken.columns["recent_items"].offsets.tolist() == [0, 1, 3, 5, 5]
    assert taken.columns["recent_items"].rows.tolist() == [hash_row(text, 64, 7) for text in "cabab"]
    assert encoded.slice(1, 3).columns["city"].offsets.tolist() == [0, 0, 1]
    joined = concatenate([encoded.slice(0, 1), encoded.slice(1, 3)])
    for name, column in encoded.columns.items():
        for part, values in vars(column).items():
            assert numpy.array_equal(getattr(joined.columns[name], part), values)
    rows, offsets = taken.bags("city")
    assert rows.dtype == offsets.dtype == torch.int64


def test_one_request_is_encoded_like_a_column():
    """Every feature of the random model, request by request and all at once."""
    contents = random_contents()
    encoder = FeatureEncoder(contents.model.user_features, contents.user_vocabularies)
    requests = list(contents.requests[:100])
    one_by_one = concatenate([encoder.encode_request(each["user"], each.get("context")) for each in requests])
    columns = {}
    for feature in contents.model.user_features:
        objects = [each.get("context", {}) if feature.source == "context" else each["user"]["features"] for each in requests]
        columns[feature.name] = [value.get(feature.name) for value in objects]
    columns["user_id"] = [each["user"]["id"] for each in requests]
    at_once = encoder.encode_columns(columns)
    for name, column in at_once.columns.items():
        for part, values in vars(column).items():
            other = getattr(one_by_one.columns[name], part)
            assert other.dtype == values.dtype and numpy.array_equal(other, values), name


@pytest.mark.parametrize("series, expected", [
    (polars.Series([1, 2**64 - 1], dtype=polars.UInt64), ["1", str(2**64 - 1)]),
    (polars.Series([-5, 3], dtype=polars.Int8), ["-5", "3"]),
    (numpy.array([-5, 3]), ["-5", "3"]),
    (polars.Series(["b", "a"]).cast(polars.Categorical), ["b", "a"]),
    (numpy.array(["x", "ÿ"]), ["x", "ÿ"]),
    (numpy.array([3, "ÿ"], dtype=object), ["3", "ÿ"]),
])
def test_ids_of_any_column_type_are_hashed_as_text(series, expected):
    feature = Feature("f", "user", "id", HashEncoding(1000, 3))
    rows = FeatureEncoder([feature]).encode_columns({"f": series}).columns["f"].rows
    assert rows.tolist() == [hash_row(text, 1000, 3) for text in expected]


def test_transforms_are_applied_in_order_in_float64():
    encoding = NumericEncoding((Log1p(), Standardise(1.0, 0.5), Clip(-4.0, 3.0)))
    values = transform_numbers(numpy.array([-9.0, 0.0, math.e - 1, 1e6]), encoding)
    assert values.dtype == numpy.float32
    expected = [-4.0, -2.0, 0.0, 3.0]
    assert values.tolist() == pytest.approx(expected, abs=1e-6)
    # Small numbers keep their digits: log(1 + x) written out would give 1.11e-16 here.
    assert transform_numbers(numpy.array([1e-16]), NumericEncoding((Log1p(),)))[0] == numpy.float32(1e-16)


def test_integers_in_vocabularies_are_decimal_words():
    feature = Feature("segment", "user", "integer", VocabularyEncoding(3))
    encoder = FeatureEncoder([feature], {"segment": ["10", "-2"]})
    assert encoder.encode_columns({"segment": [-2, 10, 3]}).columns["segment"].rows.tolist() == [2, 1, 0]


@pytest.mark.parametrize("features, context, fault", [
    ({"city": 5}, {}, "city"), ({"city": ["Oslo"]}, {}, "city"), ({"recent_items": "a"}, {}, "recent_items"),
    ({"recent_items": ["a", None]}, {}, "recent_items"), ({"recent_items": [1.5]}, {}, "recent_items"),
    ({"recent_items": [2**64]}, {}, "64 bits"), ({"age": "3"}, {}, "age"), ({"age": True}, {}, "age"),
    ({"age": math.inf}, {}, "age"), ({}, {"hour": 3.0}, "hour"), ({}, {"hour": "3"}, "hour"),
])
def test_values_of_the_wrong_type_are_refused_by_name(features, context, fault):
    with pytest.raises(InvalidInput, match=fault):
        encoder().encode_request({"id": "u", "features": features}, context)


def test_columns_of_the_wrong_type_are_refused_by_name():
    for column in ([1.5], polars.Series([1.5]), polars.Series([["a"]])):
        with pytest.raises(InvalidInput, match="city"):
            FeatureEncoder(USER_FEATURES[:1], {"city": CITIES}).encode_columns({"city": column})
    with pytest.raises(InvalidInput, match="missing"):
        encoder().encode_columns({})


def test_missing_and_unknown_features_are_no_error():
    encoded = encoder().encode_request({"features": {"city": None, "height": 3}}, None)
    assert encoded.columns["city"].offsets.tolist() == [0, 0]
    assert encoded.columns["hour"].values.tolist() == [0.0]


def test_vocabularies_must_fill_their_rows():
    for words in (["Oslo"], ["Oslo", "Oslo"], None):
        with pytest.raises(InvalidInput, match="city"):
            FeatureEncoder(USER_FEATURES, None if words is None else {"city": words})


def test_a_million_values_take_seconds_not_minutes():
    values = polars.Series(numpy.random.default_rng(0).integers(0, 50_000, 1_000_000))
    lists = random_columns.draw_lists(values, numpy.random.default_rng(1).integers(0, 5, 200_000))
    encoded = FeatureEncoder([RECENT]).encode_columns({"recent_items": lists})
    assert encoded.count == 200_000


def test_bucketise_needs_no_boundaries():
    feature = Feature("f", "user", "number", BucketiseEncoding(()))
    assert FeatureEncoder([feature]).encode_columns({"f": [1, None]}).columns["f"].rows.tolist() == [0]
