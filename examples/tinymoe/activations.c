/* activations.c - see activations.h. */
/* SPDX-License-Identifier: MIT */
#include "activations.h"

#include <math.h>
#include <string.h>

/*
 * libm's expf is a call per element: with it softmax took longer than the products around it. This one is plain
 * arithmetic that compilers turn into vector code: e^x = 2^n * e^r, r = x - n ln 2 in two parts, e^r by its series to
 * r^7 / 7!, whose remainder is under 2^-26 for |r| <= ln 2 / 2.
 */
static inline float exponential_inline(float x)
{
    const float to_integer = 12582912.0f; /* 1.5 * 2^23: adding it leaves x, rounded, in the low bits */
    float above = x < -87.0f ? -87.0f : x, clamped = above > 88.0f ? 88.0f : above;
    float shifted = clamped * 1.44269504f + to_integer;
    float n = shifted - to_integer, power, r, series;
    int32_t exponent;

    r = clamped - n * 0.693145752f; /* ln 2 to 15 bits, so the product is exact */
    r = r - n * 1.42860677e-6f;
    series = 1.38888889e-3f + r * 1.98412698e-4f;
    series = 8.33333333e-3f + r * series;
    series = 4.16666667e-2f + r * series;
    series = 1.66666667e-1f + r * series;
    series = 0.5f + r * series;
    series = 1.0f + r * series;
    series = 1.0f + r * series;
    memcpy(&exponent, &shifted, sizeof exponent);
    exponent = (exponent - 0x4b400000) * (1 << 23) + 0x3f800000; /* n as the exponent field of a float */
    memcpy(&power, &exponent, sizeof power);
    return series * power;
}

float exponential(float x)
{
    return exponential_inline(x);
}

void rms_norm(const float *x, const float *weight, double eps, int64_t tokens, int64_t size, float *out)
{
    for (int64_t t = 0; t < tokens; t++, x += size, out += size) {
        double sums[4] = {0}; /* four chains: one is bound by the latency of the addition */
        double mean;
        float factor;
        int64_t i = 0;

        for (; i + 4 <= size; i += 4)
            for (int64_t j = 0; j < 4; j++)
                sums[j] += (double)x[i + j] * (double)x[i + j];
        for (; i < size; i++)
            sums[0] += (double)x[i] * (double)x[i];
        mean = (sums[0] + sums[1] + (sums[2] + sums[3])) / (double)size;
        factor = (float)(1.0 / sqrt(mean + eps));
        for (i = 0; i < size; i++)
            out[i] = x[i] * factor * weight[i];
    }
}

void rotate_half(float *x, const float *cosines, const float *sines, int64_t size)
{
    int64_t half = size / 2;

    for (int64_t i = 0; i < half; i++) {
        float a = x[i], b = x[half + i];
        x[i] = a * cosines[i] - b * sines[i];
        x[half + i] = b * cosines[i] + a * sines[i];
    }
}

/* The largest of count values; lanes, because one running maximum does not vectorise without -ffast-math. */
static float largest(const float *x, int64_t count)
{
    float lanes[ROW_LANES], top;

    memcpy(lanes, x, sizeof lanes);
    for (int64_t i = ROW_LANES; i < count; i += ROW_LANES)
        for (int64_t j = 0; j < ROW_LANES; j++)
            lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
    top = lanes[0];
    for (int64_t j = 1; j < ROW_LANES; j++)
        top = lanes[j] > top ? lanes[j] : top;
    return top;
}

static float sum(const float *x, int64_t count)
{
    float lanes[ROW_LANES] = {0}, total = 0.0f;

    for (int64_t i = 0; i < count; i += ROW_LANES)
        for (int64_t j = 0; j < ROW_LANES; j++)
            lanes[j] += x[i + j];
    for (int64_t j = 0; j < ROW_LANES; j++)
        total += lanes[j];
    return total;
}

void softmax_row(float *row, float scale, int64_t valid, int64_t padded)
{
    int64_t used = (valid + ROW_LANES - 1) / ROW_LANES * ROW_LANES;
    float top, factor;

    for (int64_t i = valid; i < used; i++)
        row[i] = row[0]; /* a value that cannot be the largest unless row[0] is */
    top = largest(row, used);
    for (int64_t i = 0; i < used; i++)
        row[i] = exponential_inline((row[i] - top) * scale);
    memset(row + valid, 0, (size_t)(padded - valid) * sizeof *row);
    factor = 1.0f / sum(row, used);
    for (int64_t i = 0; i < used; i++)
        row[i] *= factor;
}

double log_sum_exp(const float *x, int64_t count)
{
    float top = largest(x, count), terms[ROW_LANES];
    double total = 0.0;

    for (int64_t i = 0; i < count; i += ROW_LANES) {
        for (int64_t j = 0; j < ROW_LANES; j++)
            terms[j] = exponential_inline(x[i + j] - top);
        for (int64_t j = 0; j < ROW_LANES; j++)
            total += (double)terms[j];
    }
    return (double)top + log(total);
}
