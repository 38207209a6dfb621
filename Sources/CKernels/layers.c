#include "layers.h"

#include <math.h>
#include <string.h>

// Each function is compiled for AVX-512 (x86-64-v4), AVX2 with FMA (x86-64-v3) and the baseline; the loader
// picks. On other architectures the one portable version is what the compiler makes of it. The loader asks before the
// thread sanitizer stands, which its instrumented resolvers do not survive.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BELFRY_NO_CLONES
#endif
#endif
#if defined(__x86_64__) && defined(__linux__) && !defined(BELFRY_NO_CLONES)
#define BELFRY_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BELFRY_CLONES
#endif

// Sums are allowed to be reordered here, and only here: without it no reduction is vectorised.
#define BELFRY_REASSOCIATE _Pragma("clang fp reassociate(on) contract(fast)")

static inline float sigmoid(float x) {
    return 1.0f / (1.0f + expf(-x));
}

static void activate(float *y, size_t size, int activation) {
    switch (activation) {
    case BELFRY_IDENTITY:
        return;
    case BELFRY_RELU:
        // Not `y < 0 ? 0 : y`: a NaN has to stay one, so that it is noticed.
        for (size_t i = 0; i < size; i++) y[i] = y[i] <= 0 ? 0 : y[i];
        return;
    case BELFRY_LEAKY_RELU:
        for (size_t i = 0; i < size; i++) y[i] = y[i] < 0 ? 0.01f * y[i] : y[i];
        return;
    case BELFRY_TANH:
        for (size_t i = 0; i < size; i++) y[i] = tanhf(y[i]);
        return;
    case BELFRY_SIGMOID:
        for (size_t i = 0; i < size; i++) y[i] = sigmoid(y[i]);
        return;
    case BELFRY_SILU:
        for (size_t i = 0; i < size; i++) y[i] = y[i] * sigmoid(y[i]);
        return;
    case BELFRY_GELU:
        for (size_t i = 0; i < size; i++) y[i] = 0.5f * y[i] * (1.0f + erff(y[i] * 0.70710678118654752f));
        return;
    }
}

// Four rows at a time: x is read once for the four, and their sums do not wait for each other.
BELFRY_CLONES
static void multiply(const float *w, const float *b, const float *x, size_t inputs, size_t outputs, float *y) {
    BELFRY_REASSOCIATE
    size_t row = 0;
    for (; row + 4 <= outputs; row += 4) {
        const float *w0 = w + row * inputs, *w1 = w0 + inputs, *w2 = w1 + inputs, *w3 = w2 + inputs;
        float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (size_t i = 0; i < inputs; i++) {
            s0 += w0[i] * x[i];
            s1 += w1[i] * x[i];
            s2 += w2[i] * x[i];
            s3 += w3[i] * x[i];
        }
        y[row] = s0 + b[row];
        y[row + 1] = s1 + b[row + 1];
        y[row + 2] = s2 + b[row + 2];
        y[row + 3] = s3 + b[row + 3];
    }
    for (; row < outputs; row++) {
        const float *w0 = w + row * inputs;
        float s0 = 0;
        for (size_t i = 0; i < inputs; i++) s0 += w0[i] * x[i];
        y[row] = s0 + b[row];
    }
}

void belfry_dense(
    const float *w, const float *b, const float *x, size_t inputs, size_t outputs, int activation, float *y) {
    multiply(w, b, x, inputs, outputs, y);
    activate(y, outputs, activation);
}

void belfry_gate(
    const float *v, const float *a, const float *z, const float *x, size_t inputs, size_t outputs, float *reweighted) {
    multiply(v, a, z, outputs, inputs, reweighted);
    for (size_t i = 0; i < inputs; i++) reweighted[i] = x[i] * (2.0f * sigmoid(reweighted[i]));
}

void belfry_layer_norm(
    const float *weight, const float *bias, const float *x, size_t size, float epsilon, float *y) {
    double sum = 0;
    for (size_t i = 0; i < size; i++) sum += x[i];
    double mean = sum / (double)size;
    double squares = 0;
    for (size_t i = 0; i < size; i++) squares += (x[i] - mean) * (x[i] - mean);
    double inverse = 1.0 / sqrt(squares / (double)size + (double)epsilon);
    for (size_t i = 0; i < size; i++) y[i] = (float)((x[i] - mean) * inverse) * weight[i] + bias[i];
}

BELFRY_CLONES
float belfry_squared_norm(const float *x, size_t size) {
    BELFRY_REASSOCIATE
    float sum = 0;
    for (size_t i = 0; i < size; i++) sum += x[i] * x[i];
    return sum;
}

void belfry_l2_normalise(float *x, size_t size) {
    float norm = sqrtf(belfry_squared_norm(x, size));
    float divisor = norm > 1e-12f ? norm : 1e-12f;
    for (size_t i = 0; i < size; i++) x[i] /= divisor;
}

void belfry_add(float *into, const float *row, size_t size) {
    for (size_t i = 0; i < size; i++) into[i] += row[i];
}

void belfry_scale(float *into, float factor, size_t size) {
    for (size_t i = 0; i < size; i++) into[i] *= factor;
}

void belfry_widen_halves(const uint16_t *halves, size_t size, float *floats) {
    for (size_t i = 0; i < size; i++) {
        _Float16 half;
        memcpy(&half, &halves[i], sizeof half);
        floats[i] = (float)half;
    }
}
