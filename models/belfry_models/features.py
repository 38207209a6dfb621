"""Which columns of a log a model reads, and how: one plan per data set.

Vocabularies come from the tables of users and items, which hold attributes and no events, so nothing of the test slice
is in them but the ids themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional, Sequence

import polars

from .data.log import Log
from .schema import (BucketiseEncoding, Feature, HashEncoding, Log1p, NumericEncoding, Standardise, VocabularyEncoding)

# Beyond so many words an id is hashed.
VOCABULARY_LIMIT = 100_000
HASHED_ROWS = 65_536


@dataclass
class FeaturePlan:
    """The features of both sides and the words of their vocabularies."""

    user: list[Feature] = field(default_factory=list)
    item: list[Feature] = field(default_factory=list)
    user_vocabularies: dict[str, list[str]] = field(default_factory=dict)
    item_vocabularies: dict[str, list[str]] = field(default_factory=dict)
    # Item columns shown in replies and filtered on; not read by a tower.
    attributes: tuple[str, ...] = ()

    def add_words(self, name: str, source: str, column: polars.Series, type: str = "string",
                  maximum_values: Optional[int] = None) -> None:
        """A feature of words or ids: with a vocabulary of the column's values, or hashed when there are too many."""
        if isinstance(column.dtype, polars.List):
            column = column.explode()
        words = _words(column)
        if len(words) > VOCABULARY_LIMIT:
            encoding = HashEncoding(HASHED_ROWS, seed=7)
        else:
            encoding = VocabularyEncoding(len(words) + 1)
            self._vocabularies(source)[name] = words
        self._features(source).append(Feature(name, source, type, encoding, maximum_values is not None, maximum_values))

    def add_buckets(self, name: str, source: str, boundaries: Sequence[float], type: str = "integer") -> None:
        self._features(source).append(Feature(name, source, type, BucketiseEncoding(tuple(boundaries))))

    def add_number(self, name: str, source: str, column: polars.Series, logarithm: bool = False,
                   type: str = "number") -> None:
        """A numeric feature brought to mean 0 and deviation 1 over the table."""
        values = column.drop_nulls().cast(polars.Float64)
        values = values.log1p() if logarithm else values
        deviation = values.std() or 1.0
        standardise = Standardise(round(float(values.mean() or 0.0), 6), round(max(float(deviation), 1e-6), 6))
        transforms = (Log1p(), standardise) if logarithm else (standardise,)
        self._features(source).append(Feature(name, source, type, NumericEncoding(transforms)))

    def add_rates(self, side: str) -> None:
        """Of the control `rates`: centred log odds of a positive so far, and how many exposures they rest on."""
        features = self._features(side)
        features.append(Feature(f"{side}_log_odds", side, "number", NumericEncoding()))
        features.append(Feature(f"{side}_exposures", side, "number", NumericEncoding((Log1p(), Standardise(3.0, 1.5)))))

    def _features(self, source: str) -> list[Feature]:
        return self.item if source in ("item", "item_id") else self.user

    def _vocabularies(self, source: str) -> dict[str, list[str]]:
        return self.item_vocabularies if source in ("item", "item_id") else self.user_vocabularies


def plan_features(log: Log, history_length: int = 0, rates: bool = False) -> FeaturePlan:
    """The plan for the log's data set, with what a model's controls add."""
    plan = FeaturePlan()
    plan.add_words("user_id", "user_id", log.users["id"], type="id")
    plan.add_words("item_id", "item_id", log.items["id"], type="id")
    PLANS[log.name.split(" ")[0]](plan, log)
    if history_length:
        plan.add_words("recent_items", "user", log.items["id"], type="id", maximum_values=history_length)
    if rates:
        plan.add_rates("user")
        plan.add_rates("item")
    return plan


def _plan_movielens(plan: FeaturePlan, log: Log) -> None:
    plan.add_buckets("age", "user", (18, 25, 35, 45, 50, 56))
    plan.add_words("gender", "user", log.users["gender"])
    plan.add_words("occupation", "user", log.users["occupation"])
    plan.add_buckets("year", "item", (1940, 1960, 1970, 1980, 1985, 1990, 1993, 1994, 1995, 1996, 1997, 1998))
    plan.add_words("genres", "item", log.items["genres"], maximum_values=6)
    plan.attributes = ("title", "year", "genres")


