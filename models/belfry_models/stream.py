"""One model going through a log in time order: read, score, learn, and only then write the caches.

    stream = Stream(log, "cs3", settings, seed=1)
    stream.learn(split.fit)                                  # one pass or several, caches reset at the start of each
    frozen = stream.copy().predict(split.test, weights="frozen", caches="streaming")
    print(auc(frozen.labels, frozen.logits))

The order inside a batch is the whole point. A cache that is written before the batch is scored carries the batch's own
labels into the scores; `leak=True` does exactly that, to prove that the tests would notice.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Callable, Optional

import numpy as np
import torch

from .architecture import describe_model, describe_ranker_side
from .caches import Caches
from .data.log import Log
from .encoding import Bags, EncodedFeatures, FeatureEncoder, Numbers
from .errors import InvalidInput
from .features import plan_features
from .objectives import logistic_loss, mask_false_negatives, sampling_log_probabilities, softmax_loss
from .ranker import SIDE_SIZE, Ranker
from .settings import Settings, parts_of
from .towers import Tower

# Dense gradients are faster until a table is large.
SPARSE_FROM_ROWS = 20_000


@dataclass
class Predictions:
    """One entry per scored event. `ranks` has one per positive, when ranks were asked for."""

    labels: np.ndarray
    logits: np.ndarray
    ranks: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        return 1.0 / (1.0 + np.exp(-self.logits.astype(np.float64)))


@dataclass
class Batch:
    """Rows of the log with everything that scoring them may read."""

    users: np.ndarray
    items: np.ndarray
    labels: np.ndarray
    user_features: EncodedFeatures
    item_features: EncodedFeatures


@dataclass
class Weights:
    """All that learning changes beside the caches; copied as one, so that optimisers keep hold of their parameters."""

    user_tower: Tower
    item_tower: Tower
    score: torch.nn.ParameterDict
    ranker: Optional[Ranker]
    optimisers: list = field(default_factory=list)
    ranker_optimisers: list = field(default_factory=list)


class Stream:
    def __init__(self, log: Log, model: str, settings: Settings, seed: int, space_id: str = "space", leak: bool = False):
        self.log, self.model, self.settings, self.seed, self.leak = log, model, settings, seed, leak
        self.parts = parts_of(model)
        history = settings.history_length if self.parts.history else 0
        self.plan = plan_features(log, history, self.parts.rates)
        self.description = describe_model(log, self.plan, self.parts, settings, space_id)
        self._encode_log()
        self.weights = self._initialise_weights()
        self.caches = Caches(
            log.users.height, log.items.height,
            cross=(settings.dimension, settings.user_alpha, settings.item_alpha) if self.parts.cross else None,
            cascade=(settings.cascade_dimension, settings.beta) if self.parts.cascade else None,
            rates=self.parts.rates or (self.parts.cascade and settings.ranker_rates), history_length=history)
        self.random = np.random.default_rng(seed)
        self._positives_by_user: Optional[list[np.ndarray]] = None

    def copy(self) -> "Stream":
        """Weights, optimisers and caches of its own; the log and its encoding are shared."""
        twin = copy.copy(self)
        twin.weights, twin.caches, twin.random = copy.deepcopy((self.weights, self.caches, self.random))
        return twin

    # Before the first batch

    def _encode_log(self) -> None:
        log, plan = self.log, self.plan
        self.user_encoder = FeatureEncoder(plan.user, plan.user_vocabularies)
        self.item_encoder = FeatureEncoder(plan.item, plan.item_vocabularies)
        made = {"recent_items", "user_log_odds", "user_exposures", "item_log_odds", "item_exposures"}
        by_user = [each.name for each in plan.user if each.source != "context" and each.name not in made]
        contexts = [each.name for each in plan.user if each.source == "context"]
        by_item = [each.name for each in plan.item if each.name not in made]
        users = {**{name: log.users[name] for name in by_user if name in log.users.columns}, "user_id": log.users["id"]}
        items = {**{name: log.items[name] for name in by_item if name in log.items.columns}, "item_id": log.items["id"]}
        self.encoded_users = self.user_encoder.encode_columns_of(by_user, users)
        self.encoded_items = self.item_encoder.encode_columns_of(by_item, items)
        self.encoded_contexts = None
        if contexts:
            self.encoded_contexts = self.user_encoder.encode_columns_of(contexts, log.context)
        if self.parts.history:
            # One row of the history's table per item.
            ids = {"recent_items": [[text] for text in log.items["id"].to_list()]}
            self.history_rows = self.user_encoder.encode_columns_of(["recent_items"], ids).columns["recent_items"].rows

    def _initialise_weights(self) -> Weights:
        settings, description, plan, seed = self.settings, self.description, self.plan, self.seed
        rows = max(len(words) for words in [*plan.user_vocabularies.values(), *plan.item_vocabularies.values(), [0]])
        sparse = rows > SPARSE_FROM_ROWS
        options = dict(embedding_deviation=settings.embedding_deviation, sparse_gradients=sparse)
        weights = Weights(
            Tower(description.user_tower, plan.user, description.normalisation.user, seed=10 * seed, **options),
            Tower(description.item_tower, plan.item, description.normalisation.item, seed=10 * seed + 1, **options),
            torch.nn.ParameterDict({"log_scale": torch.nn.Parameter(torch.tensor(float(np.log(description.score.scale)))),
                                    "bias": torch.nn.Parameter(torch.zeros(()))}), None)
        towers = (weights.user_tower, weights.item_tower)
        # A dot product has a scale of its own, and a softmax no bias.
        free = [weights.score["log_scale"]] if settings.cosine else []
        free += [weights.score["bias"]] if settings.objective == "logistic" else []
        weights.optimisers = _optimisers([p for tower in towers for p in tower.dense_parameters()] + free,
                                         [p for tower in towers for p in tower.embedding_parameters()], settings)
        if self.parts.cascade:
            sides = [describe_ranker_side(file, features, settings, SIDE_SIZE)
                     for file, features in (("ranker_user", plan.user), ("ranker_item", plan.item))]
            weights.ranker = Ranker(*sides, plan.user, plan.item, settings.cascade_dimension, settings.ranker_rates,
                                    10 * seed + 2, **options)
            weights.ranker_optimisers = _optimisers(weights.ranker.dense_parameters(),
                                                    weights.ranker.embedding_parameters(), settings)
        return weights

    # Going through the log

    def learn(self, rows: range, progress: Callable = lambda batches: batches) -> None:
        """The settings' number of passes over `rows`; the caches start empty in each and end full."""
        if self.settings.base_rate_bias:
            self._start_from_base_rate(float(self.log.label[rows.start:rows.stop].mean()))
        for _ in range(self.settings.passes):
            self.caches.reset()
            for start in progress(self._starts(rows)):
                self.step(start, min(start + self.settings.batch, rows.stop), learn=True, write=True)

    def _start_from_base_rate(self, rate: float) -> None:
        with torch.no_grad():
            log_odds = float(np.log(rate / (1.0 - rate)))
            self.weights.score["bias"].fill_(log_odds)
            if self.weights.ranker is not None:
                self.weights.ranker.head.bias.fill_(log_odds)

    def predict(self, rows: range, weights: str, caches: str, ranks: bool = False,
                progress: Callable = lambda batches: batches) -> Predictions:
        """Scores `rows`; weights and caches are each `frozen` or `streaming`, updated strictly after scoring."""
        for switch in (weights, caches):
            if switch not in ("frozen", "streaming"):
                raise InvalidInput(f"a switch is frozen or streaming, not {switch!r}")
        logits, positions = [], []
        caches_read = any((self.parts.cross, self.parts.cascade, self.parts.rates))
        lasting = weights == "frozen" and (caches == "frozen" or not caches_read)
        item_vectors = self.item_vectors() if ranks and lasting else None
        for start in progress(self._starts(rows)):
            stop = min(start + self.settings.batch, rows.stop)
            if ranks:
                positions.append(self.rank_positives(start, stop, item_vectors))
            logits.append(self.step(start, stop, learn=weights == "streaming", write=caches == "streaming"))
        empty = np.zeros(0)
        return Predictions(self.log.label[rows.start:rows.stop], np.concatenate(logits) if logits else empty,
                           np.concatenate(positions) if positions else empty)

    def _starts(self, rows: range) -> range:
        return range(rows.start, rows.stop, self.settings.batch)

    def step(self, start: int, stop: int, learn: bool, write: bool) -> np.ndarray:
        """One batch: read, score, learn if told to, and only then write. Gives the logits of its rows."""
        batch = self.read(start, stop)
        if self.leak and write:
            self._write_first(batch)
            batch = self.read(start, stop)
        with torch.set_grad_enabled(learn):
            user_vectors, item_vectors = self.score(batch)
            logits = self._logits(user_vectors, item_vectors)
            if learn:
                loss = self._loss(batch, user_vectors, item_vectors, logits)
                if loss is not None:
                    _descend(loss, self.weights.optimisers)
        ranked = None
        if self.weights.ranker is not None and (learn or write):
            ranked = self._rank(batch, learn)
        if write and not self.leak:
            self.caches.update(batch.users, batch.items, batch.labels, user_vectors.detach(), item_vectors.detach(), ranked)
        return logits.detach().numpy()

    def read(self, start: int, stop: int) -> Batch:
        """The rows with their features, those that the caches feed as they stand now."""
        users, items = self.log.user[start:stop], self.log.item[start:stop]
        contexts = None if self.encoded_contexts is None else self.encoded_contexts.slice(start, stop)
        return Batch(users, items, self.log.label[start:stop], self._user_features(users, contexts),
                     self._item_features(items))

    def score(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Both towers' vectors for the rows of a batch."""
        caches = self.caches
        user_vectors = self.weights.user_tower(
            batch.user_features, *(cache and cache.read(batch.users) for cache in (caches.user_cross, caches.user_cascade)))
        return user_vectors, self._item_vectors(batch.items, batch.item_features)

    def item_vectors(self) -> torch.Tensor:
        """The vectors of all items as the caches stand now: what a snapshot holds."""
        rows = np.arange(self.log.items.height)
        with torch.no_grad():
            return self._item_vectors(rows, self._item_features(rows))

    def rank_positives(self, start: int, stop: int, item_vectors: Optional[torch.Tensor] = None) -> np.ndarray:
        """The place of each positive of the batch among all items that its user had no positive with before.

        `item_vectors` saves computing them, where neither weights nor caches move."""
        chosen = start + np.flatnonzero(self.log.label[start:stop])
        if len(chosen) == 0:
            return np.zeros(0, dtype=np.int64)
        batch = self.read(start, stop)
        with torch.no_grad():
            user_vectors, _ = self.score(batch)
            item_vectors = self.item_vectors() if item_vectors is None else item_vectors
            scores = (user_vectors[torch.from_numpy(chosen - start)] @ item_vectors.T).numpy()
        targets = self.log.item[chosen]
        target_scores = scores[np.arange(len(chosen)), targets].copy()
        for row, user in enumerate(self.log.user[chosen]):
            scores[row, self.seen(int(user), start)] = -np.inf
        return (scores >= target_scores[:, None]).sum(axis=1) - (scores[np.arange(len(chosen)), targets] > -np.inf)

    def seen(self, user: int, before: int) -> np.ndarray:
        """Items of the user's positives before a row of the log."""
        if self._positives_by_user is None:
            positive = np.flatnonzero(self.log.label)
            order = positive[np.argsort(self.log.user[positive], kind="stable")]
            bounds = np.searchsorted(self.log.user[order], np.arange(self.log.users.height + 1))
            self._positives_by_user = [order[low:high] for low, high in zip(bounds, bounds[1:])]
        mine = self._positives_by_user[user]
        return self.log.item[mine[:np.searchsorted(mine, before)]]

    # The parts of a step

    def _user_features(self, users: np.ndarray, contexts: Optional[EncodedFeatures]) -> EncodedFeatures:
        features = self.encoded_users.take(users)
        if contexts is not None:
            features = features.merged(contexts)
        if self.parts.history:
            items, offsets = self.caches.histories.read(users)
            features.columns["recent_items"] = Bags(self.history_rows[items], offsets)
        if self.parts.rates:
            features.columns.update(self._rate_columns("user", self.user_encoder, self.caches.user_rates.read(users)))
        return features

    def _item_features(self, items: np.ndarray) -> EncodedFeatures:
        features = self.encoded_items.take(items)
        if self.parts.rates:
            features.columns.update(self._rate_columns("item", self.item_encoder, self.caches.item_rates.read(items)))
        return features

    def _rate_columns(self, side: str, encoder: FeatureEncoder, rates: tuple) -> dict[str, Numbers]:
        names = (f"{side}_log_odds", f"{side}_exposures")
        return encoder.encode_columns_of(names, dict(zip(names, rates))).columns

    def _item_vectors(self, items: np.ndarray, features: EncodedFeatures) -> torch.Tensor:
        cross, cascade = (cache and cache.read(items) for cache in (self.caches.item_cross, self.caches.item_cascade))
        return self.weights.item_tower(features, cross, cascade)

    def _logits(self, user_vectors: torch.Tensor, item_vectors: torch.Tensor) -> torch.Tensor:
        score = self.weights.score
        return (user_vectors * item_vectors).sum(dim=1) * score["log_scale"].exp() + score["bias"]

    def _loss(self, batch: Batch, user_vectors: torch.Tensor, item_vectors: torch.Tensor,
              logits: torch.Tensor) -> Optional[torch.Tensor]:
        if self.settings.objective == "logistic":
            return logistic_loss(logits, torch.from_numpy(batch.labels.astype(np.float32)))
        chosen = np.flatnonzero(batch.labels)
        if len(chosen) < 2 and not self.settings.sampled_negatives:
            return None  # a positive alone has nothing to be told from
        if len(chosen) == 0:
            return None
        users, items = batch.users[chosen], batch.items[chosen]
        user_vectors, item_vectors = user_vectors[chosen], item_vectors[chosen]
        sampled = {}
        if self.settings.sampled_negatives:
            count = len(self.caches.item_positives)
            drawn = self.random.integers(count, size=self.settings.sampled_negatives)
            vectors = self._item_vectors(drawn, self._item_features(drawn))
            sampled = {"sampled": user_vectors @ vectors.T,
                       "sampled_log_probability": float(np.log(self.settings.sampled_negatives / len(chosen) / count)),
                       "sampled_mask": torch.from_numpy(items[:, None] == drawn[None, :])}
        return softmax_loss(user_vectors @ item_vectors.T, self.weights.score["log_scale"].exp(),
                            sampling_log_probabilities(self.caches.item_positives, items),
                            mask_false_negatives(users, items), **sampled)

    def _rank(self, batch: Batch, learn: bool) -> torch.Tensor:
        """The ranker's penultimate layer for the batch, by the weights it had before; then it learns from the batch."""
        rates = None
        if self.settings.ranker_rates:
            columns = [*self.caches.user_rates.read(batch.users), *self.caches.item_rates.read(batch.items)]
            columns[1], columns[3] = np.log1p(columns[1]) / 3.0, np.log1p(columns[3]) / 3.0
            rates = torch.from_numpy(np.stack(columns, axis=1)).float()
        with torch.set_grad_enabled(learn):
            penultimate, logits = self.weights.ranker(batch.user_features, batch.item_features, rates)
            if learn:
                _descend(logistic_loss(logits, torch.from_numpy(batch.labels.astype(np.float32))),
                         self.weights.ranker_optimisers)
        return penultimate.detach()

    def _write_first(self, batch: Batch) -> None:
        """The deliberate leak: the batch's labels reach the caches before the batch is scored."""
        with torch.no_grad():
            user_vectors, item_vectors = self.score(batch)
            ranked = None if self.weights.ranker is None else self._rank(batch, learn=False)
        self.caches.update(batch.users, batch.items, batch.labels, user_vectors, item_vectors, ranked)


def _optimisers(dense: list, embeddings: list, settings: Settings) -> list[torch.optim.Optimizer]:
    return [torch.optim.Adam(dense, lr=settings.dense_rate), torch.optim.Adagrad(embeddings, lr=settings.embedding_rate)]


def _descend(loss: torch.Tensor, optimisers: list[torch.optim.Optimizer]) -> None:
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    loss.backward()
    for optimiser in optimisers:
        optimiser.step()
