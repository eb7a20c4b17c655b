"""Logistic regression by Newton's method: a handful of features, a few thousand rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RIDGE = 1.0
ROUNDS = 30


def fit(positives: Sequence[np.ndarray], negatives: Sequence[np.ndarray]) -> tuple[float, np.ndarray]:
    """(intercept, coefficients of shape (features,)) of the log-odds of being positive.

    positives, negatives: groups of rows, each of shape (n, features). Both sides weigh the same, and so does each
    group of a side, whatever its size. The penalty is on standardised features.
    """
    groups = [*positives, *negatives]
    rows = np.vstack(groups)
    mean, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    design = np.hstack([np.ones((len(rows), 1)), (rows - mean) / scale])
    labels = np.concatenate([np.full(len(g), 1.0 if i < len(positives) else 0.0) for i, g in enumerate(groups)])
    sides = [len(positives)] * len(positives) + [len(negatives)] * len(negatives)
    shares = [np.full(len(g), 1 / (2 * side * len(g))) for g, side in zip(groups, sides, strict=True)]
    weights = np.concatenate(shares) * len(rows)
    found = _newton(design, labels, weights)
    coefficients = found[1:] / scale
    return float(found[0] - coefficients @ mean), coefficients


def threshold_at(log_odds: np.ndarray, share: float) -> float:
    """The log-odds below which the share of the rows lies."""
    return float(np.quantile(log_odds, share))


def _newton(design: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    penalty = np.diag([0.0] + [RIDGE] * (design.shape[1] - 1))
    found = np.zeros(design.shape[1])
    for _ in range(ROUNDS):
        odds = 1 / (1 + np.exp(-np.clip(design @ found, -30, 30)))
        slope = design.T @ (weights * (labels - odds)) - penalty @ found
        curvature = (design * (weights * odds * (1 - odds))[:, None]).T @ design + penalty
        step = np.linalg.solve(curvature, slope)
        found = found + step
        if np.abs(step).max() < 1e-8:
            break
    return found
