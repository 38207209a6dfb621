import json

import numpy
import pytest
import torch
from small_models import file_digests, random_contents

from belfry_models import schema
from belfry_models.__main__ import main
from belfry_models.schema import BucketiseEncoding, HashEncoding, NumericEncoding, VocabularyEncoding
from belfry_models.snapshot import read_snapshot
from belfry_models.towers import DenseLayer


def test_no_tensor_is_trivial():
    contents = random_contents("--layer-norm", "--cycles", "2")
    for tensors in (contents.user_tensors, contents.item_tensors):
        assert {"layers.0.gate.weight", "layers.0.gate.bias", "layers.1.bias"} <= set(tensors)
        for name, tensor in tensors.items():
            assert numpy.isfinite(tensor).all() and tensor.std() > 0.01, name
            assert (tensor != 0).all() and not (tensor == 1).any(), name
    for vectors in (contents.users.cross, contents.users.cascade, contents.items.cross, contents.items.cascade,
                    contents.vectors):
        assert (vectors != 0).all() and vectors.std() > 0.05


def test_every_kind_of_the_format_is_there():
    model = random_contents().model
    features = model.user_features + model.item_features
    assert {type(feature.encoding) for feature in features} == {HashEncoding, VocabularyEncoding, BucketiseEncoding, NumericEncoding}
    assert {feature.source for feature in model.user_features} == {"user", "context", "user_id"}
    assert {feature.type for feature in model.user_features} == {"string", "integer", "number", "id"}
    assert {each["kind"] for feature in features if isinstance(feature.encoding, NumericEncoding)
            for each in feature.to_json()["encoding"]["transforms"]} == {"log1p", "standardise", "clip"}
    for tower, side in ((model.user_tower, model.user_features), (model.item_tower, model.item_features)):
        several = {feature.name for feature in side if feature.multi_valued}
        poolings = {(each.feature in several, each.pooling) for each in tower.inputs if isinstance(each, schema.EmbeddingInput)}
        assert poolings == {(True, "mean"), (True, "sum"), (False, "mean"), (False, "sum")}
        assert {each.vector for each in tower.inputs if isinstance(each, schema.VectorInput)} == {"cross", "cascade"}
    types = {(each.type, each.offsets is not None) for each in random_contents().items.attributes}
    assert {("code", False), ("code", True), ("f32", False), ("f32", True), ("i64", False), ("i64", True)} == types


@pytest.mark.parametrize("options", [("--cycles", "3", "--layers", "96,64,56,48,40,32", "--activation", "mixed", "--layer-norm"),
                                     ("--cycles", "1"), ("--cycles", "0", "--activation", "gelu"), ("--layers", "")])
def test_magnitudes_stay_sensible(options):
    """Nothing saturates, explodes or dies on the way through the user tower."""
    contents = random_contents(*options)
    oracle = contents.oracle()
    dead, gates = [], []
    for request in contents.requests[:40]:
        row = oracle.user_row(request["user"])
        values = oracle.tower.assemble_inputs(oracle.encoder.encode_request(request["user"], request.get("context")),
                                              oracle._cached_vector("cross", row), oracle._cached_vector("cascade", row))
        with torch.no_grad():
            for layer in oracle.tower.layers:
                if isinstance(layer, DenseLayer) and layer.gate is not None:
                    first = layer.activation(torch.nn.functional.linear(values, layer.weight, layer.bias))
                    gates.append(layer.gate(first))
                values = layer(values)
                assert 0.05 < values.std() < 5
                dead.append((values == 0).float().mean().item())
    assert numpy.mean(dead) < 0.7
    if gates:
        factors = torch.cat([each.flatten() for each in gates])
        assert 0.02 < factors.min() and factors.max() < 1.98 and factors.std() > 0.1
    embeddings = oracle.embed_all(contents.requests[:40])
    assert embeddings.std(axis=0).min() > 0.02 and contents.vectors.std(axis=0).min() > 0.02


def test_users_cross_vectors_live_in_the_items_space():
    contents = random_contents("--users", "400")
    mean = 0.488 * contents.vectors.mean(axis=0)  # 1 - 0.8^3 of an average item
    assert numpy.abs(contents.users.cross.mean(axis=0) - mean).max() < 0.1


def test_the_seed_decides_everything(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    def draw(place, seed):
        assert main(["random", "--items", "200", "--dimension", "12", "--seed", seed, "--users", "20", "--factory", "HNSW8",
                     "--out", str(tmp_path / place / "s")]) == 0
        return file_digests(tmp_path / place / "s")
    first, again, other = draw("a", "1"), draw("b", "1"), draw("c", "2")
    assert first == again
    # The words behind the attributes' codes are the same for all.
    assert {name for name in first if first[name] == other[name]} == {"attributes.json"}


def test_more_items_do_not_change_the_user_tower():
    few, many = random_contents("--items", "300"), random_contents("--items", "400")
    assert all(numpy.array_equal(few.user_tensors[name], many.user_tensors[name]) for name in few.user_tensors)


def test_the_options_reach_the_snapshot(tmp_path):
    assert main(["random", "--items", "200", "--dimension", "12", "--seed", "1", "--users", "20", "--layers", "24,16",
                 "--cycles", "2", "--activation", "silu", "--layer-norm", "--cascade-dimension", "7", "--metric", "l2",
                 "--normalise", "--item-ids", "string", "--user-ids", "u64", "--users-dtype", "float16", "--golden", "80",
                 "--factory", "IVF4,Flat", "--out", str(tmp_path / "s")]) == 0
    snapshot = read_snapshot(tmp_path / "s")
    model = snapshot.model
    assert (model.dimension, model.cascade_dimension, model.metric) == (12, 7, "l2")
    assert (model.item_id_type, model.user_id_type, model.normalisation.user) == ("string", "u64", "l2")
    assert [(layer.output_size, getattr(layer, "activation", "norm"), getattr(layer, "cycles", 0))
            for layer in model.user_tower.layers] == [(24, "silu", 2), (24, "norm", 0), (16, "silu", 2), (16, "norm", 0),
                                                      (12, "identity", 2)]
    assert snapshot.manifest["index"]["kind"] == "ivf_flat" and snapshot.users.cross.dtype == numpy.float16
    assert len((tmp_path / "s" / "golden.jsonl").read_text().splitlines()) == 80


def test_no_users_is_a_model_of_cold_starts(tmp_path):
    assert main(["random", "--items", "120", "--dimension", "8", "--seed", "1", "--users", "0", "--factory", "Flat",
                 "--out", str(tmp_path / "s")]) == 0
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert manifest["users"] is None and manifest["towers"]["user"]["inputs"][-2]["vector"] == "cross"


def test_string_ids_are_not_all_ascii_and_u64_ids_use_all_bits():
    assert any(not id.isascii() for id in random_contents("--item-ids", "string").items.ids)
    ids = random_contents().items.ids
    assert ids.max() > 2**63 and ids.min() < 2**60
