/* int8_affine_variants_body.h - dot and fill of affine codes, for each number of bits and group size.
 * SPDX-License-Identifier: MIT
 *
 * Include after a body that has dot_variant(call, bits, group_size) and fill_variant(panel, bits), which want
 * constants. */
#include "kernels/bodies/affine_bits.h"

static inline __attribute__((always_inline)) void dot_bits(const gmm_int8_dot *call, int bits)
{
    switch (call->weights->group_size) {
    case 32:
        dot_variant(call, bits, 32);
        break;
    case 64:
        dot_variant(call, bits, 64);
        break;
    default:
        dot_variant(call, bits, 128);
    }
}

static void dot(const gmm_int8_dot *call)
{
    AFFINE_BITS(call->weights->bits, dot_bits(call, bits))
}

static void fill(const gmm_int8_panel *panel)
{
    AFFINE_BITS(panel->weights->bits, fill_variant(panel, bits))
}
