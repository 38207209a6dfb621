"""Exponential moving averages, rates and histories."""

import numpy as np
import pytest
import torch

from belfry_models.caches import AveragedVectors, Caches, Histories, RunningRates


def vector(*values):
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1)


def test_three_positives_of_one_user_in_a_batch():
    cache = AveragedVectors(1, 1, 0.8)
    cache.update(np.array([0, 0, 0]), vector(1, 2, 3))
    assert cache.vectors.item() == pytest.approx(1.048, abs=1e-6)


def test_closed_form_equals_one_by_one():
    random = np.random.default_rng(0)
    keys = random.integers(5, size=64)
    values = torch.from_numpy(random.normal(size=(64, 3))).float()
    together, single = AveragedVectors(6, 3, 0.98), AveragedVectors(6, 3, 0.98)
    for cache in (together, single):
        cache.vectors.copy_(torch.arange(18.0).reshape(6, 3))
    together.update(keys, values)
    for position in range(64):
        single.update(keys[position:position + 1], values[position:position + 1])
    assert torch.allclose(together.vectors, single.vectors, atol=1e-5)
    assert together.vectors[5].tolist() == [15.0, 16.0, 17.0]  # no event, no change


def test_rates_are_centred_and_shrunk():
    rates = RunningRates(3)
    log_odds, exposures = rates.read(np.array([0]))
    assert (log_odds[0], exposures[0]) == (0.0, 0.0)
    rates.update(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    log_odds, exposures = rates.read(np.array([0, 1, 2]))
    assert log_odds[0] == pytest.approx(-log_odds[1])  # the mean is one half
    assert log_odds[0] == pytest.approx(np.log(4.5 / 2.5))
    assert log_odds[2] == 0.0 and exposures.tolist() == [2.0, 2.0, 0.0]


def test_history_keeps_the_last_and_says_the_newest_first():
    histories = Histories(2, 3)
    histories.update(np.array([0, 1, 0]), np.array([10, 20, 11]))
    assert histories.recent(0) == [11, 10]
    histories.update(np.array([0, 0]), np.array([12, 13]))
    assert histories.recent(0) == [13, 12, 11]
    items, offsets = histories.read(np.array([1, 0]))
    assert items[:1].tolist() == [20] and sorted(items[1:].tolist()) == [11, 12, 13]
    assert offsets.tolist() == [0, 1, 4]


def test_history_of_more_positives_in_a_batch_than_it_holds():
    histories = Histories(1, 3)
    histories.update(np.zeros(5, dtype=np.int64), np.arange(5))
    assert histories.recent(0) == [4, 3, 2]


def test_negatives_move_cascade_vectors_and_not_cross_vectors():
    caches = Caches(2, 2, cross=(1, 0.8, 0.98), cascade=(1, 0.8), rates=True, history_length=2)
    caches.update(np.array([0, 1]), np.array([1, 0]), np.array([1, 0]), vector(5, 6), vector(7, 8), vector(1, 2))
    assert caches.user_cross.vectors.flatten().tolist() == pytest.approx([0.2 * 7, 0.0])
    assert caches.item_cross.vectors.flatten().tolist() == pytest.approx([0.0, 0.02 * 5])
    assert caches.user_cascade.vectors.flatten().tolist() == pytest.approx([0.2, 0.4])
    assert caches.item_cascade.vectors.flatten().tolist() == pytest.approx([0.4, 0.2])
    assert caches.histories.recent(0) == [1] and caches.histories.recent(1) == []
    caches.reset()
    assert caches.user_cross.vectors.abs().sum() == 0 and caches.item_cascade.vectors.abs().sum() == 0
    assert caches.histories.recent(0) == [] and caches.user_rates.exposures.sum() == 0
    assert caches.item_positives.sum() == 0
