// The body of one instruction set's layers; layers.c includes it once per set, having defined
//   KERNEL(name)            the name with the set's suffix
//   TARGET                  the attribute that selects the set
//   MULTIPLY_ADD(a, b, c)   a * b + c over lanes
//   LANES                   floats per register
//   TILE_VECTORS            registers of a tile: as many sums as the set can keep in flight
//   USER_VECTORS            registers per user where four users are summed at once
//   USERS_FOR_FOUR          from how many users on that is faster, as measured
//   LIST_BLOCK(...)         see list_block_portable
//
// Outputs lie in lanes and inputs are broadcast, so an output's sum is built by the same operations in the same order
// in any lane of any set: sets that fuse multiply and add agree bit for bit.

typedef float KERNEL(lanes) __attribute__((ext_vector_type(LANES)));
typedef uint32_t KERNEL(bits) __attribute__((ext_vector_type(LANES)));
#define lanes KERNEL(lanes)
#define bits KERNEL(bits)
#define INLINE TARGET __attribute__((always_inline)) static inline
#define UNROLL _Pragma("clang loop unroll(full)")

// Exponentials below are for |x| up to this, where 2^n is a normal number.
#define LARGEST_EXPONENT 87.3f

// x = n ln 2 + r with |r| <= ln 2 / 2. The result is e^r - 1, and `*scale` 2^n.
INLINE lanes KERNEL(reduced_exponential)(lanes x, lanes *scale) {
    // 1.5 * 2^23: adding it rounds to an integer, which is then the number's lowest bits.
    const lanes shift = 12582912.0f;
    lanes shifted = MULTIPLY_ADD(x, (lanes)1.44269504f, shift);
    lanes n = shifted - shift;
    // ln 2 in two parts, of which the first has so few bits that its product with n is exact.
    lanes r = MULTIPLY_ADD(n, (lanes)-0.693359375f, x);
    r = MULTIPLY_ADD(n, (lanes)2.12194440e-4f, r);
    *scale = (lanes)(((bits)shifted << 23) + 0x3F800000u);
    // The exponential's series; what it leaves out is under 6e-9.
    lanes sum = 1.0f / 5040;
    sum = MULTIPLY_ADD(sum, r, (lanes)(1.0f / 720));
    sum = MULTIPLY_ADD(sum, r, (lanes)(1.0f / 120));
    sum = MULTIPLY_ADD(sum, r, (lanes)(1.0f / 24));
    sum = MULTIPLY_ADD(sum, r, (lanes)(1.0f / 6));
    sum = MULTIPLY_ADD(sum, r, (lanes)0.5f);
    return MULTIPLY_ADD(sum * r, r, r);
}

// Exact at 0, where a gate that was never trained has to change nothing; 0 where it is less than a normal number. A NaN
// stays one.
INLINE lanes KERNEL(sigmoid)(lanes x) {
    lanes exponent = x > LARGEST_EXPONENT ? (lanes)-LARGEST_EXPONENT : -x;
    exponent = x < -LARGEST_EXPONENT ? (lanes)LARGEST_EXPONENT : exponent;
    lanes scale;
    lanes exponential = KERNEL(reduced_exponential)(exponent, &scale);
    lanes result = 1.0f / (1.0f + MULTIPLY_ADD(scale, exponential, scale));
    return x < -LARGEST_EXPONENT ? (lanes)0.0f : result;
}

// (e^2x - 1) / (e^2x + 1) of |x|, which keeps its precision towards 0.
INLINE lanes KERNEL(tanh)(lanes x) {
    bits sign = (bits)x & 0x80000000u;
    lanes doubled = 2.0f * (lanes)((bits)x ^ sign);
    doubled = doubled > 20.0f ? (lanes)20.0f : doubled;
    lanes scale;
    lanes exponential = KERNEL(reduced_exponential)(doubled, &scale);
    lanes less_one = MULTIPLY_ADD(scale, exponential, scale - 1.0f);
    return (lanes)((bits)(less_one / (less_one + 2.0f)) | sign);
}

