"""Replies of `/v1/retrieve`, as rows or columns, and what they are worth.

    reply = decode_reply(body)
    reply.ids, reply.scores
    recall([reply.ids, ...], [truth, ...], k=100)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Callable, List, Sequence

import numpy


class BadReply(ValueError):
    """A body that is no reply, and why."""


@dataclass(frozen=True)
class Reply:
    ids: List[int]
    scores: List[float]


def decode_reply(body: bytes) -> Reply:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise BadReply(f"no JSON: {error}") from error
    if not isinstance(value, dict) or ("items" in value) == ("ids" in value):
        raise BadReply("neither items nor ids, or both")
    if value.get("degraded"):
        raise BadReply(f"degraded: {value['degraded']}")
    if "items" in value:
        ids, scores = [each["id"] for each in value["items"]], [each["score"] for each in value["items"]]
    else:
        ids, scores = value["ids"], value.get("scores")
        if not isinstance(scores, list) or len(scores) != len(ids):
            raise BadReply(f"{len(ids)} ids without as many scores")
    return Reply([number_of(each) for each in ids], checked_scores(scores))


def number_of(id: Any) -> int:
    if not isinstance(id, str) or not id.isascii() or not id.isdigit():
        raise BadReply(f"the id {id!r} is no number as a text")
    return int(id)


def checked_scores(scores: Sequence[Any]) -> List[float]:
    if not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in scores):
        raise BadReply("a score is no number")
    if any(earlier < later for earlier, later in zip(scores, scores[1:])):
        raise BadReply("the scores are not sorted")
    return [float(each) for each in scores]


def recall(found: Sequence[Sequence[int]], truth: Sequence[Sequence[int]], k: int) -> float:
    """The share of the true top k that was found, over all requests."""
    if len(found) != len(truth) or not found:
        raise ValueError(f"{len(found)} answers to {len(truth)} requests")
    hits = sum(len(set(ids) & {int(each) for each in top[:k]}) for ids, top in zip(found, truth))
    return hits / (k * len(found))


def smallest_sufficient(measure: Callable[[int], float], wanted: float, low: int, high: int, step: int) -> int:
    """The smallest of low, low + step, ... high whose measure reaches `wanted`, by bisection; the measure ascends.

    Raises ValueError if not even the last one does.
    """
    last = (high - low) // step
    if measure(low + last * step) < wanted:
        raise ValueError(f"{wanted} is not reached even with {low + last * step}")
    first = 0
    while first < last:
        middle = (first + last) // 2
        if measure(low + middle * step) >= wanted:
            last = middle
        else:
            first = middle + 1
    return low + first * step


def largest_score_fault(reply: Reply, rows: Sequence[int], vectors: numpy.ndarray, embedding: numpy.ndarray) -> float:
    """How far any score is from the inner product of the item's vector and the embedding that PyTorch gave."""
    exact = vectors[rows].astype(numpy.float64) @ embedding.astype(numpy.float64)
    return float(numpy.abs(exact - numpy.array(reply.scores)).max())
