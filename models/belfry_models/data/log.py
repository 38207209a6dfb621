"""A log of exposures: who saw what, when, and whether it was positive."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars


@dataclass(frozen=True)
class Split:
    """Row ranges of a time-ordered log. Training ends before validation starts, validation before the test."""

    train: range
    validation: range
    test: range

    @property
    def fit(self) -> range:
        """What the final model learns from: everything before the test."""
        return range(self.train.start, self.validation.stop)


@dataclass
class Log:
    """Events in time order, with the tables they refer to.

    `users` and `items` have a column `id` (text) and one column per raw feature; row i is user or item i.
    `user`, `item`, `time` (seconds since 1970), `label` (0 or 1) and every array in `context` have one entry per event.
    """

    name: str
    users: polars.DataFrame
    items: polars.DataFrame
    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    label: np.ndarray
    context: dict[str, np.ndarray] = field(default_factory=dict)
    # What the label says, how rows were selected, where the files come from: shown with every result.
    description: str = ""
    # Ground truth, only where we made the log: the click probability of each event.
    truth: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.user)
        columns = {"item": self.item, "time": self.time, "label": self.label, **self.context}
        for name, column in columns.items():
            if len(column) != count:
                raise ValueError(f"{self.name}: column {name} has {len(column)} rows, user has {count}")
        if count and np.any(np.diff(self.time) < 0):
            raise ValueError(f"{self.name}: events are not in time order")

    def __len__(self) -> int:
        return len(self.user)

    def split(self, validation: float = 0.1, test: float = 0.2) -> Split:
        """Cuts by time: the last `test` of the rows, and before them `validation`. Never at random."""
        count = len(self)
        test_start = count - int(round(count * test))
        validation_start = test_start - int(round(count * validation))
        # Rows of one instant stay on one side: a cut moves back to the first row of its second.
        test_start = int(np.searchsorted(self.time, self.time[test_start])) if test_start < count else count
        validation_start = min(validation_start, test_start)
        if validation_start < test_start:
            validation_start = int(np.searchsorted(self.time, self.time[validation_start]))
        return Split(range(0, validation_start), range(validation_start, test_start), range(test_start, count))

    def with_shuffled_labels(self, seed: int) -> "Log":
        """The same log with its labels permuted over the whole of it, before any split: nothing is left to learn."""
        label = np.random.default_rng(seed).permutation(self.label)
        return Log(self.name + " (labels shuffled)", self.users, self.items, self.user, self.item, self.time, label,
                   self.context, self.description, None)

    def head(self, count: int) -> "Log":
        """The first `count` events."""
        return Log(self.name, self.users, self.items, self.user[:count], self.item[:count], self.time[:count],
                   self.label[:count], {name: column[:count] for name, column in self.context.items()},
                   self.description, None if self.truth is None else self.truth[:count])

    @property
    def newest_time(self) -> int:
        return int(self.time[-1]) if len(self) else 0


def sort_by_time(time: np.ndarray, *columns: np.ndarray) -> list[np.ndarray]:
    """The columns in time order, `time` first. Rows of the same instant keep the order they were given in."""
    order = np.argsort(time, kind="stable")
    return [time[order], *(column[order] for column in columns)]


def log_from_frames(name: str, users: polars.DataFrame, items: polars.DataFrame, events: polars.DataFrame,
                    context: tuple[str, ...] = (), description: str = "") -> Log:
    """A log from tables as data sets publish them.

    `users` and `items` have an integer or text column `id`; `events` has `user`, `item` (those ids), `time` (seconds),
    `label` and the context columns. Only users and items with an event stay, in the order of their ids; one that its
    table lacks stays too, with null features. Events of one second keep the order of the file.
    """
    tables, rows = [], []
    for key, table in (("user", users), ("item", items)):
        known = table.unique("id", keep="first", maintain_order=True)
        seen = events.select(polars.col(key).alias("id").unique().sort())
        tables.append(seen.join(known, on="id", how="left", maintain_order="left")
                      .with_columns(polars.col("id").cast(polars.String)))
        numbered = seen.with_row_index("row")
        rows.append(events.select(polars.col(key).alias("id")).join(numbered, on="id", how="left",
                                                                    maintain_order="left")["row"].to_numpy())
    columns = [events[column].to_numpy() for column in ("label", *context)]
    time, user, item, label, *contexts = sort_by_time(events["time"].to_numpy().astype(np.int64),
                                                      *(row.astype(np.int64) for row in rows), *columns)
    return Log(name, tables[0], tables[1], user, item, time, label.astype(np.uint8), dict(zip(context, contexts)),
               description)
