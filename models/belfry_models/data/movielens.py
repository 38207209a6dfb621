"""MovieLens-100k: 943 people, 1682 films, 100,000 ratings with their times.

The terms of the data forbid redistribution, so it is fetched on first use and never committed. It lies inside the
wheel of recbole 1.2.1 on PyPI, which is also where its conversion to one table per kind comes from.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import polars

from .log import Log, sort_by_time
from .sources import MissingData, check_sha256, data_directory

ORIGIN = "It is inside the wheel of recbole 1.2.1: pip download --no-deps recbole==1.2.1"
WHEEL = "recbole-1.2.1-py3-none-any.whl"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
FOLDER = "recbole/dataset_example/ml-100k"
FILES_SHA256 = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}
POSITIVE_RATING = 4


def read(directory: str | None = None, fetch: bool = True) -> Log:
    """The log: every rating is an exposure, 4 and 5 are positive."""
    folder = data_directory(directory, "movielens-100k")
    if not all((folder / name).is_file() for name in FILES_SHA256):
        if not fetch:
            raise MissingData(f"{folder}: missing {', '.join(FILES_SHA256)}. {ORIGIN}")
        fetch_into(folder)
    for name, expected in FILES_SHA256.items():
        check_sha256(folder / name, expected)

    users = _table(folder / "ml-100k.user").select(
        polars.col("user_id").alias("id"), polars.col("age").cast(polars.Int64), "gender", "occupation")
    items = _table(folder / "ml-100k.item").select(
        polars.col("item_id").alias("id"),
        polars.col("movie_title").alias("title"),
        # One film (267, "unknown") has no year.
        polars.col("release_year").cast(polars.Int64, strict=False).alias("year"),
        polars.col("class").fill_null("").str.split(" ").alias("genres"))
    ratings = _table(folder / "ml-100k.inter")

    rating = ratings["rating"].cast(polars.Float64).to_numpy()
    # Many ratings share a second; the user's id decides, so that the order is the same on every machine.
    user = _rows(ratings["user_id"], users["id"])
    item = _rows(ratings["item_id"], items["id"])
    seconds = ratings["timestamp"].cast(polars.Float64).to_numpy().astype(np.int64)
    order = np.lexsort((item, user))
    time, user, item, label = sort_by_time(seconds[order], user[order], item[order],
                                           (rating >= POSITIVE_RATING).astype(np.uint8)[order])
    return Log("movielens-100k", users, items, user, item, time, label,
               description="MovieLens-100k, positive = rating >= 4; every rated film counts as exposed")


def fetch_into(folder: Path) -> None:
    """Downloads the wheel with pip and unpacks the three tables."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), "recbole==1.2.1"]
    if subprocess.run(command).returncode != 0:
        raise MissingData(f"{folder}: could not be fetched. {ORIGIN}, then put the wheel there")
    check_sha256(folder / WHEEL, WHEEL_SHA256)
    with zipfile.ZipFile(folder / WHEEL) as wheel:
        for name in FILES_SHA256:
            (folder / name).write_bytes(wheel.read(f"{FOLDER}/{name}"))
    (folder / WHEEL).unlink()


def _table(path: Path) -> polars.DataFrame:
    frame = polars.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
    return frame.rename({name: name.split(":")[0] for name in frame.columns})


def _rows(values: polars.Series, ids: polars.Series) -> np.ndarray:
    row_of = {text: row for row, text in enumerate(ids.to_list())}
    return np.array([row_of[text] for text in values.to_list()], dtype=np.int64)
