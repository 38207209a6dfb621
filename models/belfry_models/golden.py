"""Golden requests: for each the answer that PyTorch and exact search give, in golden.jsonl.

`compose_requests(candidates, model, count)` turns requests of real users into a set that also has what is rare and goes
wrong: unknown and anonymous users, missing features, nulls, empty histories, words never seen, histories that are too long.
"""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any, Callable, Dict, List, Mapping, Sequence

from .errors import InvalidInput
from .oracle import DEFAULT_K
from .schema import Feature, ModelSpec, VocabularyEncoding

MINIMUM_COUNT = 64

Request = Dict[str, Any]


def compose_requests(candidates: Sequence[Mapping[str, Any]], model: ModelSpec, count: int = MINIMUM_COUNT) -> List[Request]:
    """`count` different requests with k = 100, the same for the same candidates. The first half is as the candidates are;
    the other half takes turns at what is rare."""
    if len(candidates) == 0:
        raise InvalidInput("there are no requests to make golden ones of")
    if count < MINIMUM_COUNT:
        raise InvalidInput(f"{count} golden requests are too few: at least {MINIMUM_COUNT}")
    requests: Dict[str, Request] = {}
    # Two candidates may lose what told them apart, so some are skipped; unknown users are numbered, so there is an end.
    for index in itertools.count():
        if len(requests) == count:
            break
        request = copy.deepcopy(dict(candidates[index % len(candidates)]))
        request["k"] = DEFAULT_K
        # Every second one, and every one after the candidates have all been used as they are.
        if index % 2 == 1 or index >= len(candidates):
            RARITIES[index // 2 % len(RARITIES)](request, model, index)
        requests.setdefault(json.dumps(request, sort_keys=True), request)
    return list(requests.values())


def compose_warmup(candidates: Sequence[Mapping[str, Any]], count: int) -> List[Request]:
    return [{**candidate, "k": DEFAULT_K} for candidate in candidates[:count]]


def request_features(request: Request, feature: Feature) -> Dict[str, Any]:
    """The object of the request in which the feature's value stands."""
    if feature.source == "user":
        return request["user"].setdefault("features", {})
    return request.setdefault("context", {})


def settable_features(model: ModelSpec) -> List[Feature]:
    return [feature for feature in model.user_features if feature.source != "user_id"]


def make_unknown(request: Request, model: ModelSpec, index: int) -> None:
    request["user"]["id"] = 2**63 + index if model.user_id_type == "u64" else f"nobody-{index}"


def make_anonymous(request: Request, model: ModelSpec, index: int) -> None:
    request["user"].pop("id", None)


def drop_all_features(request: Request, model: ModelSpec, index: int) -> None:
    request["user"].pop("features", None)
    request.pop("context", None)


def drop_context(request: Request, model: ModelSpec, index: int) -> None:
    request.pop("context", None)


def drop_some_features(request: Request, model: ModelSpec, index: int) -> None:
    for place, feature in enumerate(settable_features(model)):
        if (place + index // len(RARITIES)) % 2 == 0:
            request_features(request, feature).pop(feature.name, None)


def nullify_some_features(request: Request, model: ModelSpec, index: int) -> None:
    for place, feature in enumerate(settable_features(model)):
        if (place + index // len(RARITIES)) % 3 == 0:
            request_features(request, feature)[feature.name] = None


def empty_histories(request: Request, model: ModelSpec, index: int) -> None:
    for feature in settable_features(model):
        if feature.multi_valued:
            request_features(request, feature)[feature.name] = []


def overfill_histories(request: Request, model: ModelSpec, index: int) -> None:
    for feature in settable_features(model):
        values = request_features(request, feature).get(feature.name)
        if feature.multi_valued and values:
            repeats = feature.maximum_values // len(values) + 1
            request_features(request, feature)[feature.name] = values * repeats + values[:1]


def use_unseen_words(request: Request, model: ModelSpec, index: int) -> None:
    for feature in settable_features(model):
        if isinstance(feature.encoding, VocabularyEncoding):
            unseen = -1 - index if feature.type == "integer" else f"unseen é {index}"
            values = request_features(request, feature).get(feature.name)
            if feature.multi_valued:
                # Between the known ones, so that row 0 is pooled with others.
                request_features(request, feature)[feature.name] = [unseen, *(values or [])]
            else:
                request_features(request, feature)[feature.name] = unseen


RARITIES: List[Callable[[Request, ModelSpec, int], None]] = [
    make_unknown, drop_some_features, empty_histories, drop_all_features, use_unseen_words, overfill_histories,
    nullify_some_features, drop_context, make_anonymous]
