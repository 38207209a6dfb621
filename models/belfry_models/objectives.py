"""The two losses: of exposures that were positive or not, and of finding the item among others."""

from __future__ import annotations

from typing import Optional

import numpy as np
import torch
import torch.nn.functional as functional


def logistic_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy over exposed rows."""
    return functional.binary_cross_entropy_with_logits(logits, labels)


def sampling_log_probabilities(counts: np.ndarray, items: np.ndarray) -> torch.Tensor:
    """log Q of the items as in-batch negatives, from how often each was a positive so far, one more for each item."""
    return torch.from_numpy(np.log((counts[items] + 1.0) / (counts.sum() + len(counts)))).float()


def mask_false_negatives(users: np.ndarray, items: np.ndarray) -> torch.Tensor:
    """[n, n], true where column j is no negative of row i: the same user's positive or the same item. In a log in time
    order most of a batch can be one user's session."""
    mask = (users[:, None] == users[None, :]) | (items[:, None] == items[None, :])
    np.fill_diagonal(mask, False)
    return torch.from_numpy(mask)


def softmax_loss(similarities: torch.Tensor, scale: torch.Tensor, log_probabilities: torch.Tensor, mask: torch.Tensor,
                 sampled: Optional[torch.Tensor] = None, sampled_log_probability: float = 0.0,
                 sampled_mask: Optional[torch.Tensor] = None) -> torch.Tensor:
    """In-batch softmax with logQ correction: row i's positive is column i, the other columns its negatives.

    similarities [n, n]; log_probabilities [n] of the columns as samples, subtracted so that popular items are not
    punished for being met often; `sampled` [n, m] are similarities to items drawn uniformly, with their own log Q.
    """
    logits = similarities * scale - log_probabilities
    logits = logits.masked_fill(mask, float("-inf"))
    if sampled is not None:
        extra = sampled * scale - sampled_log_probability
        logits = torch.cat([logits, extra.masked_fill(sampled_mask, float("-inf"))], dim=1)
    return functional.cross_entropy(logits, torch.arange(len(similarities)))
