"""From scores to click probabilities: the scale and bias of a logistic curve, fitted to scores made before their events."""

from __future__ import annotations

import numpy as np


def fit_calibration(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """(scale, bias) that maximise the likelihood of sigmoid(score * scale + bias), by Newton's method.

    Labels are drawn in by one positive and one negative at either side (Platt), so that a perfect separation stays
    finite.
    """
    scores = np.asarray(scores, dtype=np.float64)
    positives = float(labels.sum())
    negatives = len(labels) - positives
    targets = np.where(np.asarray(labels) > 0, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    parameters = np.array([0.0, np.log((positives + 1.0) / (negatives + 1.0))])
    inputs = np.stack([scores, np.ones_like(scores)])  # (parameter, event)
    for _ in range(100):
        probabilities = 1.0 / (1.0 + np.exp(-parameters @ inputs))
        gradient = inputs @ (probabilities - targets)
        curvature = (inputs * (probabilities * (1.0 - probabilities))) @ inputs.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        parameters = parameters - step
        if np.abs(step).max() < 1e-10:
            break
    return float(parameters[0]), float(parameters[1])
