/* dot_bf16_avx2.c - 2 x 2 tiles of f32 rows and bf16 weight rows. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx2/codes_avx2.h"
#include "kernels/kernel.h"

static inline vf32 dense_weights(const void *from)
{
    return (vf32){eight_bf16(load_16_bytes(from)), eight_bf16(load_16_bytes((const char *)from + 16))};
}

static inline vf32 dense_first(int64_t count, const void *from)
{
    uint16_t halves[16] = {0};

    memcpy(halves, from, (size_t)count * 2);
    return dense_weights(halves);
}

#define DOT_MR 2
#define DOT_NR(variant, rows) 2
#define DENSE_BYTES 2
#include "kernels/bodies/dot_dense_body.h"

static void decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out)
{
    const char *from = (const char *)row.codes + begin * 2;
    int64_t i = 0;

    (void)weights;
    for (; i + 16 <= count; i += 16)
        vf32_store(out + i, dense_weights(from + i * 2));
    if (i < count)
        vf32_store_first(count - i, out + i, dense_first(count - i, from + i * 2));
}

static inline __attribute__((always_inline)) vf32 halves_of_lanes(vi32 pairs, bool second)
{
    vf32 low = evens_and_odds(pairs.low), high = evens_and_odds(pairs.high);

    return second ? (vf32){low.high, high.high} : (vf32){low.low, high.low};
}

#include "kernels/bodies/class_halves_body.h"

extern const gmm_kernel gmm_dot_bf16_avx2;
const gmm_kernel gmm_dot_bf16_avx2 = {
    .name = "dot_bf16_avx2",
    .body = "dot",
    .reads = "bf16",
    .needs = GMM_CPU_AVX2,
    .mr = DOT_MR,
    .nr = DOT_NR(0, DOT_MR),
    .dot = dot_dense,
    .decode = decode,
    .class_bytes = class_bytes,
    .class_fill = class_fill,
    .class_decode = class_decode,
};
