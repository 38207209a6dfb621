import numpy
import pytest

from recall import score_rows, share_found, worst_scores

# Scores of the query (1, 0): 4, 3, 2, 2, 1, 2.
ITEMS = numpy.array([[4, 9], [3, 1], [2, 5], [2, -5], [1, 0], [2, 0]], dtype=numpy.float32)
QUERY = numpy.array([1, 0], dtype=numpy.float32)
TRUTH = numpy.array([[0, 1, 2, 3]])


def found(hits, k):
    worst = worst_scores(ITEMS, QUERY[None, :], TRUTH, k)[0]
    return share_found(ITEMS, QUERY, numpy.array(hits), worst, k)


def test_what_the_truth_names_counts_in_any_order() -> None:
    assert found([1, 2, 0], 3) == 1.0


def test_a_hit_that_ties_with_the_worst_of_the_truth_counts() -> None:
    # Rows 3 and 5 score 2, as row 2 does, which the truth names.
    assert found([0, 1, 3], 3) == 1.0
    assert found([0, 1, 5], 3) == 1.0
    assert found([0, 1, 4], 3) == pytest.approx(2 / 3)


def test_the_worst_is_that_of_the_first_k() -> None:
    # With k = 2 the worst is 3: rows that score 2 are no longer enough.
    assert found([0, 2], 2) == 0.5


def test_the_worst_does_not_depend_on_the_truth_s_order() -> None:
    shuffled = numpy.array([[2, 0, 1]])
    assert worst_scores(ITEMS, QUERY[None, :], shuffled, 3)[0] == 2.0


def test_a_row_twice_counts_once_and_missing_ones_do_not() -> None:
    assert found([0, 0, 0], 3) == pytest.approx(1 / 3)
    assert found([0, -1, -1], 3) == pytest.approx(1 / 3)
    assert found([], 3) == 0.0
    assert found([-1, -1, -1], 3) == 0.0


def test_hits_beyond_k_do_not_count() -> None:
    assert found([4, 4, 0, 1, 2], 3) == pytest.approx(1 / 3)


def test_unsigned_keys_are_rows_too() -> None:
    worst = worst_scores(ITEMS, QUERY[None, :], TRUTH, 2)[0]
    assert share_found(ITEMS, QUERY, numpy.array([0, 1], dtype=numpy.uint64), worst, 2) == 1.0


def test_a_truth_that_is_too_narrow_is_refused() -> None:
    with pytest.raises(ValueError):
        worst_scores(ITEMS, QUERY[None, :], TRUTH, 5)


def test_an_item_has_one_score_whatever_it_is_scored_with() -> None:
    random = numpy.random.default_rng(3)
    for dimension in (5, 64, 300):
        items = random.normal(size=(1000, dimension)).astype(numpy.float32)
        query = random.normal(size=dimension).astype(numpy.float32)
        together = score_rows(items, query, numpy.arange(1000))
        for row in (0, 1, 17, 999):
            assert score_rows(items, query, numpy.array([row]))[0] == together[row]
