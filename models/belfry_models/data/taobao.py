"""TaobaoAd: 26 million exposures of display advertisements on Taobao in eight days of May 2017 (Ali_Display_Ad_Click).

The files as published, below the directory: raw_sample.csv, ad_feature.csv, user_profile.csv. behavior_log.csv, 700
million rows of browsing, is not read.
"""

from __future__ import annotations

from typing import Optional

import polars

from .log import Log, log_from_frames
from .sources import MissingData, data_directory, find_files

ORIGIN = ("Bring raw_sample.csv, ad_feature.csv and user_profile.csv from "
          "https://tianchi.aliyun.com/dataset/56 (an account is needed), or name their directory with --directory")
FILES = {name: (f"{name}.csv",) for name in ("raw_sample", "ad_feature", "user_profile")}
COLUMNS = {
    "raw_sample": ("user", "time_stamp", "adgroup_id", "pid", "clk"),
    "ad_feature": ("adgroup_id", "cate_id", "campaign_id", "customer", "brand", "price"),
    "user_profile": ("userid", "cms_segid", "cms_group_id", "final_gender_code", "age_level", "pvalue_level",
                     "shopping_level", "occupation", "new_user_class_level"),
}


def read(directory: Optional[str] = None) -> Log:
    """Every exposure; positive = clicked."""
    paths = find_files(data_directory(directory, "taobaoad"), FILES, ORIGIN)
    samples, ads, users = (_read_table(name, paths[name]) for name in FILES)
    # Seconds since 1970, UTC; the shop's day is Beijing's.
    events = samples.select("user", polars.col("adgroup_id").alias("item"), polars.col("time_stamp").alias("time"),
                            polars.col("clk").alias("label"), polars.col("pid").alias("slot"),
                            ((polars.col("time_stamp") + 8 * 3600) // 3600 % 24).alias("hour"))
    return log_from_frames("taobaoad", users.rename({"userid": "id"}), ads.rename({"adgroup_id": "id"}), events,
                           ("slot", "hour"), "TaobaoAd, display advertisements of 2017-05-05 to 2017-05-13, "
                           "positive = clicked")


def _read_table(name: str, path) -> polars.DataFrame:
    # "NULL" stands for no brand; the last header of user_profile.csv ends in a space.
    table = polars.read_csv(path, null_values=["NULL", ""], infer_schema_length=None)
    table = table.rename({column: column.strip() for column in table.columns})
    absent = [column for column in COLUMNS[name] if column not in table.columns]
    if absent:
        raise MissingData(f"{path}: no column {', '.join(absent)}; it has {', '.join(table.columns)}. {ORIGIN}")
    # Cast by name, not by what the values look like: a column of a small extract can be empty.
    types = {"pid": polars.String, "price": polars.Float64}
    return table.select(polars.col(column).cast(types.get(column, polars.Int64)) for column in COLUMNS[name])