def _plan_synthetic(plan: FeaturePlan, log: Log) -> None:
    plan.add_buckets("age", "user", (25, 32, 40, 48, 56))
    plan.add_words("country", "user", log.users["country"])
    plan.add_words("segment", "user", log.users["segment"])
    plan.add_number("balance", "user", log.users["balance"], logarithm=True)
    plan.add_buckets("hour", "context", (6, 12, 18))
    for name in ("slot", "device"):
        plan.add_words(name, "context", polars.Series(log.context[name]))
    plan.add_words("category", "item", log.items["category"])
    plan.add_words("advertiser", "item", log.items["advertiser"])
    plan.add_words("countries", "item", log.items["countries"], maximum_values=8)
    plan.add_buckets("age_min", "item", (18, 21, 30))
    plan.add_number("bid", "item", log.items["bid"], logarithm=True)
    plan.attributes = ("title", "category", "advertiser", "countries", "age_min", "bid")


def _plan_kuairand(plan: FeaturePlan, log: Log) -> None:
    for name in ("user_active_degree", "follow_user_num_range", "fans_user_num_range", "friend_user_num_range",
                 "register_days_range"):
        plan.add_words(name, "user", log.users[name])
    for name in ("is_lowactive_period", "is_live_streamer", "is_video_author"):
        plan.add_words(name, "user", log.users[name], type="integer")
    for index in range(18):
        plan.add_words(f"onehot_feat{index}", "user", log.users[f"onehot_feat{index}"], type="integer")
    plan.add_buckets("hour", "context", (6, 9, 12, 15, 18, 21))
    plan.add_words("tab", "context", polars.Series(log.context["tab"]), type="integer")
    for name in ("author_id", "music_id"):
        plan.add_words(name, "item", log.items[name], type="id")
    for name in ("video_type", "upload_type"):
        plan.add_words(name, "item", log.items[name])
    plan.add_words("music_type", "item", log.items["music_type"], type="integer")
    plan.add_words("tags", "item", log.items["tags"], maximum_values=8)
    plan.add_number("seconds", "item", log.items["seconds"], logarithm=True)
    plan.attributes = ("author_id", "video_type", "tags", "seconds")


def _plan_taobao(plan: FeaturePlan, log: Log) -> None:
    for name in ("cms_segid", "cms_group_id", "final_gender_code", "age_level", "pvalue_level", "shopping_level",
                 "occupation", "new_user_class_level"):
        plan.add_words(name, "user", log.users[name], type="integer")
    plan.add_words("slot", "context", polars.Series(log.context["slot"]))
    plan.add_buckets("hour", "context", (6, 9, 12, 15, 18, 21))
    for name in ("cate_id", "campaign_id", "customer", "brand"):
        plan.add_words(name, "item", log.items[name], type="id")
    plan.add_number("price", "item", log.items["price"], logarithm=True)
    plan.attributes = ("cate_id", "customer", "brand", "price")


def _plan_recsys(plan: FeaturePlan, log: Log) -> None:
    for side, table in (("user", log.users), ("item", log.items)):
        for name in ("career_level", "discipline_id", "industry_id", "region"):
            plan.add_words(name, side, table[name], type="integer")
        plan.add_words("country", side, table["country"])
    for name in ("experience_n_entries_class", "experience_years_experience", "experience_years_in_current",
                 "edu_degree", "wtcj", "premium"):
        plan.add_words(name, "user", log.users[name], type="integer")
    plan.add_words("jobroles", "user", log.users["jobroles"], maximum_values=10)
    plan.add_words("edu_fieldofstudies", "user", log.users["edu_fieldofstudies"], maximum_values=5)
    plan.add_words("employment", "item", log.items["employment"], type="integer")
    plan.add_words("title", "item", log.items["title"], maximum_values=10)
    plan.add_words("tags", "item", log.items["tags"], maximum_values=20)
    plan.attributes = ("career_level", "discipline_id", "industry_id", "country")


PLANS = {"movielens-100k": _plan_movielens, "synthetic": _plan_synthetic, "kuairand-pure": _plan_kuairand,
         "taobaoad": _plan_taobao, "recsys2017": _plan_recsys}


def _words(column: polars.Series) -> list[str]:
    """The column's values as text, integers in the order of numbers."""
    values = column.drop_nulls().unique().sort()
    return values.cast(polars.String).to_list()
