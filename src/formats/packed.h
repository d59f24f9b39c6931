/* packed.h - packed codes: reading words of any stride and alignment, a bit stream's codes, a row's groups. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_PACKED_H
#define GMM_PACKED_H

#include <stdint.h>
#include <string.h>

#include "formats/format.h"
#include "formats/numbers.h"

/* Words first, first + 1, ... of a row into `words`, in the machine's own byte order as they lie. Files align tensors
 * to no more than a byte, hence memcpy. */
static inline void gmm_load_words(const gmm_weights *weights, gmm_row row, int64_t first, int count, uint32_t *words)
{
    const char *from = (const char *)row.codes + first * weights->code_stride * 4;

    if (weights->code_stride == 1) {
        memcpy(words, from, (size_t)count * 4);
        return;
    }
    for (int i = 0; i < count; i++)
        memcpy(&words[i], from + i * weights->code_stride * 4, 4);
}

/* Codes [first, first + 8) of a run of words, first a multiple of 8, from bit 0 up. For the bits that MLX has (2, 3, 4,
 * 5, 6, 8) they lie in two neighbouring words; both are always read, so there must be a word (of any value) behind the
 * last. */
static inline uint64_t gmm_eight_codes(const uint32_t *words, int bits, int first)
{
    int bit = first * bits;

    return ((uint64_t)words[bit / 32 + 1] << 32 | words[bit / 32]) >> bit % 32;
}

/* 32 codes from `bits` words; `bits` should be a constant. */
static inline void gmm_unpack_32(const uint32_t *words, int bits, int32_t *codes)
{
    for (int first = 0; first < 32; first += 8)
        for (int i = 0; i < 8; i++)
            codes[first + i] = (int32_t)(gmm_eight_codes(words, bits, first) >> i * bits & ((1u << bits) - 1));
}

/* out[i] = table[code i] for `count` codes, a multiple of 8; `bits` should be a constant. */
static inline void gmm_look_up(const uint32_t *words, int bits, int count, const float *table, float *out)
{
    for (int first = 0; first < count; first += 8)
        for (int i = 0; i < 8; i++)
            out[first + i] = table[gmm_eight_codes(words, bits, first) >> i * bits & ((1u << bits) - 1)];
}

/* The scale code of group number `group`, of a format whose scales are single bytes. */
static inline uint8_t gmm_scale_code(const gmm_weights *weights, gmm_row row, int64_t group)
{
    return ((const uint8_t *)row.scales)[group * weights->scale_stride];
}

/* Element `at` of a run of f32, f16 or bf16: an affine scale or bias. */
static inline float gmm_load_float(gmm_dtype dtype, const void *data, int64_t at)
{
    const char *from = (const char *)data + at * (dtype == GMM_F32 ? 4 : 2);
    uint16_t half;
    float value;

    if (dtype == GMM_F32) {
        memcpy(&value, from, sizeof value);
        return value;
    }
    memcpy(&half, from, sizeof half);
    return dtype == GMM_F16 ? gmm_f16_to_f32(half) : gmm_bf16_to_f32(half);
}

#endif
