/* int8_affine_variants_body.h - dot and fill of affine codes, for each number of bits and group size.
 * SPDX-License-Identifier: MIT
 *
 * Include after a body that has dot_variant(call, bits, group_size) and fill_variant(panel, bits), which want
 * constants. */

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

#define AFFINE_VARIANTS AFFINE(2) AFFINE(3) AFFINE(4) AFFINE(5) AFFINE(6) AFFINE(8)

static void dot(const gmm_int8_dot *call)
{
    switch (call->weights->bits) {
#define AFFINE(bits)                                                                                                   \
    case bits:                                                                                                         \
        dot_bits(call, bits);                                                                                          \
        break;
        AFFINE_VARIANTS
#undef AFFINE
    }
}

static void fill(const gmm_int8_panel *panel)
{
    switch (panel->weights->bits) {
#define AFFINE(bits)                                                                                                   \
    case bits:                                                                                                         \
        fill_variant(panel, bits);                                                                                     \
        break;
        AFFINE_VARIANTS
#undef AFFINE
    }
}
