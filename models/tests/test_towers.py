import math

import numpy
import pytest
import torch
from small_models import CITIES, USER_FEATURES, random_contents, small_model

from belfry_models import schema
from belfry_models.encoding import FeatureEncoder
from belfry_models.errors import InvalidInput
from belfry_models.towers import ACTIVATIONS, DenseLayer, Tower


def layer(activation: str, cycles: int, weight, bias, gate_weight=None, gate_bias=None) -> DenseLayer:
    weight = torch.tensor(weight)
    module = DenseLayer(schema.DenseLayer("l", weight.shape[1], weight.shape[0], activation, cycles), torch.Generator())
    with torch.no_grad():
        module.weight.copy_(weight)
        module.bias.copy_(torch.tensor(bias))
        if cycles > 0:
            module.gate.weight.copy_(torch.tensor(gate_weight))
            module.gate.bias.copy_(torch.tensor(gate_bias))
    return module


def test_cycles_by_hand():
    """Two inputs, one output, worked out on paper; the second cycle reweights x again, not what the first made of it."""
    weight, bias, gate_weight, gate_bias = [[2.0, -1.0]], [0.5], [[1.0], [-2.0]], [0.25, -0.5]
    x = (1.0, 3.0)

    def sigmoid(value):
        return 1 / (1 + math.exp(-value))

    z0 = 2.0 * 1.0 - 1.0 * 3.0 + 0.5
    assert z0 == -0.5
    z1 = 2.0 * (1.0 * 2 * sigmoid(1.0 * z0 + 0.25)) - (3.0 * 2 * sigmoid(-2.0 * z0 - 0.5)) + 0.5
    z2 = 2.0 * (1.0 * 2 * sigmoid(1.0 * z1 + 0.25)) - (3.0 * 2 * sigmoid(-2.0 * z1 - 0.5)) + 0.5
    # sigmoid(-0.25) = 0.4378235 and sigmoid(0.5) = 0.6224593: 4 * 0.4378235 - 6 * 0.6224593 + 0.5
    assert z1 == pytest.approx(-1.483462, abs=1e-6)
    for cycles, expected in ((0, z0), (1, z1), (2, z2)):
        result = layer("identity", cycles, weight, bias, gate_weight, gate_bias)(torch.tensor([x]))
        assert result.item() == pytest.approx(expected, abs=1e-6)


def test_the_activation_comes_before_the_gate():
    module = layer("relu", 1, [[1.0]], [-5.0], [[10.0]], [0.0])
    # The pre-forward gives relu(-3) = 0, so the gate is 2 sigmoid(0) = 1; without the relu it would be about 0.
    assert module(torch.tensor([[2.0]])).item() == 0.0
    # Here it gives relu(3) = 3 and the gate 2 sigmoid(31) = 2, so twice the input goes through.
    module = layer("relu", 1, [[-1.0]], [1.0], [[10.0]], [1.0])
    assert module(torch.tensor([[-2.0]])).item() == pytest.approx(5.0)


@pytest.mark.parametrize("cycles", [1, 2, 5])
@pytest.mark.parametrize("activation", schema.ACTIVATIONS)
def test_an_untrained_gate_changes_no_bit(activation, cycles):
    plain = DenseLayer(schema.DenseLayer("l", 40, 30, activation, 0), torch.Generator().manual_seed(1))
    adaptive = DenseLayer(schema.DenseLayer("l", 40, 30, activation, cycles), torch.Generator().manual_seed(1))
    inputs = torch.randn(64, 40, generator=torch.Generator().manual_seed(2))
    assert torch.equal(plain(inputs), adaptive(inputs))


def test_gradients_reach_the_gate():
    module = DenseLayer(schema.DenseLayer("l", 6, 4, "tanh", 1), torch.Generator().manual_seed(1))
    module(torch.randn(8, 6, generator=torch.Generator().manual_seed(2))).sum().backward()
    assert module.gate.weight.grad.abs().min() > 0 and module.gate.bias.grad.abs().min() > 0


@pytest.mark.parametrize("activation, value, expected", [
    ("identity", -2.0, -2.0), ("relu", -2.0, 0.0), ("leaky_relu", -2.0, -0.02), ("tanh", 0.5, math.tanh(0.5)),
    ("sigmoid", 0.5, 1 / (1 + math.exp(-0.5))), ("silu", 0.5, 0.5 / (1 + math.exp(-0.5))),
    ("gelu", 0.5, 0.5 * 0.5 * (1 + math.erf(0.5 / math.sqrt(2)))),
])
def test_activations(activation, value, expected):
    assert set(ACTIVATIONS) == set(schema.ACTIVATIONS)
    assert ACTIVATIONS[activation](torch.tensor(value)).item() == pytest.approx(expected, abs=1e-6)


