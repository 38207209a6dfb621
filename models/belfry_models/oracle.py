"""What PyTorch and exact search answer to a request: the truth that golden.jsonl records and `expect` states for any
file of requests.

    oracle = Oracle(model, user_tower, encoder, users, item_ids, vectors)
    oracle.answer({"user": {"id": "u42", "features": {"age": 3}}, "context": {"hour": 13}, "k": 100})
    # {"request": {...}, "embeddings": [[...]], "top": {"ids": ["i17", ...], "scores": [...]}}

Embeddings are those that are scored: float32, one request at a time, normalised if the model says so.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence

import numpy
import torch

from .catalogue import Users
from .encoding import FeatureEncoder
from .errors import InvalidInput
from .exact_search import find_top
from .schema import ModelSpec
from .tensor_files import Identifiers
from .towers import Tower

DEFAULT_K = 100
# What changes the answer, and what only changes how it is computed or written.
ANSWERED_KEYS = ("user", "context", "k", "exclude")
IRRELEVANT_KEYS = ("request_id", "model", "search", "timeout_ms", "if_space_id", "return", "format", "strict", "explain")


class Oracle:
    def __init__(self, model: ModelSpec, tower: Tower, encoder: FeatureEncoder, users: Optional[Users],
                 item_ids: Identifiers, vectors: numpy.ndarray):
        self.model = model
        self.tower = tower
        self.encoder = encoder
        self.users = users
        self.item_ids = item_ids
        self.vectors = vectors
        self._user_rows: Dict[Any, int] = {} if users is None else {id: row for row, id in enumerate(plain_ids(users.ids))}
        self._item_rows: Optional[Dict[Any, int]] = None

    def user_row(self, user: Mapping[str, Any]) -> Optional[int]:
        """The row of a known user, None for any other."""
        return self._user_rows.get(canonical_id(user.get("id"), self.model.user_id_type))

    def embed(self, request: Mapping[str, Any]) -> numpy.ndarray:
        """float32 [dimension]"""
        user = request.get("user")
        if not isinstance(user, Mapping):
            raise InvalidInput("a request needs a user, which is an object")
        encoded = self.encoder.encode_request(user, request.get("context"))
        row = self.user_row(user)
        with torch.no_grad():
            result = self.tower(encoded, self._cached_vector("cross", row), self._cached_vector("cascade", row))
        return result[0].cpu().numpy()

    def _cached_vector(self, vector: str, row: Optional[int]) -> Optional[torch.Tensor]:
        vectors = getattr(self.users, vector) if self.users is not None and row is not None else None
        return None if vectors is None else torch.from_numpy(vectors[row:row + 1].astype(numpy.float32))

    def embed_all(self, requests: Iterable[Mapping[str, Any]]) -> numpy.ndarray:
        """float32 [requests, dimension], each computed on its own, so that no answer depends on its neighbours."""
        return numpy.stack([self.embed(request) for request in requests])

    def answer(self, request: Mapping[str, Any]) -> Dict[str, Any]:
        return next(self.answer_all([request]))

    def answer_all(self, requests: Sequence[Mapping[str, Any]], batch: int = 256) -> Iterator[Dict[str, Any]]:
        for start in range(0, len(requests), batch):
            part = requests[start:start + batch]
            for request in part:
                check_request(request)
            embeddings = self.embed_all(part)
            plain = [index for index, request in enumerate(part) if not request.get("exclude")]
            found: Dict[int, Any] = {}
            if plain:
                # Longest first would do as well: a top k starts with every shorter top.
                k = max(part[index].get("k", DEFAULT_K) for index in plain)
                rows, scores = find_top(self.vectors, embeddings[plain], k, self.model.metric)
                found = {index: (rows[place], scores[place]) for place, index in enumerate(plain)}
            for index, request in enumerate(part):
                k = request.get("k", DEFAULT_K)
                if index not in found:
                    rows, scores = find_top(self.vectors, embeddings[index:index + 1], k, self.model.metric,
                                            self._rows_without(request["exclude"]))
                    found[index] = (rows[0], scores[0])
                rows, scores = found[index]
                yield {"request": request, "embeddings": [shortest_numbers(embeddings[index])],
                       "top": {"ids": [str(self.item_ids[row]) for row in rows[:k]], "scores": shortest_numbers(scores[:k])}}

    def _rows_without(self, excluded: Sequence[Any]) -> numpy.ndarray:
        if self._item_rows is None:
            self._item_rows = {id: row for row, id in enumerate(plain_ids(self.item_ids))}
        eligible = numpy.ones(len(self.vectors), dtype=bool)
        for id in excluded:
            row = self._item_rows.get(canonical_id(id, self.model.item_id_type))
            if row is not None:
                eligible[row] = False
        return numpy.nonzero(eligible)[0]


def check_request(request: Mapping[str, Any]) -> None:
    for key in request:
        if key not in ANSWERED_KEYS + IRRELEVANT_KEYS:
            raise InvalidInput(f"a request with {key!r} is beyond this oracle, which knows {', '.join(ANSWERED_KEYS)}")
    k = request.get("k", DEFAULT_K)
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise InvalidInput(f"k is {k!r}, not an integer of at least 1")


def plain_ids(ids: Identifiers) -> List[Any]:
    return ids.tolist() if isinstance(ids, numpy.ndarray) else list(ids)


def canonical_id(id: Any, id_type: str) -> Any:
    """An id of a request as the tables hold it: u64 catalogues take numbers and their decimal text."""
    if id is None or isinstance(id, bool):
        return None
    if id_type == "u64" and isinstance(id, str):
        # A text that is no plain decimal number, leading zeros included, is nobody's id.
        return int(id) if id.isascii() and id.isdigit() and str(int(id)) == id else None
    if id_type == "string" and isinstance(id, int):
        return str(id)
    return id


def shortest_numbers(values: numpy.ndarray) -> List[float]:
    """float32 values with the 9 digits that bring each back exactly."""
    return [float(f"{value:.9g}") for value in values.tolist()]
