/* int8_nvfp4_avx512vnni_body.h - int8 sums of E2M1 codes with an E4M3 scale for 16: all but those of many rows.
 * SPDX-License-Identifier: MIT
 *
 * Include after codes_avx512vnni.h and kernels/int8.h. */

static inline __attribute__((always_inline)) __m512i codes_64(int bits, const uint8_t *from, int64_t count)
{
    (void)bits;
    return codes_e2m1(from, count);
}

static inline __m512i from_nibbles(__m512i nibbles, int zero)
{
    return zero ? doubled_e2m1(nibbles) : signed_e2m1(nibbles);
}

/* Half of them, as codes are doubled. */
static inline void group_scales(const gmm_weights *weights, gmm_row row, int64_t first, int64_t count, float *scales,
                                float *biases)
{
    (void)biases;
    load_e4m3(row.scales, first, count, scales);
    for (int64_t i = 0; i < count; i += 16) {
        vf32 halves_of = _mm512_mul_ps(_mm512_loadu_ps(scales + i), _mm512_set1_ps(0.5f));
        _mm512_storeu_ps(scales + i, _mm512_mul_ps(halves_of, _mm512_set1_ps(weights->global)));
    }
}

#define INT8_BIASES false
#define INT8_ZERO GMM_INT8_E2M1_ZERO
#include "kernels/avx512vnni/int8_avx512vnni_body.h"

static void dot(const gmm_int8_dot *call)
{
    dot_variant(call, 4, 16);
}

static void few(const gmm_int8_few *call)
{
    few_variant(call);
}

static void fill(const gmm_int8_panel *panel)
{
    fill_variant(panel, 4);
}
