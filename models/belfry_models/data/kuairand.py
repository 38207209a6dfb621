"""KuaiRand-Pure: 1.4 million exposures of 7,583 short videos to 27,285 people (Gao et al., CIKM 2022; CC BY-SA 4.0).

The files are those of KuaiRand-Pure.tar.gz, unpacked anywhere below the directory:

    log_standard_4_08_to_4_21_pure.csv    log_standard_4_22_to_5_08_pure.csv
    user_features_pure.csv                video_features_basic_pure.csv

The two feature tables may also be Parquet files of the same columns. The randomly exposed log is left alone: it is a
different policy. video_features_statistic_pure.csv is left alone too: its counts cover the test period.
"""

from __future__ import annotations

from typing import Optional

import polars

from .log import Log, log_from_frames
from .sources import MissingData, data_directory, find_files

ORIGIN = ("Bring KuaiRand-Pure.tar.gz from https://kuairand.com/ (https://zenodo.org/records/10439422) and unpack it "
          "there, or name its directory with --directory")
LOGS = ("log_standard_4_08_to_4_21_pure.csv", "log_standard_4_22_to_5_08_pure.csv")
FEATURE_TABLES = {"users": ("user_features_pure.csv", "user_features_pure.parquet"),
                  "videos": ("video_features_basic_pure.csv", "video_features_basic_pure.parquet")}
LABELS = ("is_click", "is_like", "long_view")
LOG_COLUMNS = ("user_id", "video_id", "hourmin", "time_ms", "tab")


def read(directory: Optional[str] = None, label: str = "is_click") -> Log:
    """Every exposure of the standard logs; positive = `label` is 1."""
    folder = data_directory(directory, "kuairand-pure")
    paths = find_files(folder, {**{name: (name,) for name in LOGS}, **FEATURE_TABLES}, ORIGIN)
    logs = polars.concat([_read_log(paths[name], label) for name in LOGS])
    users, videos = read_features(paths)
    events = logs.select(polars.col("user_id").alias("user"), polars.col("video_id").alias("item"),
                         (polars.col("time_ms") // 1000).alias("time"), polars.col(label).alias("label"),
                         (polars.col("hourmin") // 100).alias("hour"), polars.col("tab"))
    return log_from_frames("kuairand-pure", users, videos, events, ("hour", "tab"),
                           f"KuaiRand-Pure, standard logs of 2022-04-08 to 2022-05-08, positive = {label}")


def read_features(paths: dict) -> tuple[polars.DataFrame, polars.DataFrame]:
    """The official feature tables. Both say "unknown" in several ways; all of them become null."""
    users = _read_table(paths["users"]).rename({"user_id": "id"})
    one_hot = [name for name in users.columns if name.startswith("onehot_feat")]
    users = users.with_columns(
        *(polars.col(name).cast(polars.Int64) for name in one_hot),
        *(_unknown_to_null(name) for name in ("is_lowactive_period", "is_live_streamer", "is_video_author")))
    videos = _read_table(paths["videos"]).rename({"video_id": "id"}).with_columns(
        polars.col("tag").cast(polars.String).str.split(",").alias("tags"),
        polars.col("upload_dt").cast(polars.String),
        *(polars.col(name).cast(polars.Int64) for name in ("visible_status", "music_type")),
        (polars.col("video_duration") / 1000.0).alias("seconds"))
    return users, videos.drop("tag", "video_duration")


def _unknown_to_null(name: str) -> polars.Expr:
    """-124 stands for unknown in the official table."""
    return polars.when(polars.col(name) >= 0).then(polars.col(name)).alias(name)


def _read_log(path, label: str) -> polars.DataFrame:
    header = polars.read_csv(path, n_rows=0).columns
    wanted = [*LOG_COLUMNS, label]
    absent = [name for name in wanted if name not in header]
    if absent:
        raise MissingData(f"{path}: no column {', '.join(absent)}; it has {', '.join(header)}. {ORIGIN}")
    return polars.read_csv(path, columns=wanted).select(wanted)


def _read_table(path) -> polars.DataFrame:
    return polars.read_parquet(path) if path.suffix == ".parquet" else polars.read_csv(path, infer_schema_length=None)
