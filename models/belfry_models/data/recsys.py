"""RecSys Challenge 2017: job postings shown to members of XING, and what they did with them.

The files as published, tab-separated, below the directory: interactions.csv, users.csv, items.csv. Their headers carry a
long table name before a dot, which is cut off.
"""

from __future__ import annotations

from typing import Optional

import polars

from .log import Log, log_from_frames
from .sources import MissingData, data_directory, find_files

ORIGIN = ("Bring interactions.csv, users.csv and items.csv of the RecSys Challenge 2017 "
          "(http://www.recsyschallenge.com/2017/; its organisers hand the data out), or name their directory with "
          "--directory")
FILES = {name: (f"{name}.csv",) for name in ("interactions", "users", "items")}
COLUMNS = {
    "interactions": ("user_id", "item_id", "interaction_type", "created_at"),
    "users": ("id", "jobroles", "career_level", "discipline_id", "industry_id", "country", "region",
              "experience_n_entries_class", "experience_years_experience", "experience_years_in_current", "edu_degree",
              "edu_fieldofstudies", "wtcj", "premium"),
    "items": ("id", "title", "career_level", "discipline_id", "industry_id", "country", "is_payed", "region",
              "employment", "tags"),
}
LISTS = {"users": ("jobroles", "edu_fieldofstudies"), "items": ("title", "tags")}
POSITIVE_TYPES = (1, 2, 3, 5)  # clicked, bookmarked, applied, noticed by a recruiter; 0 is shown, 4 is deleted


def read(directory: Optional[str] = None) -> Log:
    """Exposures (type 0) and deletions (4) are negative, clicks and everything beyond them positive.

    A posting that was shown and then clicked has two rows, as published: the model sees both.
    """
    paths = find_files(data_directory(directory, "recsys2017"), FILES, ORIGIN)
    interactions, users, items = (_read_table(name, paths[name]) for name in FILES)
    events = interactions.select(
        polars.col("user_id").alias("user"), polars.col("item_id").alias("item"), polars.col("created_at").alias("time"),
        polars.col("interaction_type").is_in(POSITIVE_TYPES).cast(polars.UInt8).alias("label"))
    return log_from_frames("recsys2017", users, items, events, description="RecSys Challenge 2017 (XING), positive = "
                           "clicked, bookmarked, applied or noticed by a recruiter")


def _read_table(name: str, path) -> polars.DataFrame:
    lists = LISTS.get(name, ())
    table = polars.read_csv(path, separator="\t", quote_char=None, null_values=[""], infer_schema_length=None)
    table = table.rename({column: column.rsplit(".", 1)[-1] for column in table.columns})
    absent = [column for column in COLUMNS[name] if column not in table.columns]
    if absent:
        raise MissingData(f"{path}: no column {', '.join(absent)}; it has {', '.join(table.columns)}. {ORIGIN}")
    return table.select(COLUMNS[name]).with_columns(
        polars.col(column).cast(polars.String).str.split(",") for column in lists)