// x times the normal distribution's share below x. The tail beyond |x| is e^(-x^2 / 2) times a polynomial in
// u = 1 / (1 + 0.42 |x| / sqrt 2), fitted to float64's erfc for the least largest relative error (2.3e-9): no sum cancels.
INLINE lanes KERNEL(gelu)(lanes x) {
    lanes magnitude = (lanes)((bits)x & 0x7FFFFFFFu);
    lanes u = 1.0f / MULTIPLY_ADD(magnitude, (lanes)0.29698485f, (lanes)1.0f);
    lanes exponent = x * x * -0.5f;
    exponent = exponent < -LARGEST_EXPONENT ? (lanes)-LARGEST_EXPONENT : exponent;
    lanes scale;
    lanes exponential = KERNEL(reduced_exponential)(exponent, &scale);
    exponential = MULTIPLY_ADD(scale, exponential, scale);
    lanes sum = -0.04115978f;
    sum = MULTIPLY_ADD(sum, u, (lanes)0.23082908f);
    sum = MULTIPLY_ADD(sum, u, (lanes)-0.48694038f);
    sum = MULTIPLY_ADD(sum, u, (lanes)0.437556f);
    sum = MULTIPLY_ADD(sum, u, (lanes)-0.19767508f);
    sum = MULTIPLY_ADD(sum, u, (lanes)0.21392375f);
    sum = MULTIPLY_ADD(sum, u, (lanes)0.1499733f);
    sum = MULTIPLY_ADD(sum, u, (lanes)0.21990928f);
    sum = MULTIPLY_ADD(sum, u, (lanes)0.2366104f);
    sum = MULTIPLY_ADD(sum, u, (lanes)0.23697342f);
    lanes tail = 0.5f * (sum * u) * exponential;
    return x * (x < 0.0f ? tail : 1.0f - tail);
}

TARGET
static void KERNEL(activate)(float *y, size_t outputs, int activation) {
    lanes *vectors = (lanes *)y;
    size_t count = ROUND_UP(outputs, BELFRY_LANES) / LANES;
    switch (activation) {
    case BELFRY_IDENTITY:
        return;
    case BELFRY_RELU:
        // Not `y < 0 ? 0 : y`: a NaN has to stay one, so that it is noticed.
        for (size_t i = 0; i < count; i++) vectors[i] = vectors[i] <= 0.0f ? (lanes)0.0f : vectors[i];
        return;
    case BELFRY_LEAKY_RELU:
        for (size_t i = 0; i < count; i++) vectors[i] = vectors[i] < 0.0f ? 0.01f * vectors[i] : vectors[i];
        return;
    case BELFRY_TANH:
        for (size_t i = 0; i < count; i++) vectors[i] = KERNEL(tanh)(vectors[i]);
        return;
    case BELFRY_SIGMOID:
        for (size_t i = 0; i < count; i++) vectors[i] = KERNEL(sigmoid)(vectors[i]);
        return;
    case BELFRY_SILU:
        for (size_t i = 0; i < count; i++) vectors[i] *= KERNEL(sigmoid)(vectors[i]);
        return;
    case BELFRY_GELU:
        for (size_t i = 0; i < count; i++) vectors[i] = KERNEL(gelu)(vectors[i]);
        return;
    }
}

// reweighted holds V z + a and becomes x * 2 sigmoid of it.
TARGET
static void KERNEL(reweight)(const float *x, size_t inputs, float *reweighted) {
    const lanes *values = (const lanes *)x;
    lanes *gates = (lanes *)reweighted;
    size_t count = ROUND_UP(inputs, BELFRY_LANES) / LANES;
    for (size_t i = 0; i < count; i++) gates[i] = values[i] * (2.0f * KERNEL(sigmoid)(gates[i]));
}

// Lists the columns with an input that is not 0, block by block: block k's are columns[starts[k] ..< starts[k + 1]].
// Zeros are what many activations leave, and weights are finite, so that such a column changes no sum.
// - x: (users, stride).
TARGET
static void KERNEL(list)(
    const float *x, size_t stride, size_t users, size_t inputs, uint32_t *columns, uint32_t *starts) {
    size_t count = 0;
    starts[0] = 0;
    for (size_t first = 0, block = 0; first < inputs; first += BLOCK, block++) {
        size_t size = inputs - first < BLOCK ? inputs - first : BLOCK;
        count += LIST_BLOCK(x + first, stride, users, first, size, columns + count);
        starts[block + 1] = (uint32_t)count;
    }
}

