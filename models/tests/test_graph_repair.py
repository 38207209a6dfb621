"""Graphs whose every row can be reached."""

from __future__ import annotations

import faiss
import numpy
import pytest

from belfry_models.exact_search import find_top
from belfry_models.errors import InvalidInput
from belfry_models.graph_repair import repair_graph
from belfry_models.item_index import IndexPlan, build_index


def unreachable(index: faiss.IndexHNSW) -> list:
    """Rows that no path leads to, row by row and level by level, with nothing of the code under test."""
    hnsw = index.hnsw
    offsets = faiss.vector_to_array(hnsw.offsets)
    links = faiss.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size()).tolist()
    reached = {hnsw.entry_point}
    for level in range(hnsw.max_level, -1, -1):
        waiting = list(reached)
        while waiting:
            row = waiting.pop()
            begin = int(offsets[row])
            for place in range(begin + hnsw.cum_nb_neighbors(level), begin + hnsw.cum_nb_neighbors(level + 1)):
                if links[place] >= 0 and links[place] not in reached:
                    reached.add(links[place])
                    waiting.append(links[place])
    return sorted(set(range(index.ntotal)) - reached)


def clumps(count: int, dimension: int, seed: int) -> numpy.ndarray:
    generator = numpy.random.default_rng(seed)
    centres = generator.standard_normal((count // 50, dimension)) * 10
    return (centres[generator.integers(len(centres), size=count)] + generator.standard_normal((count, dimension))).astype(numpy.float32)


def graph(vectors: numpy.ndarray, links: int) -> faiss.IndexHNSWFlat:
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(vectors.shape[1], links, faiss.METRIC_L2)
    index.hnsw.efConstruction = 40
    index.add(vectors)
    faiss.omp_set_num_threads(threads)
    return index


@pytest.mark.parametrize("links", [2, 3, 4])
def test_every_row_is_reached_afterwards_and_none_is_lost(links):
    vectors = clumps(4000, 8, seed=links)
    index = graph(vectors, links)
    before = unreachable(index)
    assert before, "a graph that needs no repair shows nothing"
    assert repair_graph(index, vectors) >= len(before)
    assert unreachable(index) == []
    again = graph(vectors, links)
    repair_graph(again, vectors)
    assert faiss.serialize_index(index).tobytes() == faiss.serialize_index(again).tobytes()
    assert repair_graph(index, vectors) == 0


def test_a_graph_that_is_whole_stays_as_it_is():
    vectors = numpy.random.default_rng(1).standard_normal((500, 8)).astype(numpy.float32)
    index = graph(vectors, 24)
    assert unreachable(index) == []
    bytes_before = faiss.serialize_index(index).tobytes()
    assert repair_graph(index, vectors) == 0
    assert faiss.serialize_index(index).tobytes() == bytes_before


def test_what_is_exported_is_whole_and_finds_no_less():
    vectors = clumps(3000, 8, seed=3)
    queries = clumps(100, 8, seed=5)
    plan = IndexPlan("HNSW4,Flat", ef_construction=40)
    repaired, plain = build_index(vectors, "l2", plan), graph(vectors, 4)
    assert unreachable(plain) and unreachable(repaired) == []
    truth, _ = find_top(vectors, queries, 10, "l2")
    parameters = faiss.SearchParametersHNSW(efSearch=256)

    def recall(index: faiss.Index) -> float:
        found = index.search(queries, 10, params=parameters)[1]
        return numpy.mean([len(set(row) & set(best)) / 10 for row, best in zip(found, truth)])

    assert recall(repaired) >= recall(plain)


def test_few_and_no_rows():
    for count in (0, 1, 2):
        vectors = numpy.eye(2, dtype=numpy.float32)[:count]
        assert repair_graph(graph(vectors, 2), vectors) == 0


def test_a_graph_without_room_is_refused(monkeypatch):
    vectors = clumps(3000, 8, seed=2)
    index = graph(vectors, 2)
    monkeypatch.setattr("belfry_models.graph_repair.ROUNDS", 0)
    with pytest.raises(InvalidInput, match="choose more links"):
        repair_graph(index, vectors)
