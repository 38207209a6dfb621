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

enum {
    /// Vectors and the columns of packed matrices are padded to a multiple of this many floats.
    BELFRY_LANES = 16,
    /// How many users `four` takes.
    BELFRY_USERS = 4,
};

/// A dense layer, cycle-adaptive if `cycles` > 0. The matrices are as `belfry_pack` leaves them, for the kernels that
/// run it; they and the vectors are finite and aligned to 64 bytes, and the vectors padded with zeros to a multiple of
/// `BELFRY_LANES`.
typedef struct belfry_layer {
    const float *weight;       // W, (outputs, inputs), packed
    const float *bias;         // b, (outputs), padded
    const float *gate_weight;  // V, (inputs, outputs), packed
    const float *gate_bias;    // a, (inputs), padded
    size_t inputs;
    size_t outputs;
    int activation;
    size_t cycles;
} belfry_layer;

/// How one instruction set runs layers: y = f(W x + b), then `cycles` times
/// y = f(W (x * 2 sigmoid(V y + a)) + b), always of the same x.
///
/// x, y and `reweighted` are aligned to 64 bytes, do not overlap, and hold a multiple of `BELFRY_LANES` floats; what
/// x holds beyond `inputs` is read but does not matter. `columns` has room for `belfry_column_capacity` of the longer
/// of inputs and outputs. A user's y is the same, bit for bit, from either function.
typedef struct belfry_layer_kernels {
    /// The widest tile that the kernels want packed.
    size_t tile;
    /// From how many users on `four` is faster than as many calls of `one`, which leaves out each user's own zeros.
    size_t users_for_four;
    /// One user. - x: (inputs).  - y: (outputs).  - reweighted: (inputs).
    void (*one)(const belfry_layer *layer, const float *x, float *y, float *reweighted, uint32_t *columns);
    /// Four users, for which each weight is read once. - x, y, reweighted: (4, stride), as above per row.
    void (*four)(
        const belfry_layer *layer, const float *x, size_t stride, float *y, float *reweighted, uint32_t *columns);
} belfry_layer_kernels;

/// The kernels of an instruction set (`belfry_instruction_set`), which the machine must have.
const belfry_layer_kernels *belfry_layer_kernels_for(int instruction_set);

/// How many floats a packed matrix takes.
size_t belfry_packed_count(size_t outputs, size_t inputs);

/// Packs a matrix for the kernels that want tiles of `tile` outputs: tile after tile, in each the columns one after the
/// other, so that a product reads memory from front to back. The outputs are padded with zeros to a multiple of
/// `BELFRY_LANES`; where less than a tile is left, tiles are halved until they fit.
/// - w: (outputs, inputs), row-major.  - packed: `belfry_packed_count` floats.
void belfry_pack(const float *w, size_t outputs, size_t inputs, size_t tile, float *packed);

/// How many numbers `columns` holds for this many inputs.
size_t belfry_column_capacity(size_t inputs);

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
