"""What a stream of events leaves behind for the next one: cached vectors, running rates, histories.

All of it is read before a batch is scored and written after. `Caches.reset()` brings back the state before the first
event, zeros everywhere, which is also what a request of an unknown user meets.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Optional

import numpy as np
import torch


@dataclass(frozen=True)
class Places:
    """Where each row of a batch stands among the rows of the same key, in time order."""

    order: np.ndarray  # rows before it with its key
    remaining: np.ndarray  # rows after it with its key


def places_among_equals(keys: np.ndarray) -> Places:
    by_key = np.argsort(keys, kind="stable")
    ordered = keys[by_key]
    first = np.searchsorted(ordered, ordered, side="left")
    last = np.searchsorted(ordered, ordered, side="right")
    positions = np.arange(len(keys))
    order, remaining = np.empty_like(positions), np.empty_like(positions)
    order[by_key] = positions - first
    remaining[by_key] = last - 1 - positions
    return Places(order, remaining)


class AveragedVectors:
    """An exponential moving average per key: vectors [keys, dimension]."""

    def __init__(self, count: int, dimension: int, decay: float):
        self.decay = decay
        self.vectors = torch.zeros(count, dimension)

    def reset(self) -> None:
        self.vectors.zero_()

    def read(self, keys: np.ndarray) -> torch.Tensor:
        return self.vectors[torch.from_numpy(keys)]

    def update(self, keys: np.ndarray, values: torch.Tensor) -> None:
        """Rows in time order. n values x_0 .. x_(n-1) of one key give
        c <- decay^n c + (1 - decay) sum_j decay^(n-1-j) x_j, as if they had come one by one."""
        if len(keys) == 0:
            return
        places = places_among_equals(keys)
        last = places.remaining == 0
        kept = torch.from_numpy(self.decay ** (places.order[last] + 1.0)).float()
        weights = torch.from_numpy((1.0 - self.decay) * self.decay ** places.remaining.astype(np.float64)).float()
        rows = torch.from_numpy(keys[last])
        self.vectors[rows] = self.vectors[rows] * kept.unsqueeze(1)
        self.vectors.index_add_(0, torch.from_numpy(keys), values * weights.unsqueeze(1))


class RunningRates:
    """How often each key's exposures were positive so far, against how often all were."""

    PRIOR_EXPOSURES = 5.0

    def __init__(self, count: int):
        self.exposures = np.zeros(count)
        self.positives = np.zeros(count)
        self.total = np.zeros(2)  # exposures, positives of everybody

    def reset(self) -> None:
        self.exposures[:] = 0.0
        self.positives[:] = 0.0
        self.total[:] = 0.0

    def read(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(log odds of a positive less those of everybody, exposures), shrunk by a few exposures at the mean rate."""
        mean = (self.total[1] + 1.0) / (self.total[0] + 2.0)
        positives = self.positives[keys] + self.PRIOR_EXPOSURES * mean
        negatives = self.exposures[keys] - self.positives[keys] + self.PRIOR_EXPOSURES * (1.0 - mean)
        return np.log(positives / negatives) - np.log(mean / (1.0 - mean)), self.exposures[keys]

    def update(self, keys: np.ndarray, labels: np.ndarray) -> None:
        np.add.at(self.exposures, keys, 1.0)
        np.add.at(self.positives, keys, labels.astype(np.float64))
        self.total += (len(keys), labels.sum())


class Histories:
    """The last positives of each user, at most `length`: a ring of item rows per user."""

    def __init__(self, count: int, length: int):
        self.length = length
        self.items = np.full((count, length), -1, dtype=np.int64)
        self.counts = np.zeros(count, dtype=np.int64)

    def reset(self) -> None:
        self.items[:] = -1
        self.counts[:] = 0

    def read(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Item rows of all users in one array, and offsets [n + 1] into it. The order within a user is the ring's."""
        rows = self.items[users]
        present = rows >= 0
        offsets = np.zeros(len(users) + 1, dtype=np.int64)
        np.cumsum(present.sum(axis=1), out=offsets[1:])
        return rows[present], offsets

    def recent(self, user: int) -> list[int]:
        """One user's item rows, most recent first: the order in which a request states them."""
        count = int(self.counts[user])
        return [int(self.items[user, (count - 1 - back) % self.length]) for back in range(min(count, self.length))]

    def update(self, users: np.ndarray, items: np.ndarray) -> None:
        places = places_among_equals(users)
        # Of more than `length` rows of one user only the last fit; dropping the others keeps the writes apart.
        kept = places.remaining < self.length
        slots = (self.counts[users] + places.order) % self.length
        self.items[users[kept], slots[kept]] = items[kept]
        np.add.at(self.counts, users, 1)


class Caches:
    """All caches of one model. `cross` and `cascade` are pairs, user side and item side, or None."""

    def __init__(self, users: int, items: int, cross: Optional[tuple] = None, cascade: Optional[tuple] = None,
                 rates: bool = False, history_length: int = 0):
        """cross = (dimension, user decay, item decay), cascade = (dimension, decay)."""
        self.user_cross = AveragedVectors(users, cross[0], cross[1]) if cross else None
        self.item_cross = AveragedVectors(items, cross[0], cross[2]) if cross else None
        self.user_cascade = AveragedVectors(users, cascade[0], cascade[1]) if cascade else None
        self.item_cascade = AveragedVectors(items, cascade[0], cascade[1]) if cascade else None
        self.user_rates = RunningRates(users) if rates else None
        self.item_rates = RunningRates(items) if rates else None
        self.histories = Histories(users, history_length) if history_length else None
        self.item_positives = np.zeros(items)  # for the sampling correction of the retrieval objective
        self.reset()

    def reset(self) -> None:
        """The state before the first event of a pass."""
        self.item_positives[:] = 0.0
        for cache in vars(self).values():
            if hasattr(cache, "reset"):
                cache.reset()

    def copy(self) -> "Caches":
        return copy.deepcopy(self)

    def update(self, users: np.ndarray, items: np.ndarray, labels: np.ndarray, user_vectors: torch.Tensor,
               item_vectors: torch.Tensor, ranked: Optional[torch.Tensor]) -> None:
        """What the events of a scored batch leave behind. The vectors are those that were scored, detached; `ranked`
        is the ranker's penultimate layer for each row."""
        positive = np.flatnonzero(labels)
        self.item_positives += np.bincount(items[positive], minlength=len(self.item_positives))
        if self.user_cross is not None:
            chosen = torch.from_numpy(positive)
            self.user_cross.update(users[positive], item_vectors[chosen])
            self.item_cross.update(items[positive], user_vectors[chosen])
        if self.user_cascade is not None:
            self.user_cascade.update(users, ranked)
            self.item_cascade.update(items, ranked)
        if self.user_rates is not None:
            self.user_rates.update(users, labels)
            self.item_rates.update(items, labels)
        if self.histories is not None:
            self.histories.update(users[positive], items[positive])
