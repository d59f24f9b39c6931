/* codes_avx2.h - packed codes in lanes, and scales as f32. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CODES_AVX2_H
#define GMM_CODES_AVX2_H

#include <string.h>

#include "formats/packed.h"
#include "kernels/avx2/vec_avx2.h"

static inline __m256i twice(__m128i half)
{
    return _mm256_broadcastsi128_si256(half);
}

static inline __m128i load_16_bytes(const void *from)
{
    return _mm_loadu_si128((const __m128i *)from);
}

static inline __m256i load_32_bytes(const void *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

static inline void store_32_bytes(void *to, __m256i bytes)
{
    _mm256_storeu_si256((__m256i *)to, bytes);
}

static inline __m256 eight_bf16(__m128i halves)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

/* ---- 4-bit codes. AVX2 permutes eight floats at most, but sixteen bytes, and a bf16 number, which (float)code and
 * E2M1 values are, has just two. Scaled and summed, sixteen weights take 9 instructions; with a shift, a mask and a
 * conversion for the numbers it were 10, 8 of them on the two ports of multiplications. ---- */

typedef struct {
    __m256i high, low; /* the bytes of the numbers of codes 0 to 15, in both halves */
} byte_tables;

/* Lanes of the numbers of sixteen codes are in another order: that of a 4 x 4 matrix transposed. To it: */
static inline vf32 mix(vf32 v)
{
    const __m256i even_odd = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    __m256 low = _mm256_permutevar8x32_ps(v.low, even_odd), high = _mm256_permutevar8x32_ps(v.high, even_odd);

    return (vf32){_mm256_shuffle_ps(low, high, 0x88), _mm256_shuffle_ps(low, high, 0xdd)};
}

/* And back. */
static inline vf32 unmix(vf32 v)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);

    return (vf32){_mm256_permutevar8x32_ps(_mm256_unpacklo_ps(v.low, v.high), order),
                  _mm256_permutevar8x32_ps(_mm256_unpackhi_ps(v.low, v.high), order)};
}

/* bf16 numbers of even places and of odd ones, as f32. */
static inline vf32 evens_and_odds(__m256i halves)
{
    return (vf32){_mm256_castsi256_ps(_mm256_slli_epi32(halves, 16)),
                  _mm256_castsi256_ps(_mm256_and_si256(halves, _mm256_set1_epi32((int)0xffff0000)))};
}

/* Codes 0, 2, 4, ... in the bytes of the lower half, 1, 3, 5, ... in the upper. */
static inline __m256i nibbles(__m256i codes)
{
    return _mm256_and_si256(_mm256_srlv_epi64(codes, _mm256_setr_epi64x(0, 0, 4, 4)), _mm256_set1_epi8(15));
}

static inline void thirty_two_4_bit_mixed(byte_tables tables, const uint8_t *codes, vf32 *values)
{
    __m256i of = nibbles(twice(load_16_bytes(codes)));
    __m256i low = _mm256_shuffle_epi8(tables.low, of), high = _mm256_shuffle_epi8(tables.high, of);

    values[0] = evens_and_odds(_mm256_unpacklo_epi8(low, high));
    values[1] = evens_and_odds(_mm256_unpackhi_epi8(low, high));
}

static inline vf32 sixteen_4_bit_mixed(byte_tables tables, const uint8_t *codes)
{
    uint64_t all;

    memcpy(&all, codes, 8);
    __m256i of = nibbles(_mm256_set1_epi64x((int64_t)all));
    return evens_and_odds(
        _mm256_unpacklo_epi8(_mm256_shuffle_epi8(tables.low, of), _mm256_shuffle_epi8(tables.high, of)));
}

/* (float)code. */
static inline byte_tables number_tables(void)
{
    return (byte_tables){
        .high = twice(
            _mm_setr_epi8(0, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41)),
        .low = twice(
            _mm_setr_epi8(0, -0x80, 0, 0x40, -0x80, -0x60, -0x40, -0x20, 0, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70)),
    };
}

static inline byte_tables e2m1_tables(void)
{
    return (byte_tables){
        .high = twice(_mm_setr_epi8(0, 0x3f, 0x3f, 0x3f, 0x40, 0x40, 0x40, 0x40, -0x80, -0x41, -0x41, -0x41, -0x40,
                                    -0x40, -0x40, -0x40)),
        .low =
            twice(_mm_setr_epi8(0, 0, -0x80, -0x40, 0, 0x40, -0x80, -0x40, 0, 0, -0x80, -0x40, 0, 0x40, -0x80, -0x40)),
    };
}

