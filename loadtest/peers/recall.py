"""Recall that lets ties count, and scores it is judged by.

A hit counts if its score is no less than the worst score of the truth's first k, whichever of two equal items the truth
names. Scores are sums over float32 vectors, taken in float32 by one function for hits and truth alike: an item has one
score, so it ties with itself.
"""

from __future__ import annotations

import numpy


def score_rows(items: numpy.ndarray, query: numpy.ndarray, rows: numpy.ndarray) -> numpy.ndarray:
    """float32 (rows,): inner products. Each row is summed alone, so its score does not depend on its neighbours."""
    return (items[rows] * query).sum(axis=1, dtype=numpy.float32)


def worst_scores(items: numpy.ndarray, queries: numpy.ndarray, truth: numpy.ndarray, k: int) -> numpy.ndarray:
    """float32 (queries,): what a hit must reach. `truth` is int32 (queries, at least k), best first."""
    if truth.shape[1] < k:
        raise ValueError(f"the truth has {truth.shape[1]} items for a query, and k is {k}")
    return numpy.array([score_rows(items, query, rows[:k]).min() for query, rows in zip(queries, truth)],
                       dtype=numpy.float32)


def share_found(items: numpy.ndarray, query: numpy.ndarray, hits: numpy.ndarray, worst: float, k: int) -> float:
    """The share of k that one query found. A row that comes twice counts once; a negative row is none; only the first k
    hits count."""
    rows = numpy.asarray(hits, dtype=numpy.int64)[:k]
    rows = numpy.unique(rows[rows >= 0])
    if len(rows) == 0:
        return 0.0
    return int((score_rows(items, query, rows) >= worst).sum()) / k
