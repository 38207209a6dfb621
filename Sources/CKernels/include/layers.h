#pragma once

#include <stddef.h>
#include <stdint.h>

/// Activations, in the order of the manifest's names.
enum belfry_activation {
    BELFRY_IDENTITY,
    BELFRY_RELU,
    BELFRY_LEAKY_RELU,
    BELFRY_TANH,
    BELFRY_SIGMOID,
    BELFRY_SILU,
    BELFRY_GELU,
};

/// y = f(W x + b).
/// - w: (outputs, inputs), row-major.  - b: (outputs).  - x: (inputs).  - y: (outputs), not overlapping x.
void belfry_dense(
    const float *w, const float *b, const float *x, size_t inputs, size_t outputs, int activation, float *y);

/// reweighted = x * 2 sigmoid(V z + a): the adaptive reweighting of a cycle-adaptive layer.
/// - v: (inputs, outputs), row-major.  - a, x, reweighted: (inputs).  - z: (outputs).
void belfry_gate(
    const float *v, const float *a, const float *z, const float *x, size_t inputs, size_t outputs, float *reweighted);

/// y = (x - mean) / sqrt(biased variance + epsilon) * weight + bias, all of length `size`; y may be x.
void belfry_layer_norm(
    const float *weight, const float *bias, const float *x, size_t size, float epsilon, float *y);

/// The sum of squares.
float belfry_squared_norm(const float *x, size_t size);

/// Divides by max(norm, 1e-12) in place.
void belfry_l2_normalise(float *x, size_t size);

/// into += row
void belfry_add(float *into, const float *row, size_t size);

/// into *= factor
void belfry_scale(float *into, float factor, size_t size);

/// IEEE 754 binary16 to binary32.
void belfry_widen_halves(const uint16_t *halves, size_t size, float *floats);
