"""From a log, a model's name and settings to two towers as `schema` describes them."""

from __future__ import annotations

from . import schema
from .data.log import Log
from .features import FeaturePlan
from .settings import Parts, Settings


def describe_model(log: Log, plan: FeaturePlan, parts: Parts, settings: Settings, space_id: str) -> schema.ModelSpec:
    """The model's description. Scale and bias are those before training."""
    kind = "l2" if settings.cosine else "none"
    id_types = [_id_type(table["id"].to_list()) for table in (log.users, log.items)]
    return schema.ModelSpec(
        space_id=space_id, dimension=settings.dimension, user_features=tuple(plan.user), item_features=tuple(plan.item),
        user_tower=_describe_tower("user_tower.safetensors", plan.user, parts, settings),
        item_tower=_describe_tower("item_tower.safetensors", plan.item, parts, settings),
        user_id_type=id_types[0], item_id_type=id_types[1], normalisation=schema.Normalisation(kind, kind),
        score=schema.ScoreCalibration(1.0 / settings.temperature if settings.cosine else 1.0, 0.0),
        ema=schema.Decays(settings.user_alpha, settings.item_alpha, settings.beta),
        cascade_space_id=f"{space_id}-ranker" if parts.cascade else None,
        cascade_dimension=settings.cascade_dimension if parts.cascade else None)


def describe_ranker_side(file: str, features: list[schema.Feature], settings: Settings, size: int) -> schema.Tower:
    """One side's encoder inside the ranker: the same features, no cached vectors."""
    inputs = _feature_inputs(features, settings)
    layer = schema.DenseLayer("layers.0", sum(each.size for each in inputs), size, "relu")
    return schema.Tower(file, tuple(inputs), (layer,))


def _describe_tower(file: str, features: list[schema.Feature], parts: Parts, settings: Settings) -> schema.Tower:
    inputs = _feature_inputs(features, settings)
    if parts.cross:
        inputs.append(schema.VectorInput("cross", settings.dimension))
    if parts.cascade:
        inputs.append(schema.VectorInput("cascade", settings.cascade_dimension))
    sizes = [sum(each.size for each in inputs), *settings.hidden, settings.dimension]
    cycles = settings.cycles if parts.cycle_adaptive else 0
    layers = [schema.DenseLayer(f"layers.{index}", size, following,
                                "identity" if index == len(sizes) - 2 else "relu", cycles)
              for index, (size, following) in enumerate(zip(sizes, sizes[1:]))]
    return schema.Tower(file, tuple(inputs), tuple(layers))


def _feature_inputs(features: list[schema.Feature], settings: Settings) -> list[schema.Input]:
    return [schema.NumericInput(feature.name) if isinstance(feature.encoding, schema.NumericEncoding)
            else schema.EmbeddingInput(feature.name, settings.embedding_dimension) for feature in features]


def _id_type(ids: list[str]) -> str:
    """u64 when every id is a plain decimal number."""
    return "u64" if all(text.isdecimal() and str(int(text)) == text and int(text) < 2**64 for text in ids) else "string"
