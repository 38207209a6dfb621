"""The ranking model downstream of retrieval, small: what cascade vectors are taken from.

It sees each pair of user and item together, which two towers cannot, and by default the running positive rates of both.
Its penultimate layer h is what CMS averages per user and per item. It learns in the same stream, one step behind: h of a
batch is computed with the weights that all earlier batches left.
"""

from __future__ import annotations

from typing import Optional

import torch

from . import schema
from .encoding import EncodedFeatures
from .towers import Tower

SIDE_SIZE = 32
RATE_INPUTS = 4


class Ranker(torch.nn.Module):
    def __init__(self, user_side: schema.Tower, item_side: schema.Tower, user_features, item_features, penultimate: int,
                 rates: bool, seed: int, embedding_deviation: float, sparse_gradients: bool):
        super().__init__()
        options = dict(embedding_deviation=embedding_deviation, sparse_gradients=sparse_gradients)
        self.user_side = Tower(user_side, user_features, seed=seed, **options)
        self.item_side = Tower(item_side, item_features, seed=seed + 1, **options)
        generator = torch.Generator().manual_seed(seed + 2)
        size = 3 * SIDE_SIZE + (RATE_INPUTS if rates else 0)
        self.joint = _linear(size, 32, generator)
        self.penultimate = _linear(32, penultimate, generator)
        self.head = _linear(penultimate, 1, generator)

    def forward(self, user: EncodedFeatures, item: EncodedFeatures,
                rates: Optional[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """(h [n, penultimate], logits [n])"""
        left, right = self.user_side(user), self.item_side(item)
        parts = [left, right, left * right]
        if rates is not None:
            parts.append(rates)
        hidden = torch.relu(self.joint(torch.cat(parts, dim=1)))
        # Bounded, since the towers read averages of it as they come.
        penultimate = torch.tanh(self.penultimate(hidden))
        return penultimate, self.head(penultimate).squeeze(1)

    def embedding_parameters(self) -> list[torch.nn.Parameter]:
        return self.user_side.embedding_parameters() + self.item_side.embedding_parameters()

    def dense_parameters(self) -> list[torch.nn.Parameter]:
        layers = (self.joint, self.penultimate, self.head)
        return (self.user_side.dense_parameters() + self.item_side.dense_parameters()
                + [parameter for layer in layers for parameter in layer.parameters()])


def _linear(size: int, following: int, generator: torch.Generator) -> torch.nn.Linear:
    layer = torch.nn.Linear(size, following)
    with torch.no_grad():
        bound = (6.0 / size) ** 0.5
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.zero_()
    return layer
