/* activate_f32_body.h - the functions between the projections of an expert: a loop for each, made vectors by compilers.
 * SPDX-License-Identifier: MIT
 *
 * docs/numerics.md has their bounds. It needs no vocabulary: the folder of the file that includes it says how wide
 * vectors are. Each operation is rounded on its own, so they do not show in the results. */
#include "kernels/exponential.h"
#include "kernels/kernel.h"

static inline float silu(float g)
{
    return g * gmm_logistic(g);
}

/* x * P(x < X) for a normally distributed X. With a = |g| / sqrt(2) and t = 1 / (1 + a / 2),
 *
 *     erfc(a) = t * exp(-a^2 + p(t))
 *
 * where p is a polynomial of degree 10, within 1.3e-8 for t >= 0.155; below, erfc(a) < 2^-150. */
static inline float gelu(float g)
{
    float a = (g < 0 ? -g : g) * 0.70710678118654752f;
    float t = 1.0f / (1.0f + 0.5f * a), v = t - 0.5775f;
    float p = -0.14548785131398254f;

    p = p * v + 0.15158743927783316f;
    p = p * v + 0.1358244370807287f;
    p = p * v + -0.25093328719551f;
    p = p * v + -0.042773057968166245f;
    p = p * v + 0.29681107291458336f;
    p = p * v + -0.04330907973907531f;
    p = p * v + -0.40648498362427826f;
    p = p * v + 0.09781298777664814f;
    p = p * v + 1.3676373878847021f;
    p = p * v + -0.5665764844389606f;
    float half = 0.5f * (t * gmm_exp_negative(p - a * a));
    return g * (g < 0 ? half : 1.0f - half);
}

/* (1 + tanh(y)) / 2 = 1 / (1 + exp(-2 y)) */
static inline float gelu_tanh(float g)
{
    return g * gmm_logistic(1.5957691216057308f * (g + 0.044715f * (g * g * g)));
}

static inline float relu_squared(float g)
{
    float positive = g < 0 ? 0.0f : g; /* a NaN stays one */

    return positive * positive;
}

static inline float swiglu_clamped(float alpha, float limit, float g, float u)
{
    float clamped = g > limit ? limit : g, linear = u > limit ? limit : u;

    linear = linear < -limit ? -limit : linear;
    return clamped * gmm_logistic(alpha * clamped) * (linear + 1.0f);
}

/* out[i] = value, in terms of g = gate[i] and u = up[i] */
#define FOR_EACH(value)                                                                                                \
    for (int64_t i = 0; i < call->count; i++) {                                                                        \
        const float g = gate[i], u = up[i];                                                                            \
        out[i] = (value);                                                                                              \
    }

static void activate_f32(const gmm_activate *call)
{
    const float *restrict gate = call->gate, *restrict up = call->up;
    float *restrict out = call->out;
    const float alpha = call->alpha, limit = call->limit;

    switch (call->activation) {
    case GMM_ACTIVATION_SILU:
        FOR_EACH(silu(g) * u)
        break;
    case GMM_ACTIVATION_GELU:
        FOR_EACH(gelu(g) * u)
        break;
    case GMM_ACTIVATION_GELU_TANH:
        FOR_EACH(gelu_tanh(g) * u)
        break;
    case GMM_ACTIVATION_SWIGLU_CLAMPED:
        FOR_EACH(swiglu_clamped(alpha, limit, g, u))
        break;
    case GMM_ACTIVATION_RELU_SQUARED:
        FOR_EACH(relu_squared(g) * u)
        break;
    }
}
