"""Random values of every kind a feature can have, drawn by column for items and by request for users."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

import numpy
import polars

from .catalogue import Attribute
from .oracle import plain_ids
from .schema import (BucketiseEncoding, Clip, Feature, HashEncoding, Log1p, NumericEncoding, Standardise,
                     VocabularyEncoding)
from .tensor_files import Identifiers

COUNTRIES = ["NO", "SE", "DK", "FI", "IS", "DE", "FR", "US", "日本", "Österreich"]
DEVICES = ["phone", "tablet", "desktop", "television", "watch", "конзоль"]
SLOTS = ["feed", "banner", "story", "search", "naïve 🏰"]


def words_of(stem: str, count: int) -> List[str]:
    """Words of which some need more than ASCII: hashes and offsets are over UTF-8 bytes."""
    return [f"{stem}é{index}" if index % 7 == 3 else f"{stem}-{index}" for index in range(count)]


USER_VOCABULARIES = {"country": COUNTRIES, "segment": [str(10 * index) for index in range(40)],
                     "interests": words_of("interest", 60), "slot": SLOTS}
ITEM_VOCABULARIES = {"category": words_of("category", 50), "tags": words_of("tag", 80)}

USER_FEATURES = (
    Feature("user_id", "user_id", "id", HashEncoding(4096, seed=11)),
    Feature("country", "user", "string", VocabularyEncoding(len(COUNTRIES) + 1)),
    Feature("device", "user", "string", HashEncoding(64, seed=2**63 + 5)),
    Feature("segment", "user", "integer", VocabularyEncoding(41)),
    Feature("age", "user", "integer", BucketiseEncoding((18, 25, 35, 45, 55, 65))),
    Feature("income", "user", "number", BucketiseEncoding((-0.5, 0.0, 0.25, 1.5))),
    Feature("balance", "user", "number", NumericEncoding((Log1p(), Standardise(0.4, 2.5), Clip(-2.0, 2.0)))),
    Feature("account_days", "user", "integer", NumericEncoding((Log1p(), Standardise(5.0, 1.5)))),
    Feature("activity", "user", "number", NumericEncoding()),
    Feature("recent_items", "user", "id", HashEncoding(8192, seed=7), True, 20),
    Feature("interests", "user", "string", VocabularyEncoding(61), True, 8),
    Feature("shops", "user", "integer", HashEncoding(512, seed=0), True, 12),
    Feature("hour", "context", "integer", NumericEncoding((Standardise(11.5, 6.9), Clip(-1.5, 1.5)))),
    Feature("weekday", "context", "integer", BucketiseEncoding((1, 2, 3, 4, 5, 6))),
    Feature("slot", "context", "string", VocabularyEncoding(len(SLOTS) + 1)),
    Feature("query_terms", "context", "string", HashEncoding(2048, seed=3), True, 6),
)
ITEM_FEATURES = (
    Feature("item_id", "item_id", "id", HashEncoding(8192, seed=7)),
    Feature("category", "item", "string", VocabularyEncoding(51)),
    Feature("advertiser", "item", "integer", HashEncoding(1024, seed=13)),
    Feature("price", "item", "number", NumericEncoding((Log1p(), Standardise(2.5, 1.0)))),
    Feature("quality", "item", "number", BucketiseEncoding((0.1, 0.3, 0.5, 0.7, 0.9))),
    Feature("tags", "item", "string", VocabularyEncoding(81), True, 5),
    Feature("keywords", "item", "integer", HashEncoding(2048, seed=17), True, 6),
)
SUM_POOLED = ("device", "interests", "query_terms", "keywords", "category")
EMBEDDING_DIMENSIONS = {"user_id": 12, "recent_items": 16, "item_id": 16, "category": 16, "tags": 12, "advertiser": 12}

# What tells single items apart counts for less than what they share: without this a catalogue is noise that no index of
# any kind could search.
EMBEDDING_SCALES = {"item_id": 0.25, "keywords": 0.25, "advertiser": 0.5, "tags": 0.5, "recent_items": 0.5, "shops": 0.5}


def draw_item_ids(count: int, id_type: str) -> Identifiers:
    if id_type == "string":
        return [f'annonce/"{row}" é' if row % 50 == 49 else f"i{row}" for row in range(count)]
    # An odd factor permutes the 64-bit numbers: unique ids all over the range, past 2^53 and 2^63 too.
    return numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)


def draw_user_ids(count: int, id_type: str) -> Identifiers:
    if id_type == "string":
        return [f"bruker ø {row}" if row % 50 == 49 else f"u{row}" for row in range(count)]
    return (numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(2654435761)) % numpy.uint64(2**32)


def draw_lists(values: polars.Series, lengths: numpy.ndarray) -> polars.Series:
    """Lists of the given lengths: the first of each run of `maximum` values."""
    maximum = len(values) // len(lengths)
    frame = polars.DataFrame({"values": values.reshape((len(lengths), maximum)).arr.to_list(),
                              "lengths": polars.Series(lengths)})
    return frame.select(polars.col("values").list.head(polars.col("lengths")))["values"]


def draw_item_columns(count: int, generator: numpy.random.Generator) -> Dict[str, polars.Series]:
    """Raw feature columns of `count` items, some values missing; `item_id` follows from the ids."""
    def words(name: str, drawn: numpy.ndarray) -> polars.Series:
        # One word in a vocabulary's length is unknown to it.
        return polars.Series(ITEM_VOCABULARIES[name] + ["unseen"], dtype=polars.String).gather(drawn)

    def missing(series: polars.Series, share: float) -> polars.Series:
        absent = polars.Series(generator.random(count) < share)
        return polars.DataFrame({"value": series, "absent": absent}).select(
            polars.when(~polars.col("absent")).then(polars.col("value")).alias("value"))["value"]

    popularity = generator.zipf(1.3, count) % 5000
    return {
        "category": missing(words("category", generator.integers(0, 51, count)), 0.02),
        "advertiser": missing(polars.Series(popularity.astype(numpy.int64)), 0.02),
        "price": missing(polars.Series(numpy.round(generator.lognormal(2.3, 1.0, count), 2)), 0.05),
        "quality": missing(polars.Series(generator.random(count)), 0.05),
        "tags": draw_lists(words("tags", generator.integers(0, 81, 7 * count)), generator.integers(0, 8, count)),
        "keywords": draw_lists(polars.Series(generator.integers(-100, 3000, 6 * count)), generator.integers(0, 7, count)),
    }


def draw_attributes(columns: Dict[str, polars.Series], generator: numpy.random.Generator) -> List[Attribute]:
    """Every attribute type, single and multi-valued."""
    count = len(columns["price"])
    lengths = generator.integers(0, 4, count)
    offsets = numpy.concatenate([[0], numpy.cumsum(lengths)])
    hours = generator.integers(0, 3, count)
    hour_offsets = numpy.concatenate([[0], numpy.cumsum(hours)])
    advertisers = columns["advertiser"].fill_null(0).to_numpy()
    return [
        Attribute("advertiser", "code", advertisers, words=[f"a{index}" for index in range(5000)]),
        Attribute("country", "code", generator.integers(0, len(COUNTRIES), offsets[-1]), offsets, COUNTRIES),
        Attribute("price", "f32", columns["price"].fill_null(0.0).to_numpy()),
        Attribute("age_min", "i64", generator.choice([0, 13, 16, 18, 21], count)),
        Attribute("start_hours", "i64", generator.integers(0, 24, hour_offsets[-1]), hour_offsets),
        Attribute("bids", "f32", generator.random(hour_offsets[-1]), hour_offsets),
    ]


def draw_requests(count: int, users: Identifiers, items: Identifiers, generator: numpy.random.Generator) -> List[Dict[str, Any]]:
    """Requests of known users with all features, apart from one in twelve here and there."""
    user_ids, item_ids = plain_ids(users), plain_ids(items)
    return [draw_request(index, user_ids, item_ids, generator) for index in range(count)]


def draw_request(index: int, user_ids: List[Any], item_ids: List[Any], generator: numpy.random.Generator) -> Dict[str, Any]:
    def some(values: Sequence[Any], maximum: int) -> List[Any]:
        return [values[position] for position in generator.integers(0, len(values), generator.integers(1, maximum + 1))]

    # Histories hold ids as callers have them: numbers, or their text.
    history = some(item_ids, 25)
    user = {
        "country": one_of(COUNTRIES, generator), "device": one_of(DEVICES, generator),
        "segment": int(generator.integers(0, 45)) * 10, "age": int(generator.integers(13, 80)),
        "income": round(float(generator.normal(0.3, 0.8)), 3), "balance": round(float(generator.normal(0, 40)), 2),
        "account_days": int(generator.integers(0, 4000)), "activity": round(float(generator.normal()), 6),
        "recent_items": [str(each) for each in history] if index % 2 else history,
        "interests": some(USER_VOCABULARIES["interests"], 10), "shops": [int(each) for each in generator.integers(-50, 9000, 5)],
    }
    if index % 5 == 0:
        user["income"] = 0  # an integer where a number stands, on a boundary
    context = {"hour": int(generator.integers(0, 24)), "weekday": int(generator.integers(0, 7)),
               "slot": one_of(SLOTS, generator), "query_terms": some(words_of("term", 500), 8)}
    features = {name: value for name, value in user.items() if generator.random() > 1 / 12}
    context = {name: value for name, value in context.items() if generator.random() > 1 / 12}
    request = {"user": {"features": features}, "context": context}
    if user_ids:
        id = user_ids[int(generator.integers(0, len(user_ids)))]
        # A u64 id may come as a number or as its text.
        request["user"] = {"id": str(id) if index % 3 == 0 else id, "features": features}
    return request


def one_of(values: Sequence[Any], generator: numpy.random.Generator) -> Any:
    return values[int(generator.integers(0, len(values)))]
