"""A tower as a PyTorch module, built from its description alone.

    tower = Tower(model.user_tower, model.user_features, normalisation=model.normalisation.user, seed=7)
    batch = encoder.encode_columns(...).take(indices)
    vectors = tower(batch, cross=c_u[indices], cascade=s_u[indices])     # float32 [n, dimension]
    vectors = tower(batch)                                               # no cached vectors: zeros, a cold start
    torch.optim.Adagrad(tower.embedding_parameters(), lr=0.1)            # their gradients are sparse
    torch.optim.Adam(tower.dense_parameters(), lr=1e-3)
    tensors = tower.export_tensors()                                     # numpy, under the names of docs/SNAPSHOT.md
    tower.import_tensors(tensors)

Unset seeds are 0. An untrained cycle-adaptive layer equals the plain one, bit by bit: its gate is zero and
2 sigmoid(0) = 1. `tower.assemble_inputs(batch, cross, cascade)` gives the matrix that the first layer sees.
"""

from __future__ import annotations

import math
from typing import Dict, Iterable, List, Mapping, Optional

import numpy
import torch
import torch.nn.functional as functional

from . import schema
from .encoding import EncodedFeatures
from .errors import InvalidInput

ACTIVATIONS = {
    "identity": lambda values: values,
    "relu": torch.relu,
    "leaky_relu": lambda values: functional.leaky_relu(values, 0.01),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "gelu": functional.gelu,  # by erf: PyTorch's default
}

# The gain that keeps the size of what passes through a layer about constant.
GAINS = {"identity": 1.0, "relu": math.sqrt(2), "leaky_relu": math.sqrt(2), "tanh": 5 / 3, "sigmoid": 1.0,
         "silu": math.sqrt(2), "gelu": math.sqrt(2)}


class CycleGate(torch.nn.Module):
    """2 sigmoid(V z + a): a factor in (0, 2) for each coordinate of the layer's input."""

    def __init__(self, input_size: int, output_size: int):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(input_size, output_size))  # V
        self.bias = torch.nn.Parameter(torch.zeros(input_size))  # a

    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        return 2 * torch.sigmoid(functional.linear(outputs, self.weight, self.bias))


class DenseLayer(torch.nn.Module):
    """A fully connected layer; with cycles, the cycle-adaptive structure of CS3, which always reweights the same input."""

    def __init__(self, layer: schema.DenseLayer, generator: torch.Generator):
        super().__init__()
        self.cycles = layer.cycles
        self.activation = ACTIVATIONS[layer.activation]
        bound = GAINS[layer.activation] * math.sqrt(3 / layer.input_size)
        weight = torch.empty(layer.output_size, layer.input_size).uniform_(-bound, bound, generator=generator)
        self.weight = torch.nn.Parameter(weight)
        self.bias = torch.nn.Parameter(torch.zeros(layer.output_size))
        self.gate = CycleGate(layer.input_size, layer.output_size) if layer.cycles > 0 else None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = self.activation(functional.linear(inputs, self.weight, self.bias))
        for _ in range(self.cycles):
            reweighted = inputs * self.gate(outputs)
            outputs = self.activation(functional.linear(reweighted, self.weight, self.bias))
        return outputs


class LayerNorm(torch.nn.Module):
    def __init__(self, layer: schema.LayerNorm):
        super().__init__()
        self.epsilon = layer.epsilon
        self.weight = torch.nn.Parameter(torch.ones(layer.size))
        self.bias = torch.nn.Parameter(torch.zeros(layer.size))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(inputs, self.weight.shape, self.weight, self.bias, self.epsilon)


