/* dot_f16_avx512.c - 6 x 4 tiles of f32 rows and f16 weight rows. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx512/vec_avx512.h"
#include "kernels/kernel.h"

static inline vf32 widen(__m256i halves)
{
    return _mm512_cvtph_ps(halves);
}

static inline vf32 dense_weights(const void *from)
{
    return widen(_mm256_loadu_si256((const __m256i *)from));
}

static inline vf32 dense_first(int64_t count, const void *from)
{
    return widen(_mm256_maskz_loadu_epi16((__mmask16)((1u << count) - 1), from));
}

#define DOT_MR 6
#define DOT_NR(variant, rows) 4
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
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(second ? _mm512_srli_epi32(pairs, 16) : pairs));
}

#include "kernels/bodies/class_halves_body.h"

extern const gmm_kernel gmm_dot_f16_avx512;
const gmm_kernel gmm_dot_f16_avx512 = {
    .name = "dot_f16_avx512",
    .body = "dot",
    .reads = "f16",
    .needs = GMM_CPU_AVX512,
    .mr = DOT_MR,
    .nr = DOT_NR(0, DOT_MR),
    .dot = dot_dense,
    .decode = decode,
    .class_bytes = class_bytes,
    .class_fill = class_fill,
    .class_decode = class_decode,
};
