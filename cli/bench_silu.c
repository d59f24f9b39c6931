/* bench_silu.c - see bench_silu.h: one loop, which the compiler makes vectors of each width of. */
/* SPDX-License-Identifier: MIT */
#include "bench_silu.h"

#include <string.h>

/* e^x to a few units in the last place, clamped to what f32 holds; no branch, so that loops over it become vector code.
 * x = n ln 2 + r, e^r by its series. */
static inline float exponential(float x)
{
    const float to_integer = 12582912.0f; /* 1.5 * 2^23 */
    float above = x < -87.0f ? -87.0f : x, clamped = above > 88.0f ? 88.0f : above;
    float shifted = clamped * 1.44269504f + to_integer, n = shifted - to_integer, power, r, series;
    int32_t exponent;

    r = clamped - n * 0.693145752f;
    r = r - n * 1.42860677e-6f;
    series = 1.38888889e-3f + r * 1.98412698e-4f;
    series = 8.33333333e-3f + r * series;
    series = 4.16666667e-2f + r * series;
    series = 1.66666667e-1f + r * series;
    series = 0.5f + r * series;
    series = 1.0f + r * series;
    series = 1.0f + r * series;
    memcpy(&exponent, &shifted, sizeof exponent);
    exponent = (exponent - 0x4b400000) * (1 << 23) + 0x3f800000;
    memcpy(&power, &exponent, sizeof power);
    return series * power;
}

/* The loop for one instruction set. */
#define SILU(name, attribute)                                                                                          \
    attribute static void name(float *restrict gate, const float *restrict up, int64_t count)                          \
    {                                                                                                                  \
        for (int64_t i = 0; i < count; i++)                                                                            \
            gate[i] = gate[i] / (1.0f + exponential(-gate[i])) * up[i];                                                \
    }

SILU(silu, )
#if defined(__x86_64__)
SILU(silu_avx2, __attribute__((target("avx2"))))
SILU(silu_avx512, __attribute__((target("avx512f,avx512vl,avx512dq"))))

static bool usable(const gmm_context *context, const char *name)
{
    gmm_cpu_feature_info info;

    for (size_t i = 0; gmm_cpu_feature_at(context, i, &info); i++)
        if (!strcmp(info.name, name))
            return info.present && !info.masked;
    return false;
}
#endif

bench_silu *bench_silu_for(const gmm_context *context)
{
#if defined(__x86_64__)
    if (usable(context, "avx512"))
        return silu_avx512;
    if (usable(context, "avx2"))
        return silu_avx2;
#else
    (void)context;
#endif
    return silu;
}