/* ---- eight codes of other sizes ---- */

/* 2 or 3 bits; the bits above are not cleared, as permutations look at the lowest alone. The first code is `skip` bits
 * up in the four bytes. */
static inline __attribute__((always_inline)) __m256i eight_of_4_bytes(const uint8_t *codes, int bits, int skip)
{
    const __m256i shifts = _mm256_setr_epi32(skip, skip + bits, skip + 2 * bits, skip + 3 * bits, skip + 4 * bits,
                                             skip + 5 * bits, skip + 6 * bits, skip + 7 * bits);
    int32_t all;

    memcpy(&all, codes, 4);
    return _mm256_srlv_epi32(_mm256_set1_epi32(all), shifts);
}

/* 5 or 6 bits; the first code is in byte `skip` of sixteen. Both are constants. */
static inline __attribute__((always_inline)) __m256i eight_of_16_bytes(__m256i bytes, int bits, int skip)
{
#define PAIR(i) (int)(0x80800000u | (unsigned)(skip + bits * (i) / 8 + 1) << 8 | (unsigned)(skip + bits * (i) / 8))
#define SHIFT(i) (bits * (i) % 8)
    const __m256i pairs = _mm256_setr_epi32(PAIR(0), PAIR(1), PAIR(2), PAIR(3), PAIR(4), PAIR(5), PAIR(6), PAIR(7));
    const __m256i shifts =
        _mm256_setr_epi32(SHIFT(0), SHIFT(1), SHIFT(2), SHIFT(3), SHIFT(4), SHIFT(5), SHIFT(6), SHIFT(7));
#undef PAIR
#undef SHIFT
    return _mm256_and_si256(_mm256_srlv_epi32(_mm256_shuffle_epi8(bytes, pairs), shifts),
                            _mm256_set1_epi32((1 << bits) - 1));
}

/* 8 bits. */
static inline __m256i eight_bytes(const void *from)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from));
}

/* ---- E4M3 ---- */

/* 32 E4M3 values less a factor of 2^8: as f16 numbers they have the same bits, seven places up, subnormal ones too. 128
 * times a negative code has its sign twice, -2^14 clears the second. NaN are the codes whose upper bit changes when 1
 * is added: with the other addition both become 0xff80, an f16 NaN. */
static inline void e4m3_over_256(__m256i codes, vf32 *values)
{
    const __m256i times_128 = _mm256_set1_epi8(-128); /* unsigned in the product */
    __m256i clear = _mm256_and_si256(_mm256_add_epi8(codes, _mm256_set1_epi8(1)), _mm256_set1_epi8(-128));
    __m256i words[2] = {_mm256_maddubs_epi16(times_128, _mm256_unpacklo_epi8(codes, clear)),
                        _mm256_maddubs_epi16(times_128, _mm256_unpackhi_epi8(codes, clear))};
    const char *halves = (const char *)words;

    /* From memory a conversion spares the shuffle port, which halves cut out of registers would take twice. Compilers
     * have to be kept from that: on Sapphire Rapids it costs a sixth of mxfp8's speed. */
    __asm__("" : "+m"(words));
    values[0] = (vf32){_mm256_cvtph_ps(load_16_bytes(halves)), _mm256_cvtph_ps(load_16_bytes(halves + 32))};
    values[1] = (vf32){_mm256_cvtph_ps(load_16_bytes(halves + 16)), _mm256_cvtph_ps(load_16_bytes(halves + 48))};
}

/* ---- a code in each lane, and anything above its bits ---- */

static inline __m256 e2m1_of_8(__m256i codes)
{
    __m256 magnitude = _mm256_permutevar8x32_ps(_mm256_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6), codes);

    return _mm256_or_ps(magnitude,
                        _mm256_and_ps(_mm256_castsi256_ps(_mm256_slli_epi32(codes, 28)), _mm256_set1_ps(-0.0f)));
}

static inline vf32 e2m1_of_lanes(vi32 codes)
{
    return (vf32){e2m1_of_8(codes.low), e2m1_of_8(codes.high)};
}

