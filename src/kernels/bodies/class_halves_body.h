/* class_halves_body.h - panels of f16 or bf16 weights: pairs transposed so that lanes lie along N, a class at a time.
 * SPDX-License-Identifier: MIT
 *
 * Include after a definition of
 *   vf32 halves_of_lanes(vi32 pairs, bool second);
 *       The first (in the low bits) or second element of a pair in each lane; a compile-time constant.
 * A panel is two halves of 16 columns, each [8 pairs of 16 elements][k / 16][16 columns]: a class reads one run of it.
 */
#include <string.h>

static int64_t class_bytes(const gmm_weights *weights, int64_t k)
{
    (void)weights;
    return 2 * 8 * ((k + 15) / 16) * 16 * 4;
}

/* Sixteen elements are eight pairs, so two runs of sixteen make a block of 16 x 16 lanes. */
static void class_fill(const gmm_class_codes *codes)
{
    int64_t runs = (codes->k + 15) / 16;

    for (int half = 0; half < 2; half++) {
        float *panel = (float *)(void *)codes->panel + half * 8 * runs * 16;
        for (int64_t run = 0; run < runs; run += 2) {
            int64_t left = codes->k - run * 16;
            vf32 rows[16];
#pragma GCC unroll 16
            for (int c = 0; c < 16; c++) {
                int64_t column = half * 16 + c < codes->columns ? half * 16 + c : codes->columns - 1;
                const char *from = (const char *)gmm_row_at(&codes->w, column).codes + (codes->begin + run * 16) * 2;
                uint16_t last[32];
                if (left < 32) {
                    memset(last, 0, sizeof last);
                    from = memcpy(last, from, (size_t)left * 2);
                }
                rows[c] = vf32_load((const void *)from);
            }
            vf32_transpose(rows);
#pragma GCC unroll 16
            for (int pair = 0; pair < 16; pair++)
                if (pair < 8 || left > 16)
                    vf32_store(panel + (pair % 8 * runs + run + pair / 8) * 16, rows[pair]);
        }
    }
}

static inline __attribute__((always_inline)) void decode_halves(const float *pairs, int64_t runs, bool second,
                                                                float *to)
{
    for (int64_t run = 0; run < runs; run++)
        vf32_store(to + run * GMM_PANEL, halves_of_lanes(vf32_bits(vf32_load(pairs + run * 16)), second));
}

static void class_decode(const gmm_class_codes *codes, int64_t c, float *to)
{
    int64_t runs = (codes->k + 15) / 16;
    const float *panel = (const float *)(const void *)codes->panel;

    for (int half = 0; half < 2; half++, panel += 8 * runs * 16, to += 16)
        if (c % 2)
            decode_halves(panel + c / 2 * runs * 16, runs, true, to);
        else
            decode_halves(panel + c / 2 * runs * 16, runs, false, to);
}