def naive_tower(description, features, tensors, request_columns, row, cross, cascade):
    """One record, with loops over plain lists, from the format's text."""
    inputs = []
    for each in description.inputs:
        if isinstance(each, schema.EmbeddingInput):
            bag = request_columns[each.feature][row]
            total = numpy.zeros(each.dimension)
            for index in bag:
                total += tensors[f"inputs.{each.feature}.weight"][index]
            inputs.extend(total / len(bag) if each.pooling == "mean" and bag else total)
        elif isinstance(each, schema.NumericInput):
            inputs.append(request_columns[each.feature][row])
        else:
            inputs.extend((cross if each.vector == "cross" else cascade)[row])
    x = numpy.array(inputs, dtype=numpy.float64)
    for each in description.layers:
        weight, bias = tensors[f"{each.name}.weight"], tensors[f"{each.name}.bias"]
        if isinstance(each, schema.LayerNorm):
            x = (x - x.mean()) / math.sqrt(((x - x.mean()) ** 2).mean() + each.epsilon) * weight + bias
            continue
        activation = {"relu": lambda z: numpy.maximum(z, 0), "tanh": numpy.tanh, "identity": lambda z: z,
                      "leaky_relu": lambda z: numpy.where(z > 0, z, 0.01 * z), "sigmoid": lambda z: 1 / (1 + numpy.exp(-z)),
                      "silu": lambda z: z / (1 + numpy.exp(-z)),
                      "gelu": lambda z: z / 2 * (1 + numpy.array([math.erf(v / math.sqrt(2)) for v in z]))}[each.activation]
        z = activation(weight @ x + bias)
        for _ in range(each.cycles):
            gate = tensors[f"{each.name}.gate.weight"] @ z + tensors[f"{each.name}.gate.bias"]
            z = activation(weight @ (x * 2 / (1 + numpy.exp(-gate))) + bias)
        x = z
    return x


def test_bags_and_layers_equal_naive_loops():
    contents = random_contents("--cycles", "2", "--activation", "mixed", "--layers", "20,18,16,14,12,10", "--layer-norm")
    model, draw = contents.model, numpy.random.default_rng(0)
    encoder = FeatureEncoder(model.user_features, contents.user_vocabularies)
    cross = draw.normal(0, 1, (12, model.dimension)).astype(numpy.float32)
    cascade = draw.normal(0, 1, (12, 16)).astype(numpy.float32)
    tower = contents.user_tower()
    for row, request in enumerate(contents.requests[:12]):
        encoded = encoder.encode_request(request["user"], request.get("context"))
        columns = {name: [column.values[0] if hasattr(column, "values") else column.rows.tolist()]
                   for name, column in encoded.columns.items()}
        with torch.no_grad():
            result = tower(encoded, torch.from_numpy(cross[row:row + 1]), torch.from_numpy(cascade[row:row + 1]))[0].numpy()
        expected = naive_tower(model.user_tower, model.user_features, contents.user_tensors, columns, 0, cross[row:], cascade[row:])
        assert numpy.allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_missing_values_and_vectors_are_zeros():
    model = small_model()
    tower = Tower(model.user_tower, USER_FEATURES, seed=4)
    encoder = FeatureEncoder(USER_FEATURES, {"city": CITIES})
    encoded = encoder.encode_request({"features": {"recent_items": []}})
    assert torch.equal(tower.assemble_inputs(encoded), torch.zeros(1, 23))


def test_tensors_have_the_names_of_the_format_and_come_back():
    model = small_model()
    tower, other = (Tower(model.user_tower, USER_FEATURES, seed=seed) for seed in (1, 2))
    tensors = tower.export_tensors()
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        "inputs.city.weight": (3, 3), "inputs.recent_items.weight": (64, 4), "inputs.age.weight": (4, 2),
        "layers.0.weight": (12, 23), "layers.0.bias": (12,), "layers.0.gate.weight": (23, 12), "layers.0.gate.bias": (23,),
        "layers.1.weight": (12,), "layers.1.bias": (12,), "layers.2.weight": (8, 12), "layers.2.bias": (8,)}
    other.import_tensors(tensors)
    assert all(numpy.array_equal(tensors[name], tensor) for name, tensor in other.export_tensors().items())
    for change, fault in ((lambda t: t.pop("layers.0.gate.bias"), "missing"),
                          (lambda t: t.update(extra=numpy.zeros(1)), "claims"),
                          (lambda t: t.update({"layers.2.bias": numpy.zeros(9)}), "shape")):
        changed = dict(tensors)
        change(changed)
        with pytest.raises(InvalidInput, match=fault):
            other.import_tensors(changed)


def test_the_seed_decides():
    model = small_model()
    first, again, other = (Tower(model.user_tower, USER_FEATURES, seed=seed).export_tensors() for seed in (1, 1, 2))
    assert all(numpy.array_equal(first[name], again[name]) for name in first)
    assert not numpy.array_equal(first["layers.0.weight"], other["layers.0.weight"])


def test_separate_optimizers_step_over_all_parameters():
    model = small_model()
    tower = Tower(model.user_tower, USER_FEATURES, seed=1)
    assert len(tower.embedding_parameters()) + len(tower.dense_parameters()) == len(list(tower.parameters()))
    before = tower.export_tensors()
    encoder = FeatureEncoder(USER_FEATURES, {"city": CITIES})
    batch = encoder.encode_columns({"city": ["Oslo"], "recent_items": [["a", "b"]], "age": [2], "hour": [3]})
    tower(batch).square().sum().backward()
    assert tower.tables[0].grad.is_sparse
    torch.optim.Adagrad(tower.embedding_parameters(), lr=0.1).step()
    torch.optim.Adam(tower.dense_parameters(), lr=0.001).step()
    after = tower.export_tensors()
    assert (before["inputs.city.weight"] != after["inputs.city.weight"]).any(axis=1).tolist() == [False, True, False]
    assert not numpy.array_equal(before["layers.0.weight"], after["layers.0.weight"])


def test_l2_divides_by_the_norm():
    contents = random_contents("--normalise")
    assert numpy.allclose(numpy.linalg.norm(contents.vectors, axis=1), 1, atol=1e-6)
    assert numpy.allclose(numpy.linalg.norm(contents.oracle().embed_all(contents.requests[:5]), axis=1), 1, atol=1e-6)


def test_items_in_chunks_equal_items_at_once(monkeypatch):
    contents = random_contents()
    monkeypatch.setattr("belfry_models.export.CHUNK_ITEMS", 64)
    assert numpy.allclose(random_contents().vectors, contents.vectors, atol=1e-5)