// Adds the products of `chains` blocks to y, each block summed by itself. Several are walked in step where a tile is
// too narrow for its sums to hide each other's latency.
INLINE void KERNEL(add_blocks)(
    const float *weight, const float *x, const uint32_t *columns, const uint32_t *starts, float *y,
    const size_t vectors, const size_t chains) {
    lanes sums[16];
    UNROLL for (size_t i = 0; i < chains * vectors; i++) sums[i] = 0.0f;
    size_t in_step = starts[1] - starts[0];
    UNROLL for (size_t chain = 1; chain < chains; chain++) {
        size_t count = starts[chain + 1] - starts[chain];
        if (count < in_step) in_step = count;
    }
    for (size_t k = 0; k < in_step; k++) {
        UNROLL for (size_t chain = 0; chain < chains; chain++) {
            size_t column = columns[starts[chain] + k];
            const lanes *row = (const lanes *)weight + column * vectors;
            lanes value = x[column];
            UNROLL for (size_t v = 0; v < vectors; v++) {
                sums[chain * vectors + v] = MULTIPLY_ADD(row[v], value, sums[chain * vectors + v]);
            }
        }
    }
    UNROLL for (size_t chain = 0; chain < chains; chain++) {
        for (size_t k = starts[chain] + in_step; k < starts[chain + 1]; k++) {
            size_t column = columns[k];
            const lanes *row = (const lanes *)weight + column * vectors;
            lanes value = x[column];
            UNROLL for (size_t v = 0; v < vectors; v++) {
                sums[chain * vectors + v] = MULTIPLY_ADD(row[v], value, sums[chain * vectors + v]);
            }
        }
        UNROLL for (size_t v = 0; v < vectors; v++) ((lanes *)y)[v] += sums[chain * vectors + v];
    }
}

INLINE void KERNEL(add_tile)(
    const float *weight, const float *x, const uint32_t *columns, const uint32_t *starts, size_t blocks, float *y,
    const size_t vectors, const size_t chains) {
    size_t block = 0;
    for (; block + chains <= blocks; block += chains) {
        KERNEL(add_blocks)(weight, x, columns, starts + block, y, vectors, chains);
    }
    for (; chains > 1 && block < blocks; block++) {
        KERNEL(add_blocks)(weight, x, columns, starts + block, y, vectors, 1);
    }
}

// y = W x + b for one user.
TARGET
static void KERNEL(multiply)(
    const float *weight, const float *bias, const float *x, size_t inputs, size_t outputs, uint32_t *columns,
    float *y) {
    uint32_t *starts = columns + ROUND_UP(inputs, BLOCK) + BELFRY_LANES;
    KERNEL(list)(x, 0, 1, inputs, columns, starts);
    size_t blocks = ROUND_UP(inputs, BLOCK) / BLOCK;
    size_t rest = ROUND_UP(outputs, BELFRY_LANES);
    memcpy(y, bias, rest * sizeof(float));
    for (size_t vectors = TILE_VECTORS; rest > 0; vectors /= 2) {
        size_t width = vectors * LANES;
        for (; rest >= width; rest -= width, weight += width * inputs, y += width) {
            switch (vectors) {
            case 16:
                KERNEL(add_tile)(weight, x, columns, starts, blocks, y, 16, 1);
                break;
            case 8:
                KERNEL(add_tile)(weight, x, columns, starts, blocks, y, 8, 1);
                break;
            case 4:
                KERNEL(add_tile)(weight, x, columns, starts, blocks, y, 4, 2);
                break;
            case 2:
                KERNEL(add_tile)(weight, x, columns, starts, blocks, y, 2, 4);
                break;
            default:
                KERNEL(add_tile)(weight, x, columns, starts, blocks, y, 1, 4);
            }
        }
    }
}

// Adds one block's products to four users' y, over `vectors` of a tile's registers.
INLINE void KERNEL(add_block_of_users)(
    const float *weight, size_t width, const float *x, size_t stride, const uint32_t *columns, size_t count, float *y,
    const size_t vectors) {
    lanes sums[BELFRY_USERS * USER_VECTORS];
    UNROLL for (size_t i = 0; i < BELFRY_USERS * vectors; i++) sums[i] = 0.0f;
    for (size_t k = 0; k < count; k++) {
        size_t column = columns[k];
        const lanes *row = (const lanes *)(weight + column * width);
        UNROLL for (size_t user = 0; user < BELFRY_USERS; user++) {
            lanes value = x[user * stride + column];
            UNROLL for (size_t v = 0; v < vectors; v++) {
                sums[user * vectors + v] = MULTIPLY_ADD(row[v], value, sums[user * vectors + v]);
            }
        }
    }
    UNROLL for (size_t user = 0; user < BELFRY_USERS; user++) {
        lanes *into = (lanes *)(y + user * stride);
        UNROLL for (size_t v = 0; v < vectors; v++) into[v] += sums[user * vectors + v];
    }
}

