import json
from pathlib import Path

from grid import STRIDE, Point, cheapest, explore, values_of


def test_a_geometric_series_has_both_ends_and_rises() -> None:
    values = values_of({"first": "k", "last": 1000, "ratio": 1.12}, 10, 10**6)
    assert values[0] == 10 and values[-1] == 1000
    assert all(low < high for low, high in zip(values, values[1:]))
    # No step is wider than the ratio, but for the rounding of small numbers.
    assert all(high <= low * 1.12 + 1 for low, high in zip(values, values[1:]))


def test_no_value_is_above_the_number_of_items() -> None:
    assert values_of({"first": "k", "last": 100000, "ratio": 2}, 500, 1200) == [500, 1000, 1200]
    assert values_of({"first": "k", "last": 100000, "ratio": 2}, 2000, 1200) == [1200]
    assert values_of({"times_k": [1, 1.5, 40]}, 100, 1200) == [100, 150, 1200]


def curve(reach: dict, cost=1.0):
    """A made-up engine: recall rises with ef, and is bounded by the second parameter's reach."""
    asked = []

    def evaluate(setting):
        asked.append(dict(setting))
        bound = reach.get(setting.get("reorder"), 1.0)
        recall = min(bound, 1 - 1 / setting["ef"])
        time = cost * setting["ef"] + setting.get("reorder", 0)
        return Point(dict(setting), recall, time, time)
    return evaluate, asked


def test_the_cheapest_setting_of_each_target_is_found_without_trying_all() -> None:
    values = values_of({"first": 10, "last": 100000, "ratio": 1.12}, 10, 10**6)
    evaluate, asked = curve({})
    points = explore(evaluate, {"ef": values}, [0.95, 0.99, 0.999], slowest=1e9)
    for target in (0.95, 0.99, 0.999):
        expected = min(value for value in values if 1 - 1 / value >= target)
        assert cheapest(points, target).setting == {"ef": expected}
    assert len(asked) < len(values) / 2
    assert len(asked) == len({json.dumps(setting) for setting in asked})


def test_of_two_parameters_the_cheaper_pair_wins() -> None:
    # 20 is too few to reach 0.99, 900 costs more than 100.
    evaluate, _ = curve({20: 0.97, 100: 0.995, 900: 1.0})
    values = values_of({"first": 1, "last": 1000, "ratio": 1.12}, 10, 10**6)
    points = explore(evaluate, {"ef": values, "reorder": [20, 100, 900]}, [0.95, 0.99], slowest=1e9)
    assert cheapest(points, 0.95).setting["reorder"] == 20
    assert cheapest(points, 0.99).setting["reorder"] == 100


def test_a_row_begins_where_the_one_before_found_the_lowest_target() -> None:
    values = values_of({"first": 1, "last": 1000, "ratio": 1.12}, 10, 10**6)
    evaluate, asked = curve({20: 0.992, 100: 0.995, 900: 1.0})
    points = explore(evaluate, {"ef": values, "reorder": [20, 100, 900]}, [0.99], slowest=1e9)
    first = min(value for value in values if 1 - 1 / value >= 0.99)
    assert cheapest(points, 0.99).setting == {"ef": first, "reorder": 20}
    for reorder in (20, 100):
        row = [setting["ef"] for setting in asked if setting["reorder"] == reorder]
        assert min(row) == values[values.index(first) - STRIDE]
        assert len(row) <= 6


def test_a_row_whose_recall_is_bounded_is_left() -> None:
    evaluate, asked = curve({20: 0.93, 100: 0.999})
    values = values_of({"first": 1, "last": 100000, "ratio": 1.12}, 10, 10**6)
    points = explore(evaluate, {"ef": values, "reorder": [20, 100]}, [0.95, 0.99], slowest=1e9)
    assert max(setting["ef"] for setting in asked if setting["reorder"] == 20) < 1000
    assert cheapest(points, 0.99).setting["reorder"] == 100


def test_a_target_out_of_reach_has_no_setting_and_slow_points_end_a_row() -> None:
    values = values_of({"first": 10, "last": 100000, "ratio": 1.12}, 10, 10**6)
    evaluate, asked = curve({})
    points = explore(evaluate, {"ef": values}, [0.9, 0.9999], slowest=500)
    assert cheapest(points, 0.9999) is None
    assert cheapest(points, 0.9) is not None
    assert max(setting["ef"] for setting in asked) < 2000


def test_an_engine_without_parameters_has_one_point() -> None:
    assert len(explore(lambda setting: Point({}, 1.0, 5.0, 5.0), {}, [0.99], slowest=1)) == 1


def test_the_committed_grid_has_values_for_every_k() -> None:
    grid = json.loads((Path(__file__).parent / "grid.json").read_text())
    assert set(grid["margins"]) == {str(target) for target in grid["targets"]}
    for peer in grid["peers"]:
        for place, rule in enumerate(peer["search"].values()):
            for k in grid["k"]:
                # The first parameter is searched along, so it needs steps.
                assert len(values_of(rule, k, 1_000_000)) >= (20 if place == 0 else 2), peer["name"]
