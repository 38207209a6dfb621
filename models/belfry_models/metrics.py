"""What a prediction is worth: ranking, calibration, retrieval, and whether two models differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The area under the ROC curve: how often a positive scores above a negative, ties counting half.

    NaN when one class is absent.
    """
    labels = np.asarray(labels).astype(bool)
    positives = int(labels.sum())
    negatives = labels.size - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, inverse, counts = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank = last - (counts - 1) / 2.0  # ranks from 1; tied scores share their mean rank
    rank_sum = float(mean_rank[inverse][labels].sum())
    return (rank_sum - positives * (positives + 1) / 2.0) / (positives * negatives)


def auc_standard_error(labels: np.ndarray) -> float:
    """The standard error of an AUC whose scores know nothing of the labels (Mann-Whitney, no ties)."""
    labels = np.asarray(labels).astype(bool)
    positives = int(labels.sum())
    negatives = labels.size - positives
    return math.sqrt((positives + negatives + 1) / (12.0 * positives * negatives))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean binary cross-entropy in nats; probabilities are kept 1e-7 away from 0 and 1."""
    labels = np.asarray(labels, dtype=np.float64)
    clipped = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-7, 1.0 - 1e-7)
    return float(-(labels * np.log(clipped) + (1.0 - labels) * np.log1p(-clipped)).mean())


def normalised_entropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Log loss over that of always predicting these labels' own mean: below 1 is better than knowing the mean."""
    mean = float(np.mean(labels))
    entropy = -(mean * math.log(mean) + (1.0 - mean) * math.log(1.0 - mean))
    return log_loss(labels, probabilities) / entropy


def ranks_among(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """How many columns stand before each row's target, counting ties before it; so rank 0 is the first place.

    scores is (row, item); targets (row,) are columns.
    """
    target_scores = scores[np.arange(len(targets)), targets][:, None]
    return (scores >= target_scores).sum(axis=1) - 1


def recall_at(ranks: np.ndarray, k: int) -> float:
    """The share of held-out positives that stand among the first k."""
    return float((np.asarray(ranks) < k).mean()) if len(ranks) else float("nan")


@dataclass(frozen=True)
class WelchTest:
    difference: float
    statistic: float
    degrees_of_freedom: float
    p_value: float  # two-sided


def welch_test(first: np.ndarray, second: np.ndarray) -> WelchTest:
    """Welch's t test of two independent samples with unequal variances; difference = mean(first) - mean(second)."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(first) < 2 or len(second) < 2:
        nan = float("nan")
        return WelchTest(float(first.mean() - second.mean()), nan, nan, nan)
    first_part = first.var(ddof=1) / len(first)
    second_part = second.var(ddof=1) / len(second)
    difference = float(first.mean() - second.mean())
    variance = first_part + second_part
    if variance == 0.0:
        return WelchTest(difference, math.copysign(math.inf, difference) if difference else 0.0,
                         float(len(first) + len(second) - 2), 0.0 if difference else 1.0)
    statistic = difference / math.sqrt(variance)
    degrees = variance**2 / (first_part**2 / (len(first) - 1) + second_part**2 / (len(second) - 1))
    return WelchTest(difference, float(statistic), float(degrees), two_sided_p(statistic, degrees))


def two_sided_p(statistic: float, degrees: float) -> float:
    """How probable a t statistic at least that far from 0 is."""
    return float(_incomplete_beta(degrees / 2.0, 0.5, degrees / (degrees + statistic**2)))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b); the t distribution's tails are a case of it."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    # The continued fraction converges quickly only on this side of the mean.
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Lentz's evaluation of the continued fraction of the incomplete beta function."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    result = d
    for m in range(1, 300):
        for numerator in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                          -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d = 1.0 + numerator * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + numerator / c
            c = c if abs(c) > tiny else tiny
            result *= d * c
        if abs(d * c - 1.0) < 1e-14:
            break
    return result
