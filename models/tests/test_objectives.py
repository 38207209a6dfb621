"""The losses: what a softmax over a batch counts as a negative, and with which correction."""

import math

import numpy as np
import pytest
import torch

from belfry_models.objectives import (logistic_loss, mask_false_negatives, sampling_log_probabilities, softmax_loss)


def test_logistic_loss_is_mean_cross_entropy():
    loss = logistic_loss(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx((math.log(2.0) + math.log1p(math.exp(2.0))) / 2, abs=1e-6)


def test_sampling_probability_counts_positives_so_far():
    counts = np.array([0.0, 8.0, 0.0])
    expected = np.log(np.array([9.0, 1.0]) / 11.0)
    assert sampling_log_probabilities(counts, np.array([1, 2])).tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_same_user_and_same_item_are_no_negatives():
    mask = mask_false_negatives(np.array([1, 1, 2, 3]), np.array([7, 8, 9, 7]))
    expected = [[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert mask.int().tolist() == expected


def test_correction_takes_popularity_out_of_the_softmax():
    """With scores of log Q, the corrected softmax is even: the popular item gained nothing by being sampled often."""
    log_probabilities = torch.log(torch.tensor([0.7, 0.2, 0.1]))
    similarities = log_probabilities.expand(3, 3)
    none = torch.zeros(3, 3, dtype=torch.bool)
    loss = softmax_loss(similarities, torch.tensor(1.0), log_probabilities, none)
    assert loss.item() == pytest.approx(math.log(3.0), abs=1e-6)


def test_masked_columns_and_sampled_items():
    similarities = torch.zeros(2, 2)
    mask = torch.tensor([[False, True], [False, False]])
    sampled = torch.zeros(2, 3)
    sampled_mask = torch.tensor([[True, False, False], [False, False, False]])
    loss = softmax_loss(similarities, torch.tensor(1.0), torch.zeros(2), mask, sampled, 0.0, sampled_mask)
    assert loss.item() == pytest.approx((math.log(3.0) + math.log(5.0)) / 2, abs=1e-6)
