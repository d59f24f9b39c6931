/* tile_codes_avx512bf16.h - codes as pairs of bf16 numbers, and rows of scales, lanes along N.
 * SPDX-License-Identifier: MIT */
#ifndef GMM_TILE_CODES_AVX512BF16_H
#define GMM_TILE_CODES_AVX512BF16_H

#include "kernels/avx512bf16/tile_avx512bf16.h"

/* Codes i of 2 or 4 bits of both halves of each word, by a table of bf16 numbers: its permutation takes five bits, so
 * other bits come after the code's, and the table repeats itself. */
static inline __attribute__((always_inline)) __m512bh pair_of_words(int bits, __m512i words, int i, __m512i table)
{
    return (__m512bh)_mm512_permutexvar_epi16(_mm512_srli_epi16(words, (unsigned)(bits * i)), table);
}

/* Some groups of K of 16 columns, whose scales are to be decoded: [count][stride], 16 of each group. There is room for
 * a count that is rounded up to a multiple of 4. */
typedef struct {
    int64_t column, there; /* columns that are not missing, from `column` on: any number, and maybe none */
    int64_t first, count;  /* groups */
    int64_t stride;
} group_block;

/* 16 words of each row from a byte of theirs on, transposed: word after word, lanes along N. Zeros for what is
 * missing. */
static inline void group_words(const void *rows, int64_t row_bytes, const group_block *at, int64_t begin, int64_t end,
                               vf32 words[GMM_TILE])
{
    const char *from = (const char *)rows + at->column * row_bytes + begin;
    const __mmask64 bytes = ~(__mmask64)0 >> (64 - (end - begin < 64 ? end - begin : 64));

    for (int64_t c = 0; c < GMM_TILE; c++)
        words[c] =
            c < at->there ? _mm512_castsi512_ps(_mm512_maskz_loadu_epi8(bytes, from + c * row_bytes)) : vf32_zero();
    vf32_transpose(words);
}

#endif
