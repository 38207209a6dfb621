"""Links the rows of an HNSW graph that no walk comes to.

FAISS prunes the links of each row on its own, and the last one that leads to some other row may be among those it drops: over 20,000
normal vectors a handful of rows ends so. The daemon's check refuses such a graph, because no ef makes up for it.

    repair_graph(index, vectors)     # 5: that many rows got a link
"""

from __future__ import annotations

import faiss
import numpy

from .errors import InvalidInput

CANDIDATES = 64  # rows near an unreachable one that are asked for a slot
ROUNDS = 8  # a link that is replaced may have been the last to lead to another row


class LevelLinks:
    """The links of a graph by level, as views into the graph itself."""

    def __init__(self, index: faiss.IndexHNSW):
        hnsw = index.hnsw
        self.entry_point, self.max_level = hnsw.entry_point, hnsw.max_level
        self.links = faiss.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size())
        self.offsets = faiss.vector_to_array(hnsw.offsets).astype(numpy.int64)[:-1]
        self.ends = faiss.vector_to_array(hnsw.cum_nneighbor_per_level).astype(numpy.int64)

    def slots(self, rows: numpy.ndarray, level: int) -> numpy.ndarray:
        """Where the links of rows lie. (rows, slots of the level)"""
        return self.offsets[rows][:, None] + numpy.arange(self.ends[level], self.ends[level + 1])

    def reached(self) -> numpy.ndarray:
        """Whether a walk can come to a row: from the entry point down the levels, over links alone. (rows)"""
        reached = numpy.zeros(len(self.offsets), dtype=bool)
        reached[self.entry_point] = True
        for level in range(self.max_level, -1, -1):
            rows = numpy.nonzero(reached)[0]
            while rows.size:
                links = numpy.unique(self.links[self.slots(rows, level)])
                links = links[links >= 0]
                rows = links[~reached[links]]
                reached[rows] = True
        return reached


def repair_graph(index: faiss.IndexHNSW, vectors: numpy.ndarray) -> int:
    """Gives every row that no walk comes to a link from a row near it, in a free slot or instead of a link to a row that others lead
    to as well. Returns how many rows got one. The same graph is always repaired in the same way."""
    if len(vectors) == 0:
        return 0
    graph = LevelLinks(index)
    linked = 0
    for _ in range(ROUNDS):
        unreachable = numpy.nonzero(~graph.reached())[0]
        if not unreachable.size:
            return linked
        for row in unreachable:
            linked += link_to(row, index, graph, vectors)
    left = int((~graph.reached()).sum())
    if left:
        raise InvalidInput(f"index: {left} of {len(vectors)} items can be reached over no link of the graph; choose more links than "
                           f"{graph.ends[1]} a row")
    return linked


def link_to(row: int, index: faiss.IndexHNSW, graph: LevelLinks, vectors: numpy.ndarray) -> bool:
    """Whether a row that a walk finds near this one had a place for a link to it."""
    count = min(CANDIDATES, len(vectors))
    found = index.search(vectors[row:row + 1], count, params=faiss.SearchParametersHNSW(efSearch=CANDIDATES))[1][0]
    candidates = found[(found >= 0) & (found != row)]
    slots = graph.slots(candidates, 0)
    free = graph.links[slots] < 0
    if free.any():
        slot = slots[tuple(numpy.argwhere(free)[0])]
    else:
        # The last slot of a row has the farthest of its links, as FAISS writes them.
        leads = numpy.bincount(graph.links[graph.slots(numpy.arange(len(vectors)), 0)].ravel() + 1, minlength=len(vectors) + 1)[1:]
        spare = leads[graph.links[slots[:, -1]]] > 1
        if not spare.any():
            return False
        slot = slots[numpy.argmax(spare), -1]
    graph.links[slot] = row
    return True
