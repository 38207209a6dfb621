import faiss
import numpy
import pytest

from belfry_models.errors import InvalidInput
from belfry_models.exact_search import find_top
from belfry_models.item_index import IndexPlan, build_best_index, build_index, choose_search, measure_recall


def drawn(count: int, dimension: int, seed: int) -> numpy.ndarray:
    """Vectors of unequal norms with a common direction, as towers without normalisation make them."""
    draw = numpy.random.default_rng(seed)
    vectors = draw.normal(0, 1, (count, 8)) @ draw.normal(0, 1, (8, dimension)) + 1.5
    return (vectors * draw.lognormal(0, 0.3, (count, 1))).astype(numpy.float32)


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_the_exact_top_equals_sorting(metric, monkeypatch):
    monkeypatch.setattr("belfry_models.exact_search.CHUNK_ROWS", 37)  # the result must not know of chunks
    draw = numpy.random.default_rng(0)
    vectors = draw.integers(-2, 3, (500, 3)).astype(numpy.float32)  # many ties
    queries = draw.integers(-2, 3, (9, 3)).astype(numpy.float32)
    rows, scores = find_top(vectors, queries, 50, metric)
    for query, found, score in zip(queries, rows, scores):
        exact = vectors @ query if metric == "ip" else -((vectors - query) ** 2).sum(axis=1)
        expected = sorted(range(500), key=lambda row: (-exact[row], row))[:50]
        assert found.tolist() == expected
        assert score.tolist() == exact[expected].tolist()


def test_the_exact_top_agrees_with_faiss():
    vectors, queries = drawn(2000, 16, 1), drawn(10, 16, 2)
    index = faiss.IndexFlatIP(16)
    index.add(vectors)
    expected, rows = index.search(queries, 20)
    found, scores = find_top(vectors, queries, 20, "ip")
    assert numpy.array_equal(found, rows) and numpy.allclose(scores, expected, rtol=1e-5)


def test_fewer_items_than_k_and_only_the_eligible():
    vectors = numpy.eye(4, dtype=numpy.float32)
    rows, _ = find_top(vectors, vectors[:1], 10, "ip")
    assert rows.tolist() == [[0, 1, 2, 3]]
    rows, scores = find_top(vectors, vectors[:2], 10, "ip", numpy.array([1, 3]))
    assert rows.tolist() == [[1, 3], [1, 3]] and scores.tolist() == [[0, 0], [1, 0]]
    assert find_top(vectors, vectors[:2], 10, "ip", numpy.array([], dtype=int))[0].shape == (2, 0)


@pytest.mark.parametrize("factory, kind, holds", [
    ("Flat", "flat", True), ("HNSW16", "hnsw", True), ("HNSW16,Flat", "hnsw", True), ("IVF20,Flat", "ivf_flat", True),
    ("HNSW16,None", "hnsw", False)])
@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_every_factory_reaches_its_recall_and_repeats_its_bytes(factory, kind, holds, metric):
    vectors, queries = drawn(3000, 24, 1), drawn(40, 24, 2)
    plan = IndexPlan(factory, ef_construction=60)
    assert (plan.kind, plan.holds_vectors) == (kind, holds)
    (first, search, recall), (second, _, _) = (build_best_index(vectors, queries, metric, plan) for _ in range(2))
    assert bytes(faiss.serialize_index(first)) == bytes(faiss.serialize_index(second))
    assert first.ntotal == 3000 and first.d == 24
    assert first.metric_type == (faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2)
    assert set(search) == {"flat": set(), "hnsw": {"ef"}, "ivf_flat": {"nprobe"}}[kind]
    assert recall >= 0.95
    if kind != "flat":
        # What a reader finds in the file is what was measured here.
        read = faiss.deserialize_index(faiss.serialize_index(first))
        truth, _ = find_top(vectors, queries, 100, metric)
        assert measure_recall(read, queries, truth, plan, next(iter(search.values()))) == pytest.approx(recall)


@pytest.mark.parametrize("shared_direction, better", [(3.0, True), (0.0, False)])
def test_the_linking_that_suits_the_vectors_is_taken(shared_direction, better):
    normal = numpy.random.default_rng(1).standard_normal
    vectors, queries = (normal((count, 24)).astype(numpy.float32) + numpy.float32(shared_direction) for count in (4000, 40))
    plan = IndexPlan("HNSW16,Flat", ef_construction=60, recall_floor=0.7)
    truth, _ = find_top(vectors, queries, 100, "ip")
    plain, linked = (measure_recall(build_index(vectors, "ip", plan, by), queries, truth, plan, 128) for by in (False, True))
    assert (linked > plain + 0.02) == better and (plain > linked + 0.02) == (not better)
    index, search, recall = build_best_index(vectors, queries, "ip", plan)
    expected = build_index(vectors, "ip", plan, better)
    _, expected_recall = choose_search(expected, vectors, queries, "ip", plan)
    assert recall == expected_recall and recall >= 0.72 and measure_recall(index, queries, truth, plan, search["ef"]) == recall


def test_what_cannot_be_built_is_refused():
    for factory in ("PQ8", "HNSW", "HNSW16,SQ8", "IVF10,SQ8", "Flat,IDMap", ""):
        with pytest.raises(InvalidInput, match="factory"):
            IndexPlan(factory)
    with pytest.raises(InvalidInput, match="cannot fill"):
        build_index(drawn(10, 4, 1), "ip", IndexPlan("IVF20,Flat"))
    with pytest.raises(InvalidInput, match="below the floor"):
        vectors = drawn(3000, 24, 1)
        choose_search(build_index(vectors, "l2", IndexPlan("IVF50,Flat")), vectors, drawn(40, 24, 2), "l2",
                      IndexPlan("IVF50,Flat", effort=1))
