"""The parameter grid of `grid.json`, and the way through it.

A peer has one parameter that costs time and brings recall (ef, lists read), and may have a second (how many candidates
are scored again). For each value of the second, the greatest first, the first rises in strides until the highest recall is
reached, and then the stride before each target is halved down to the grid's own step. What the first must be at the least with
more candidates scored again, it must be with fewer: the next row begins a stride below that, because recall is measured
over as many queries as time allows. The cheapest point that reaches a target is the setting for it; every point that was
tried is kept for the plot.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

Setting = Dict[str, float]
STRIDE = 6  # steps of the grid that the first pass skips
# Times are taken once here, and on a machine that is not silent: a point may look this much slower than it is.
SLACK = 1.5
SATURATED = 0.0002


@dataclass(frozen=True)
class Point:
    """One setting, tried on the calibration queries."""

    setting: Setting
    recall: float
    p50: float  # microseconds, overhead taken off
    mean: float

    def to_json(self) -> Dict[str, Any]:
        return asdict(self)


def values_of(rule: Mapping[str, Any], k: int, items: int) -> List[int]:
    """The values of one parameter, ascending.

    `{"first": "k", "last": 100000, "ratio": 1.12}` is a geometric series in whole numbers, its ends included; "k" and
    "items" stand for those numbers. `{"times_k": [1.5, 2, 3]}` are multiples of k. None is above `items`.
    """
    if "times_k" in rule:
        return sorted({min(items, round(k * factor)) for factor in rule["times_k"]})
    names = {"k": k, "items": items}
    first = min(items, names.get(rule["first"], rule["first"]))
    last = max(first, min(items, names.get(rule["last"], rule["last"])))
    values, value = [first], float(first)
    while values[-1] < last:
        value *= rule["ratio"]
        values.append(min(last, max(values[-1] + 1, round(value))))
        value = max(value, values[-1])
    return values


def explore(evaluate: Callable[[Setting], Point], axes: Mapping[str, Sequence[int]], targets: Sequence[float],
            slowest: float) -> List[Point]:
    """Every point tried. `axes` has the first parameter first; a point with a median over `slowest` microseconds ends its row."""
    if not axes:
        return [evaluate({})]
    (first, values), *rest = axes.items()
    points: List[Point] = []
    start = 0
    for other in ([{}] if not rest else [{rest[0][0]: value} for value in sorted(rest[0][1], reverse=True)]):
        best = {target: point.p50 for target in targets if (point := cheapest(points, target)) is not None}
        limit = min(slowest, SLACK * best.get(max(targets), slowest))
        row = explore_row(lambda value: evaluate({first: value, **other}), values[start:], targets, limit, best, bool(rest))
        points += row
        sufficient = [values.index(int(point.setting[first])) for point in row if point.recall >= min(targets)]
        if sufficient:
            start = max(start, min(sufficient) - STRIDE)
    return points


def explore_row(evaluate: Callable[[int], Point], values: Sequence[int], targets: Sequence[float], slowest: float,
                best: Mapping[float, float], bounded: bool) -> List[Point]:
    """The points of one row. `best` has the median times that other rows need for the targets: a bracket that begins far above
    is not halved, because nothing in it can win. `bounded`: the second parameter may bound the recall, and a stride that
    brings next to nothing ends the row."""
    tried: Dict[int, Point] = {}

    def attempt(place: int) -> Point:
        if place not in tried:
            tried[place] = evaluate(values[place])
        return tried[place]

    place, before = 0, -1.0
    while True:
        point = attempt(place)
        if point.recall >= max(targets) or point.p50 > slowest or place == len(values) - 1:
            break
        if bounded and point.recall > 0.5 and point.recall - before < SATURATED:
            break
        before = point.recall
        place = min(place + STRIDE, len(values) - 1)
    for target in targets:
        reached = [place for place in sorted(tried) if tried[place].recall >= target]
        if not reached:
            continue
        high = reached[0]
        low = max((place for place in tried if place < high), default=-1)
        if low >= 0 and tried[low].p50 > SLACK * best.get(target, slowest):
            continue
        while high - low > 1 and low >= 0:
            middle = (low + high) // 2
            if attempt(middle).recall >= target:
                high = middle
            else:
                low = middle
    return [tried[place] for place in sorted(tried)]


def leaders(points: Sequence[Point], target: float, count: int) -> List[Point]:
    """The points with the lowest median times that reach the recall, the fastest first."""
    return sorted((point for point in points if point.recall >= target), key=lambda point: point.p50)[:count]


def cheapest(points: Sequence[Point], target: float) -> Optional[Point]:
    """The point with the lowest median time that reaches the recall."""
    return next(iter(leaders(points, target, 1)), None)