/* f16 numbers below zeros, as f32. */
static inline vf32 f16_of_lanes(vi32 halves)
{
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(halves.low, halves.high), 0xd8);

    return (vf32){_mm256_cvtph_ps(_mm256_castsi256_si128(packed)),
                  _mm256_cvtph_ps(_mm256_extracti128_si256(packed, 1))};
}

/* As gmm_e4m3_to_f32. As f16 numbers 2^8 times smaller they have the same bits, seven places up. */
static inline vf32 e4m3_of_lanes(vi32 codes)
{
    vi32 magnitude = vi32_and(codes, vi32_all(0x7f));
    vi32 sign = vi32_and(codes, vi32_all(0x80));
    vi32 half = {
        _mm256_or_si256(_mm256_slli_epi32(magnitude.low, 7), _mm256_slli_epi32(sign.low, 8)),
        _mm256_or_si256(_mm256_slli_epi32(magnitude.high, 7), _mm256_slli_epi32(sign.high, 8)),
    };
    vf32 value = vf32_mul(f16_of_lanes(half), vf32_all(256));

    return (vf32){
        _mm256_or_ps(value.low, _mm256_castsi256_ps(_mm256_cmpeq_epi32(magnitude.low, _mm256_set1_epi32(0x7f)))),
        _mm256_or_ps(value.high, _mm256_castsi256_ps(_mm256_cmpeq_epi32(magnitude.high, _mm256_set1_epi32(0x7f)))),
    };
}

/* ---- scales: eight or 32 at a time, the last ones again where fewer are left; short runs one by one ---- */

static inline int64_t whole_step(int64_t next, int64_t step, int64_t count)
{
    return next + step <= count ? next : count - step;
}

/* f32, f16 or bf16 as f32. */
static inline void load_floats(gmm_dtype dtype, const void *from, int64_t first, int64_t count, float *out)
{
    for (int64_t i = 0; i < count && count < 8; i++)
        out[i] = gmm_load_float(dtype, from, first + i);
    for (int64_t next = 0; next < count && count >= 8; next += 8) {
        int64_t i = whole_step(next, 8, count);
        __m256 values;
        if (dtype == GMM_F32) {
            values = _mm256_loadu_ps((const float *)((const char *)from + (first + i) * 4));
        } else {
            __m128i halves = load_16_bytes((const char *)from + (first + i) * 2);
            values = dtype == GMM_F16 ? _mm256_cvtph_ps(halves) : eight_bf16(halves);
        }
        _mm256_storeu_ps(out + i, values);
    }
}

/* As gmm_e8m0_to_f32, times 2^up; the products with up > 0 must be finite. Code 0 is 2^-127, half the smallest normal
 * number. */
static inline void load_e8m0(const void *from, int64_t first, int64_t count, int up, float *out)
{
    const uint8_t *codes = (const uint8_t *)from + first;

    for (int64_t i = 0; i < count && count < 8; i++)
        out[i] = up ? gmm_f32_from_bits((uint32_t)(codes[i] + up) << 23) : gmm_e8m0_to_f32(codes[i]);
    for (int64_t next = 0; next < count && count >= 8; next += 8) {
        int64_t i = whole_step(next, 8, count);
        __m256i bits = _mm256_slli_epi32(_mm256_add_epi32(eight_bytes(codes + i), _mm256_set1_epi32(up)), 23);
        _mm256_storeu_ps(out + i, _mm256_castsi256_ps(_mm256_max_epi32(bits, _mm256_set1_epi32(0x00400000))));
    }
}

/* As gmm_e4m3_to_f32. */
static inline void load_e4m3(const void *from, int64_t first, int64_t count, float *out)
{
    const uint8_t *codes = (const uint8_t *)from + first;

    for (int64_t i = 0; i < count && count < 32; i++)
        out[i] = gmm_e4m3_to_f32(codes[i]);
    for (int64_t next = 0; next < count && count >= 32; next += 32) {
        int64_t i = whole_step(next, 32, count);
        vf32 values[2];
        e4m3_over_256(load_32_bytes(codes + i), values);
        vf32_store(out + i, vf32_mul(values[0], vf32_all(256)));
        vf32_store(out + i + 16, vf32_mul(values[1], vf32_all(256)));
    }
}

#endif
