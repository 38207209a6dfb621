"""The exact top k, against which every index and the daemon are held.

    rows, scores = find_top(vectors, queries, k=100, metric="ip")     # [queries, min(k, n)], best first, ties by row

Scores are summed in float64 and rounded to float32 once, so that they owe nothing to an order of summation.
"""

from __future__ import annotations

from typing import Optional, Tuple

import numpy

CHUNK_ROWS = 65536  # rows scored at a time: (queries, 65536) float64


def find_top(vectors: numpy.ndarray, queries: numpy.ndarray, k: int, metric: str,
             eligible: Optional[numpy.ndarray] = None) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """`eligible`, if given, has the rows that may be found, ascending."""
    candidates = numpy.arange(len(vectors)) if eligible is None else eligible
    k = min(k, len(candidates))
    queries = numpy.asarray(queries, dtype=numpy.float64)
    best_rows = [numpy.zeros(0, dtype=numpy.int64)] * len(queries)
    best_scores = [numpy.zeros(0, dtype=numpy.float32)] * len(queries)
    for start in range(0, len(candidates), CHUNK_ROWS):
        rows = candidates[start:start + CHUNK_ROWS]
        scores = score_vectors(vectors[rows], queries, metric)
        for query in range(len(queries)):
            # Rows ascend from the part before to this one, which keeps ties in order.
            all_rows = numpy.concatenate([best_rows[query], rows])
            all_scores = numpy.concatenate([best_scores[query], scores[query]])
            kept = order_top(all_rows, all_scores, k)
            best_rows[query], best_scores[query] = all_rows[kept], all_scores[kept]
    return numpy.array(best_rows).reshape(len(queries), k), numpy.array(best_scores).reshape(len(queries), k)


def score_vectors(vectors: numpy.ndarray, queries: numpy.ndarray, metric: str) -> numpy.ndarray:
    """(query, row) float32: the inner products, or minus the squared distances."""
    vectors = vectors.astype(numpy.float64)
    products = queries @ vectors.T
    if metric == "l2":
        products = 2 * products - (queries ** 2).sum(axis=1)[:, None] - (vectors ** 2).sum(axis=1)[None, :]
    return products.astype(numpy.float32)


def order_top(rows: numpy.ndarray, scores: numpy.ndarray, k: int) -> numpy.ndarray:
    """Positions of the k best, best first; of equal scores the lower row."""
    if k == 0:
        return numpy.zeros(0, dtype=numpy.int64)
    positions = numpy.arange(len(scores))
    if len(scores) > k:
        threshold = -numpy.partition(-scores, k - 1)[k - 1]
        positions = numpy.nonzero(scores >= threshold)[0]
    return positions[numpy.lexsort((rows[positions], -scores[positions]))][:k]
