"""The arithmetic of the table."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from compare import median_of, median_ratio  # noqa: E402


def rounds(*rates: float) -> list:
    return [{"requests_per_second": rate} for rate in rates]


def test_a_ratio_is_within_its_round() -> None:
    # A slow minute halves both: the medians alone would say 4.
    ours, theirs = rounds(400, 200, 300), rounds(200, 100, 75)
    assert median_ratio(ours, theirs, "requests_per_second") == 2
    assert median_of({"rounds": ours}, "requests_per_second") == 300


def test_rounds_without_the_figure_do_not_count() -> None:
    ours, theirs = [{"p99": 10.0}, {"p99": None}, {"p99": 30.0}], [{"p99": 5.0}, {"p99": 1.0}, {"p99": None}]
    assert median_ratio(ours, theirs, "p99") == 2
    assert median_ratio(ours, [{"p99": None}] * 3, "p99") is None
