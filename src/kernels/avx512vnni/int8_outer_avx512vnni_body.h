/* int8_outer_avx512vnni_body.h - int8 sums of many rows with vpdpbusd: tiles of rows times a panel.
 * SPDX-License-Identifier: MIT
 *
 * Include after int8_avx512vnni_body.h. */

/* `rows` is a constant at every call. */
static inline __attribute__((always_inline)) void outer_rows(const gmm_int8_outer *call, int64_t row, int rows)
{
    const gmm_int8_panel *panel = call->panel;
    const int64_t size = panel->weights->group_size, groups = panel->k / size;
    const int8_t *x = call->x.codes + row * call->x.k + panel->begin * rows;
    const float *factors = call->x.factors + 2 * (row * call->x.k + panel->begin * rows) / size;
    const uint8_t *w = panel->codes;
    float *sums = call->sums + row * GMM_PANEL;
    const char *ahead = call->ahead->at;
    int64_t left = call->ahead->left, step = call->ahead->step;

    for (int64_t g = 0; g < groups; g++, factors += 2 * rows) {
        __m512i sum[INT8_MR][2];
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++)
            sum[r][0] = sum[r][1] = _mm512_setzero_si512();
        for (int64_t k = 0; k < size; k += 4, w += 4 * GMM_PANEL, x += 4 * rows) {
            __m512i first = _mm512_load_si512(w), second = _mm512_load_si512(w + 64);
            if (step > 0) {
                __builtin_prefetch(ahead, 0, 2);
                __builtin_prefetch(ahead + step / 2, 0, 2);
                ahead += step;
                if (--left == 0) {
                    gmm_ahead_row(call->ahead);
                    ahead = call->ahead->at;
                    left = call->ahead->left;
                    step = call->ahead->step;
                }
            }
#pragma GCC unroll 12
            for (int r = 0; r < rows; r++) {
                int32_t four;
                memcpy(&four, x + 4 * r, sizeof four);
                sum[r][0] = add_products(sum[r][0], first, _mm512_set1_epi32(four));
                sum[r][1] = add_products(sum[r][1], second, _mm512_set1_epi32(four));
            }
        }
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
            const __m512 scales = _mm512_load_ps(panel->scales + g * GMM_PANEL + v * 16);
            const __m512 biases =
                INT8_BIASES ? _mm512_load_ps(panel->biases + g * GMM_PANEL + v * 16) : _mm512_setzero_ps();
#pragma GCC unroll 12
            for (int r = 0; r < rows; r++) {
                float *to = sums + r * GMM_PANEL + v * 16;
                __m512 terms = group_terms(sum[r][v], _mm512_set1_ps(factors[rows + r]), scales, biases);
                _mm512_store_ps(to, _mm512_fmadd_ps(_mm512_set1_ps(factors[r]), terms, _mm512_load_ps(to)));
            }
        }
    }
    call->ahead->at = ahead;
    call->ahead->left = left;
}

static void outer(const gmm_int8_outer *call)
{
    int64_t tiles = gmm_tile_count(call->rows, INT8_MR);

    for (int64_t t = 0; t < tiles; t++) {
        int64_t row = gmm_tile_begin(call->rows, tiles, t);
        switch (gmm_tile_begin(call->rows, tiles, t + 1) - row) {
#define INT8_CASE(rows)                                                                                                \
    case rows:                                                                                                         \
        outer_rows(call, row, rows);                                                                                   \
        break
            INT8_CASE(1);
            INT8_CASE(2);
            INT8_CASE(3);
            INT8_CASE(4);
            INT8_CASE(5);
            INT8_CASE(6);
            INT8_CASE(7);
            INT8_CASE(8);
            INT8_CASE(9);
            INT8_CASE(10);
            INT8_CASE(11);
            INT8_CASE(12);
#undef INT8_CASE
        }
    }
}