// y = W x + b for four users. - x, y: (4, stride).
TARGET
static void KERNEL(multiply_users)(
    const float *weight, const float *bias, const float *x, size_t stride, size_t inputs, size_t outputs,
    uint32_t *columns, float *y) {
    uint32_t *starts = columns + ROUND_UP(inputs, BLOCK) + BELFRY_LANES;
    KERNEL(list)(x, stride, BELFRY_USERS, inputs, columns, starts);
    size_t blocks = ROUND_UP(inputs, BLOCK) / BLOCK;
    size_t rest = ROUND_UP(outputs, BELFRY_LANES);
    for (size_t user = 0; user < BELFRY_USERS; user++) memcpy(y + user * stride, bias, rest * sizeof(float));
    for (size_t width = TILE_VECTORS * LANES; rest > 0; width /= 2) {
        for (; rest >= width; rest -= width, weight += width * inputs, y += width) {
            size_t step = width < USER_VECTORS * LANES ? width : USER_VECTORS * LANES;
            // Block by block: the next part of the tile then reads the lines beside those that this one has just read.
            for (size_t block = 0; block < blocks; block++) {
                const uint32_t *listed = columns + starts[block];
                size_t count = starts[block + 1] - starts[block];
                for (size_t part = 0; part < width; part += step) {
                    if (step == USER_VECTORS * LANES) {
                        KERNEL(add_block_of_users)
                        (weight + part, width, x, stride, listed, count, y + part, USER_VECTORS);
                    } else {
                        for (size_t v = part; v < part + step; v += LANES) {
                            KERNEL(add_block_of_users)(weight + v, width, x, stride, listed, count, y + v, 1);
                        }
                    }
                }
            }
        }
    }
}

TARGET
static void KERNEL(run_one)(
    const belfry_layer *layer, const float *x, float *y, float *reweighted, uint32_t *columns) {
    KERNEL(multiply)(layer->weight, layer->bias, x, layer->inputs, layer->outputs, columns, y);
    KERNEL(activate)(y, layer->outputs, layer->activation);
    for (size_t cycle = 0; cycle < layer->cycles; cycle++) {
        // Always the original x: a second cycle reweights it anew, by the gate of the first one's output.
        KERNEL(multiply)(layer->gate_weight, layer->gate_bias, y, layer->outputs, layer->inputs, columns, reweighted);
        KERNEL(reweight)(x, layer->inputs, reweighted);
        KERNEL(multiply)(layer->weight, layer->bias, reweighted, layer->inputs, layer->outputs, columns, y);
        KERNEL(activate)(y, layer->outputs, layer->activation);
    }
}

TARGET
static void KERNEL(run_users)(
    const belfry_layer *layer, const float *x, size_t stride, float *y, float *reweighted, uint32_t *columns) {
    KERNEL(multiply_users)(layer->weight, layer->bias, x, stride, layer->inputs, layer->outputs, columns, y);
    for (size_t user = 0; user < BELFRY_USERS; user++) {
        KERNEL(activate)(y + user * stride, layer->outputs, layer->activation);
    }
    for (size_t cycle = 0; cycle < layer->cycles; cycle++) {
        KERNEL(multiply_users)(
            layer->gate_weight, layer->gate_bias, y, stride, layer->outputs, layer->inputs, columns, reweighted);
        for (size_t user = 0; user < BELFRY_USERS; user++) {
            KERNEL(reweight)(x + user * stride, layer->inputs, reweighted + user * stride);
        }
        KERNEL(multiply_users)(
            layer->weight, layer->bias, reweighted, stride, layer->inputs, layer->outputs, columns, y);
        for (size_t user = 0; user < BELFRY_USERS; user++) {
            KERNEL(activate)(y + user * stride, layer->outputs, layer->activation);
        }
    }
}

static const belfry_layer_kernels KERNEL(kernels) = {
    TILE_VECTORS * LANES, USERS_FOR_FOUR, KERNEL(run_one), KERNEL(run_users)};

#undef lanes
#undef bits
#undef INLINE
#undef UNROLL
#undef LARGEST_EXPONENT
