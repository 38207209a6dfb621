import json
from dataclasses import replace

import pytest
from small_models import CITY, small_model

from belfry_models.errors import InvalidInput
from belfry_models.schema import (BucketiseEncoding, Clip, DenseLayer, EmbeddingInput, Feature, HashEncoding, LayerNorm,
                                  ModelSpec, NumericEncoding, Standardise, Tower, VocabularyEncoding)


def test_a_model_survives_its_json():
    model = small_model()
    assert ModelSpec.from_json(json.loads(json.dumps(model.to_json()))) == model


def test_a_feature_and_a_layer_have_the_keys_of_the_format():
    feature = Feature("recent_items", "user", "id", HashEncoding(65536, 7), True, 20)
    assert feature.to_json() == {"name": "recent_items", "source": "user", "type": "id", "multi_valued": True,
                                 "maximum_values": 20, "encoding": {"kind": "hash", "rows": 65536, "seed": 7}}
    assert "maximum_values" not in CITY.to_json()
    assert DenseLayer("layers.0", 65, 64, "relu", 1).to_json() == {
        "kind": "dense", "name": "layers.0", "in": 65, "out": 64, "activation": "relu", "cycles": 1}
    assert LayerNorm("layers.1", 64).to_json() == {"kind": "layer_norm", "name": "layers.1", "size": 64, "epsilon": 1e-5}


@pytest.mark.parametrize("make, fault", [
    (lambda: BucketiseEncoding((1.0, 1.0)), "strictly ascending"),
    (lambda: HashEncoding(0), "rows"),
    (lambda: HashEncoding(5, 2**64), "seed"),
    (lambda: Standardise(0.0, 0.0), "deviation"),
    (lambda: Clip(2.0, 1.0), "order"),
    (lambda: Feature("a.b", "user", "string", HashEncoding(4)), "name"),
    (lambda: Feature("a", "user", "number", HashEncoding(4)), "does not take"),
    (lambda: Feature("a", "user", "string", NumericEncoding()), "does not take"),
    (lambda: Feature("a", "user", "integer", NumericEncoding(), True, 3), "single-valued"),
    (lambda: Feature("a", "user", "id", HashEncoding(4), True), "maximum_values"),
    (lambda: Feature("a", "user", "id", HashEncoding(4), False, 3), "maximum_values"),
    (lambda: Feature("a", "user_id", "id", HashEncoding(4), True, 3), "one value"),
    (lambda: EmbeddingInput("a", 4, "max"), "pooling"),
    (lambda: DenseLayer("a", 4, 4, "softmax"), "activation"),
    (lambda: DenseLayer("a", 4, 4, "relu", -1), "cycles"),
    (lambda: Tower("t", (EmbeddingInput("a", 4),), (DenseLayer("x", 5, 4),)), "takes 5 numbers and gets 4"),
    (lambda: Tower("t", (EmbeddingInput("a", 4), EmbeddingInput("a", 1)), (DenseLayer("x", 5, 4),)), "two embeddings"),
    (lambda: small_model(space_id="a b"), "space_id"),
    (lambda: small_model(dimension=9), "9"),
    (lambda: small_model(cascade_space_id=None), "cascade_space_id"),
    (lambda: small_model(metric="cosine"), "metric"),
    (lambda: small_model(user_features=(CITY,)), "no feature 'recent_items'"),
    (lambda: small_model(user_features=(*small_model().user_features, CITY)), "share a name"),
    (lambda: small_model(item_features=(replace(small_model().item_features[0], type="string"),)), "u64 ids are not"),
])
def test_what_no_daemon_would_serve_cannot_be_described(make, fault):
    with pytest.raises(InvalidInput, match=fault):
        make()


@pytest.mark.parametrize("change, fault", [
    (lambda model: model.pop("metric"), "lacks the key 'metric'"),
    (lambda model: model.update(colour="red"), "unknown key 'colour'"),
    (lambda model: model["towers"]["user"]["layers"][0].update(rate=0.1), "unknown key 'rate'"),
    (lambda model: model["features"]["user"][0]["encoding"].update(kind="one_hot"), "unknown encoding 'one_hot'"),
    (lambda model: model["towers"]["user"]["layers"][0].update(kind="convolution"), "unknown layer 'convolution'"),
    (lambda model: model["towers"]["user"]["inputs"][0].update(kind="image"), "unknown input 'image'"),
    (lambda model: model["features"]["user"][3]["encoding"]["transforms"][0].update(kind="sqrt"), "unknown transform 'sqrt'"),
])
def test_json_with_other_keys_is_refused(change, fault):
    model = small_model().to_json()
    change(model)
    with pytest.raises(InvalidInput, match=fault):
        ModelSpec.from_json(model)


def test_a_vocabulary_has_a_row_more_than_words():
    assert VocabularyEncoding(1).rows == 1
    assert BucketiseEncoding((1, 2)).rows == 3
