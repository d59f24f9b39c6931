/* int8_body.h - int8 sums of one weight format in plain C.
 * SPDX-License-Identifier: MIT
 *
 * Include after kernels/int8.h and formats/packed.h. Parameters:
 *   void unpack(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, uint8_t *codes);
 *       Codes begin, begin + 1, ...; both numbers are multiples of a group.
 *   float group_scale(const gmm_weights *weights, gmm_row row, int64_t group);
 *   float group_bias(const gmm_weights *weights, gmm_row row, int64_t group);
 *   INT8_BIASES  whether group_bias is used.
 *   INT8_ZERO  what is to be taken off the codes.
 *
 * A tile is one row. */
#include <math.h>
#include <string.h>

enum {
    INT8_PIECE = 1024 /* codes that the dot body unpacks together: a multiple of every group */
};

static void quantize(const float *from, int64_t k, int32_t group_size, const gmm_int8_row *x)
{
    for (int64_t g = 0; g < k / group_size; g++) {
        const float *group = from + g * group_size;
        int8_t *codes = x->codes + g * group_size;
        uint32_t largest = 0;
        int32_t sum = 0;
        for (int i = 0; i < group_size; i++) {
            uint32_t magnitude = gmm_f32_bits(group[i]) & 0x7fffffff;
            largest = magnitude > largest ? magnitude : largest;
        }
        gmm_int8_scale scale = gmm_int8_scale_of(largest);
        x->scales[g] = scale.scale;
        x->sums[g] = 0;
        memset(codes, 0, (size_t)group_size);
        if (!(scale.inverse > 0)) /* elements may be infinite or NaN */
            continue;
        for (int i = 0; i < group_size; i++) {
            /* In f32 the last bit of 1.5 * 2^23 is 1: adding it rounds to integers, ties to even. */
            int32_t code = (int32_t)(gmm_f32_bits(group[i] * scale.inverse + 0x1.8p23f) - 0x4b400000);
            codes[i] = (int8_t)code;
            sum += code;
        }
        x->sums[g] = (float)sum;
    }
}

static void pack(const gmm_int8_row *from, int64_t rows, const gmm_weights *weights, const gmm_int8_tiles *to)
{
    (void)rows;
    memcpy(to->codes, from->codes, (size_t)to->k);
    for (int64_t g = 0; g < to->k / weights->group_size; g++) {
        to->factors[2 * g] = from->scales[g];
        to->factors[2 * g + 1] = from->sums[g];
    }
}

/* The sum of a group's products, exactly. */
static inline int32_t group_sum(const uint8_t *codes, const int8_t *x, int64_t size)
{
    int32_t sum = 0;

    for (int64_t i = 0; i < size; i++)
        sum += (int16_t)codes[i] * (int16_t)x[i];
    return sum;
}

/* A sum with one more group. */
static inline float add_group(float sum, int32_t group, float scale, float bias, float x_scale, float x_sum)
{
    float term = INT8_BIASES ? fmaf(bias, x_sum, scale * (float)group) : scale * ((float)group - INT8_ZERO * x_sum);

    return fmaf(x_scale, term, sum);
}

/* One row. */
static void dot(const gmm_int8_dot *call)
{
    const int64_t size = call->weights->group_size;
    uint8_t codes[INT8_PIECE];

    for (int64_t c = 0; c < call->columns; c++) {
        gmm_row row = gmm_row_at(&call->w, c);
        float sum = 0;
        for (int64_t k = 0; k < call->k; k += INT8_PIECE) {
            int64_t count = call->k - k < INT8_PIECE ? call->k - k : INT8_PIECE;
            unpack(call->weights, row, k, count, codes);
            for (int64_t i = 0; i < count; i += size) {
                int64_t g = (k + i) / size;
                sum = add_group(sum, group_sum(codes + i, call->x->codes + k + i, size),
                                group_scale(call->weights, row, g), INT8_BIASES ? group_bias(call->weights, row, g) : 0,
                                call->x->scales[g], call->x->sums[g]);
            }
        }
        call->out[c] = sum;
    }
}

/* Columns one after the other. */
static void fill(const gmm_int8_panel *panel)
{
    const int64_t size = panel->weights->group_size, groups = panel->k / size, begin = panel->begin / size;

    for (int64_t c = 0; c < panel->columns; c++) {
        gmm_row row = gmm_row_at(&panel->w, c);
        unpack(panel->weights, row, panel->begin, panel->k, panel->codes + c * panel->k);
        for (int64_t g = 0; g < groups; g++) {
            panel->scales[g * GMM_PANEL + c] = group_scale(panel->weights, row, begin + g);
            if (INT8_BIASES)
                panel->biases[g * GMM_PANEL + c] = group_bias(panel->weights, row, begin + g);
        }
    }
}

/* Sums of columns that are missing are not written. */
static void outer(const gmm_int8_outer *call)
{
    const gmm_int8_panel *panel = call->panel;
    const int64_t size = panel->weights->group_size, groups = panel->k / size;

    for (int64_t r = 0; r < call->rows; r++) {
        const int8_t *x = call->x.codes + r * call->x.k + panel->begin;
        const float *factors = call->x.factors + 2 * (r * call->x.k + panel->begin) / size;
        float *to = call->sums + r * GMM_PANEL;
        for (int64_t c = 0; c < panel->columns; c++) {
            const uint8_t *codes = panel->codes + c * panel->k;
            float sum = to[c];
            for (int64_t g = 0; g < groups; g++)
                sum = add_group(sum, group_sum(codes + g * size, x + g * size, size), panel->scales[g * GMM_PANEL + c],
                                INT8_BIASES ? panel->biases[g * GMM_PANEL + c] : 0, factors[2 * g], factors[2 * g + 1]);
            to[c] = sum;
        }
    }
}
