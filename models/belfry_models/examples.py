"""`examples`: five people of MovieLens-100k, the films they liked last, and what the snapshot shows them next.

It reads an exported snapshot as the daemon does: a request with the user's features and recent films, the user tower,
exact search over the item vectors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from .data import Log, read_log
from .errors import InvalidInput
from .snapshot import read_snapshot

PEOPLE = 5
LIKED = 8
SHOWN = 10
SEED = 5  # draws the people, among those with enough liked films in the last fifth of the log


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("snapshot", type=Path, metavar="SNAPSHOT", help="exported from a run on movielens-100k")
    parser.add_argument("--directory", help="where MovieLens-100k stands")
    parser.add_argument("--out", type=Path, help="a Markdown file; printed in any case")


def run(arguments: argparse.Namespace) -> None:
    snapshot = read_snapshot(arguments.snapshot)
    training = snapshot.training
    if not training.get("data", "").startswith("MovieLens-100k"):
        raise InvalidInput(f"{arguments.snapshot}: its model was not trained on movielens-100k")
    log = read_log("movielens-100k", arguments.directory)
    oracle = snapshot.oracle()
    titles = dict(zip(log.items["id"].to_list(), describe_films(log)))
    lines = ["# What a model shows to five people of MovieLens-100k", "",
             f"    {training['command']} --out RUN", "    python -m belfry_models export RUN --out SNAPSHOT",
             "    python -m belfry_models examples SNAPSHOT", "",
             f"Model {training['model']}, after the whole log. The people were drawn with seed {SEED} among those with at "
             f"least {LIKED} liked films in the last fifth of the log; films that they had liked are excluded, as a caller "
             "would exclude them. Titles are MovieLens',.", ""]
    for user in draw_people(log):
        liked = log.item[(log.user == user) & (log.label == 1)]
        ids = [log.items["id"][int(row)] for row in liked]
        person = log.users.row(user, named=True)
        request = {"user": {"id": int(person["id"]),
                            "features": {"age": person["age"], "gender": person["gender"],
                                         "occupation": person["occupation"],
                                         "recent_items": [int(each) for each in reversed(ids)][:20]}},
                   "exclude": [int(each) for each in ids], "k": SHOWN}
        shown = [str(each) for each in oracle.answer(request)["top"]["ids"]]
        lines += [f"## User {person['id']}: {person['age']}, {person['gender']}, {person['occupation']}", "",
                  f"| liked last (of {len(ids)}) | shown |", "|---|---|"]
        recent = [titles[each] for each in reversed(ids)][:SHOWN]
        for position in range(SHOWN):
            left = recent[position] if position < len(recent) else ""
            lines.append(f"| {left} | {titles[shown[position]]} |")
        lines.append("")
    text = "\n".join(lines)
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


def describe_films(log: Log) -> list[str]:
    """Title, year and genres of each film."""
    return [f"{title} ({year or '?'}; {', '.join(genres)})"
            for title, year, genres in zip(log.items["title"], log.items["year"], log.items["genres"])]


def draw_people(log: Log) -> list[int]:
    start = log.split().test.start
    late = log.user[start:][log.label[start:] == 1]
    users, counts = np.unique(late, return_counts=True)
    drawn = np.random.default_rng(SEED).choice(users[counts >= LIKED], size=PEOPLE, replace=False)
    return [int(user) for user in np.sort(drawn)]
