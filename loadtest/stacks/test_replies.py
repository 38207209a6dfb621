"""What could make the comparison wrong without anybody noticing."""

import json
import pathlib
import sys

import numpy
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from replies import BadReply, Reply, decode_reply, largest_score_fault, recall, smallest_sufficient  # noqa: E402

BIG = 2**64 - 3  # a double cannot hold it


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def test_rows_and_columns_are_the_same_reply() -> None:
    rows = {"items": [{"id": str(BIG), "score": 0.75}, {"id": "7", "score": 0.5}], "cold_start": False, "degraded": []}
    columns = {"ids": [str(BIG), "7"], "scores": [0.75, 0.5], "cold_start": False}
    assert decode_reply(encoded(rows)) == decode_reply(encoded(columns)) == Reply([BIG, 7], [0.75, 0.5])


def test_a_reply_without_items_is_one() -> None:
    assert decode_reply(encoded({"ids": [], "scores": []})) == Reply([], [])


@pytest.mark.parametrize("value, fault", [
    ({"cold_start": False}, "neither"),
    ({"items": [], "ids": [], "scores": []}, "both"),
    ({"ids": ["1", "2"], "scores": [0.5]}, "2 ids"),
    ({"ids": ["1"]}, "1 ids"),
    ({"ids": [1], "scores": [0.5]}, "no number as a text"),
    ({"ids": ["i1"], "scores": [0.5]}, "no number as a text"),
    ({"ids": ["1", "2"], "scores": [0.25, 0.5]}, "sorted"),
    ({"ids": ["1"], "scores": [None]}, "no number"),
    ({"ids": ["1"], "scores": [True]}, "no number"),
    ({"ids": ["1"], "scores": [0.5], "degraded": ["deadline"]}, "degraded"),
    ([], "neither"),
])
def test_what_is_no_reply_is_refused(value: object, fault: str) -> None:
    with pytest.raises(BadReply, match=fault):
        decode_reply(encoded(value))


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(BadReply, match="no JSON"):
        decode_reply(b'{"ids": [')


def test_recall_counts_each_true_item_once() -> None:
    truth = numpy.array([[1, 2, 3, 4, 9], [5, 6, 7, 8, 9]], dtype=numpy.uint64)
    # 3 of 4, where 9 is beyond the top 4; and 1 of 4, though it was found three times.
    assert recall([[4, 3, 2, 9], [5, 5, 5, 20]], truth, k=4) == 4 / 8
    with pytest.raises(ValueError):
        recall([[1]], truth, k=4)


def test_recall_tells_large_ids_apart() -> None:
    assert recall([[BIG]], numpy.array([[BIG + 1]], dtype=numpy.uint64), k=1) == 0


@pytest.mark.parametrize("threshold", [4, 5, 8, 200, 4093, 4096])
def test_the_smallest_sufficient_effort_is_found(threshold: int) -> None:
    asked = []

    def measure(ef: int) -> float:
        asked.append(ef)
        return 0.991 if ef >= threshold else 0.5

    found = smallest_sufficient(measure, 0.991, 4, 4096, 4)
    assert found == -(-threshold // 4) * 4
    assert len(asked) < 15


def test_an_effort_that_never_suffices_is_said() -> None:
    with pytest.raises(ValueError, match="4096"):
        smallest_sufficient(lambda ef: 0.9, 0.99, 4, 4096, 4)


def test_another_models_scores_show() -> None:
    vectors = numpy.array([[1, 0], [0.6, 0.8]], dtype=numpy.float32)
    embedding = numpy.array([0.8, 0.6], dtype=numpy.float32)
    assert largest_score_fault(Reply([7, 8], [0.96, 0.8]), [1, 0], vectors, embedding) < 1e-6
    assert largest_score_fault(Reply([7, 8], [0.96, 0.7]), [1, 0], vectors, embedding) == pytest.approx(0.1, abs=1e-6)
