"""A synthetic log small enough for tests that train on it."""

from __future__ import annotations

import functools

from belfry_models.data import Log
from belfry_models.data.synthetic import Generator


@functools.lru_cache(maxsize=None)
def small_log(events: int = 6000, seed: int = 3) -> Log:
    return Generator(users=60, items=80, events=events, days=6.0, click_rate=0.2, seed=seed).generate()
