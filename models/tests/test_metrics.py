"""Metrics against values known from elsewhere."""

import math

import numpy as np
import pytest

from belfry_models.calibration import fit_calibration
from belfry_models.metrics import (auc, auc_standard_error, log_loss, normalised_entropy, ranks_among, recall_at,
                                   two_sided_p, welch_test)


def test_auc_counts_pairs():
    # Pairs (positive, negative): .8 > .1, .8 > .4, .35 > .1, .35 < .4: three of four.
    assert auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75


def test_auc_counts_ties_half():
    assert auc([0, 1, 0, 1], [1.0, 1.0, 1.0, 1.0]) == 0.5
    assert auc([0, 1, 1], [0.5, 0.5, 0.9]) == 0.75


def test_auc_of_one_class_is_not_a_number():
    assert math.isnan(auc([1, 1], [0.1, 0.2]))


def test_auc_equals_counting_on_random_scores():
    random = np.random.default_rng(0)
    labels, scores = random.integers(2, size=300), random.integers(40, size=300)
    positive, negative = scores[labels == 1][:, None], scores[labels == 0][None, :]
    expected = ((positive > negative) + 0.5 * (positive == negative)).mean()
    assert auc(labels, scores) == pytest.approx(expected, abs=1e-12)


def test_standard_error_is_what_random_scores_show():
    random = np.random.default_rng(1)
    labels = np.arange(400) < 100
    measured = np.std([auc(labels, random.random(400)) for _ in range(2000)])
    assert auc_standard_error(labels) == pytest.approx(measured, rel=0.1)


def test_log_loss_and_entropy():
    assert log_loss([1, 0], [0.8, 0.4]) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert normalised_entropy([1, 0, 0, 0], [0.25] * 4) == pytest.approx(1.0)
    assert math.isfinite(log_loss([1], [0.0]))


def test_recall_counts_ties_against_the_target():
    scores = np.array([[0.3, 0.9, 0.3], [0.1, 0.2, 0.3]])
    ranks = ranks_among(scores, np.array([0, 2]))
    assert ranks.tolist() == [2, 0]
    assert recall_at(ranks, 1) == 0.5
    assert recall_at(ranks, 3) == 1.0


@pytest.mark.parametrize("degrees, statistic, p_value", [
    (1, 12.706, 0.05), (5, 4.032, 0.01), (10, 2.228, 0.05), (30, 2.750, 0.01), (120, 1.980, 0.05)])
def test_p_values_of_t_tables(degrees, statistic, p_value):
    assert two_sided_p(statistic, degrees) == pytest.approx(p_value, rel=1e-3)
    assert two_sided_p(-statistic, degrees) == two_sided_p(statistic, degrees)


def test_welch_of_unequal_samples():
    test = welch_test([1.0, 2.0, 3.0], [2.0, 2.0, 6.0, 14.0])
    variance = np.var([2.0, 2.0, 6.0, 14.0], ddof=1) / 4
    assert test.difference == -4.0
    assert test.statistic == pytest.approx(-4.0 / math.sqrt(1 / 3 + variance))
    assert test.degrees_of_freedom == pytest.approx((1 / 3 + variance) ** 2 / ((1 / 3) ** 2 / 2 + variance**2 / 3))


def test_welch_p_value_of_two_degrees_of_freedom():
    # Two pairs of equal spread have 2 degrees of freedom: p = 1 - t / sqrt(2 + t^2).
    test = welch_test([0.0, 1.0], [2.0, 3.0])
    assert test.degrees_of_freedom == pytest.approx(2.0)
    t = abs(test.statistic)
    assert test.p_value == pytest.approx(1.0 - t / math.sqrt(2.0 + t * t), abs=1e-12)


def test_calibration_finds_the_curve_that_drew_the_labels():
    random = np.random.default_rng(2)
    scores = random.normal(size=200_000)
    labels = random.random(len(scores)) < 1.0 / (1.0 + np.exp(-(3.0 * scores - 2.0)))
    scale, bias = fit_calibration(scores, labels)
    assert scale == pytest.approx(3.0, abs=0.05)
    assert bias == pytest.approx(-2.0, abs=0.05)
