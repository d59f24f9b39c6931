/* int8_e2m1_body.h - int8 sums of E2M1 codes in C: int8_body.h with its parameters.
 * SPDX-License-Identifier: MIT
 *
 * Include after kernels/int8.h. Parameter:
 *   float E2M1_SCALE(uint32_t code)  the value of a scale. */
#include "formats/packed.h"

/* Twice the value, and 12. */
static void unpack(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, uint8_t *codes)
{
    static const uint8_t table[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};
    const uint8_t *pairs = (const uint8_t *)row.codes + begin / 2;

    (void)weights;
    for (int64_t i = 0; i < count / 2; i++) {
        codes[2 * i] = table[pairs[i] & 15];
        codes[2 * i + 1] = table[pairs[i] >> 4];
    }
}

/* Half of it, as codes are doubled. */
static inline float group_scale(const gmm_weights *weights, gmm_row row, int64_t group)
{
    return 0.5f * E2M1_SCALE(((const uint8_t *)row.scales)[group]) * weights->global;
}

static inline float group_bias(const gmm_weights *weights, gmm_row row, int64_t group)
{
    (void)weights;
    (void)row;
    (void)group;
    return 0;
}

#define INT8_BIASES false
#define INT8_ZERO GMM_INT8_E2M1_ZERO
#include "kernels/bodies/int8_body.h"