class Tower(torch.nn.Module):
    def __init__(self, tower: schema.Tower, features: Iterable[schema.Feature], normalisation: str = "none", seed: int = 0,
                 embedding_deviation: float = 0.05, sparse_gradients: bool = True):
        super().__init__()
        self.schema = tower
        self.normalisation = normalisation
        self.sparse_gradients = sparse_gradients
        generator = torch.Generator().manual_seed(seed)
        features_by_name = {feature.name: feature for feature in features}
        # torch keeps modules by name and refuses dots in names, so tables and layers stand in lists of their own; the
        # names of docs/SNAPSHOT.md come in export_tensors.
        self.embedded = [each for each in tower.inputs if isinstance(each, schema.EmbeddingInput)]
        self.tables = torch.nn.ParameterList()
        for each in self.embedded:
            table = torch.empty(features_by_name[each.feature].encoding.rows, each.dimension)
            self.tables.append(torch.nn.Parameter(table.normal_(0, embedding_deviation, generator=generator)))
        self.layers = torch.nn.ModuleList(
            DenseLayer(layer, generator) if isinstance(layer, schema.DenseLayer) else LayerNorm(layer)
            for layer in tower.layers)

    @property
    def device(self) -> torch.device:
        return next(self.layers.parameters()).device

    def forward(self, features: EncodedFeatures, cross: Optional[torch.Tensor] = None,
                cascade: Optional[torch.Tensor] = None) -> torch.Tensor:
        values = self.assemble_inputs(features, cross, cascade)
        for layer in self.layers:
            values = layer(values)
        return normalise(values, self.normalisation)

    def assemble_inputs(self, features: EncodedFeatures, cross: Optional[torch.Tensor] = None,
                        cascade: Optional[torch.Tensor] = None) -> torch.Tensor:
        """(record, input), the inputs in the order of the description."""
        device = self.device
        tables = iter(self.tables)
        parts: List[torch.Tensor] = []
        for each in self.schema.inputs:
            if isinstance(each, schema.EmbeddingInput):
                rows, offsets = features.bags(each.feature, device)
                # An empty bag gives zeros with either pooling.
                parts.append(functional.embedding_bag(rows, next(tables), offsets, mode=each.pooling,
                                                      sparse=self.sparse_gradients, include_last_offset=True))
            elif isinstance(each, schema.NumericInput):
                parts.append(features.numbers(each.feature, device).unsqueeze(1))
            else:
                vectors = cross if each.vector == "cross" else cascade
                if vectors is None:
                    vectors = torch.zeros(features.count, each.dimension, device=device)
                parts.append(vectors)
        return torch.cat(parts, dim=1)

    def embedding_parameters(self) -> List[torch.nn.Parameter]:
        return list(self.tables)

    def dense_parameters(self) -> List[torch.nn.Parameter]:
        return list(self.layers.parameters())

    def _named_tensors(self) -> Dict[str, torch.nn.Parameter]:
        named = {f"inputs.{each.feature}.weight": table for each, table in zip(self.embedded, self.tables)}
        for layer, module in zip(self.schema.layers, self.layers):
            for name, parameter in module.named_parameters():
                named[f"{layer.name}.{name}"] = parameter
        return named

    def export_tensors(self) -> Dict[str, numpy.ndarray]:
        """float32 copies under the names that docs/SNAPSHOT.md gives them."""
        return {name: parameter.detach().cpu().numpy().astype(numpy.float32, copy=True)
                for name, parameter in self._named_tensors().items()}

    def import_tensors(self, tensors: Mapping[str, numpy.ndarray]) -> None:
        """Takes over all tensors; a missing, foreign or misshapen one is refused."""
        named = self._named_tensors()
        for name in tensors:
            if name not in named:
                raise InvalidInput(f"{self.schema.file}: no input or layer claims the tensor {name!r}")
        for name, parameter in named.items():
            if name not in tensors:
                raise InvalidInput(f"{self.schema.file}: the tensor {name!r} is missing")
            if tuple(tensors[name].shape) != tuple(parameter.shape):
                raise InvalidInput(f"{self.schema.file}: {name!r} has the shape {list(tensors[name].shape)}, "
                                   f"not {list(parameter.shape)}")
        with torch.no_grad():
            for name, parameter in named.items():
                parameter.copy_(torch.from_numpy(numpy.ascontiguousarray(tensors[name], dtype=numpy.float32)))


def normalise(vectors: torch.Tensor, normalisation: str) -> torch.Tensor:
    """`l2` divides each row by max(norm, 1e-12), `none` returns them as they are."""
    return functional.normalize(vectors, dim=1, eps=1e-12) if normalisation == "l2" else vectors
