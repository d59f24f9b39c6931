/* check_decode.c - decode kernels: the bits of the format's own decode, for every code and scale, anywhere in a row. */
/* SPDX-License-Identifier: MIT */
#include "cmocka_test.h"

#include <stdlib.h>
#include <string.h>

#include "kernel_check.h"

/* Decode elements [begin, begin + count) into memory that is just as large. */
static void check_run(const gmm_kernel *kernel, const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count)
{
    char text[128];
    gmm_guarded memory;
    float *out = check_floats(&memory, count), *want = check_allocate(count, sizeof(float));

    check_case("elements %lld to %lld, %s", (long long)begin, (long long)(begin + count - 1),
               check_weights_text(weights, text, sizeof text));
    kernel->decode(weights, row, begin, count, out);
    weights->format->decode(weights, row, begin, count, want);
    check_all_same(out, want, count, "the format decodes it");
    if (!gmm_guarded_intact(&memory))
        check_fail("writes before its results");
    gmm_guarded_free(&memory);
    free(want);
}

static void free_row(check_rows rows[3])
{
    for (int i = 0; i < 3; i++)
        check_rows_free(&rows[i]);
}

static gmm_row make_row(check_rows rows[3], gmm_random *random, const gmm_weights *weights, int64_t k,
                        gmm_guard_side side, size_t shift)
{
    check_rows_make(&rows[0], random, 1, check_code_bytes(weights, k), side, shift);
    check_rows_make(&rows[1], random, 1, check_scale_bytes(weights, k), side, shift / 2);
    check_rows_make(&rows[2], random, 1, check_bias_bytes(weights, k), side, shift / 3);
    return (gmm_row){.codes = rows[0].first, .scales = rows[1].first, .biases = rows[2].first};
}

/* Any run that the planner may ask for: from a multiple of 32 to another, or to the end of the row. */
static void check_runs(const gmm_kernel *kernel, gmm_random *random, const gmm_weights *weights, int64_t k, gmm_row row)
{
    check_run(kernel, weights, row, 0, k);
    for (int i = 0; i < 6; i++) {
        int64_t begin = gmm_random_between(random, 0, (k - 1) / 32) * 32;
        int64_t end = begin + gmm_random_between(random, 1, (k - begin + 31) / 32) * 32;
        check_run(kernel, weights, row, begin, (end < k ? end : k) - begin);
    }
}

void check_decode_runs(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "decode_runs", &random);
    gmm_weights weights;

    for (int i = 0; check_weights_at(kernel, i, &weights); i++)
        for (size_t shift = 0; shift < 64; shift++) {
            int64_t step = check_weights_step(&weights);
            int64_t k = step > 1 ? step * gmm_random_between(&random, 1, 9) : (int64_t)shift + 1;
            gmm_guard_side side = shift % 4 < 2 ? GMM_GUARD_AFTER : GMM_GUARD_BEFORE;
            check_rows rows[3];
            if (!check_weights_wanted(&random, i))
                continue;
            /* half of them at the very end or beginning of their pages */
            gmm_row row = make_row(rows, &random, &weights, k, side, shift % 2 ? shift : 0);
            check_weights_fill(&random, &weights, CHECK_WILD, k, row);
            check_runs(kernel, &random, &weights, k, row);
            free_row(rows);
        }
    /* More groups than any body takes at a time. */
    for (int i = 0; check_weights_at(kernel, i, &weights); i++) {
        int64_t k = weights.format->quantized ? weights.group_size * 193 : 1000;
        check_rows rows[3];
        gmm_row row = make_row(rows, &random, &weights, k, GMM_GUARD_AFTER, 0);
        check_weights_fill(&random, &weights, CHECK_WILD, k, row);
        check_runs(kernel, &random, &weights, k, row);
        free_row(rows);
    }
}

/* All pairs of a code and a scale; dense: all elements of 16 bits. The codes of a row count up, and every group has the
 * next scale after as many groups as it takes for all codes. */
void check_decode_codes(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "decode_codes", &random);
    gmm_weights weights;

    for (int i = 0; check_weights_at(kernel, i, &weights); i++) {
        bool quantized = weights.format->quantized;
        int64_t codes = quantized ? 1 << weights.bits : 65536, scales = quantized ? 256 : 1;
        int64_t group = check_weights_step(&weights), groups_each = codes > group ? codes / group : 1;
        int64_t k = quantized ? scales * groups_each * group : codes;
        check_rows rows[3];
        gmm_row row = make_row(rows, &random, &weights, k, GMM_GUARD_AFTER, 0);
        uint8_t *bytes = (uint8_t *)rows[0].first;
        int64_t bits = quantized ? weights.bits : 16;
        check_weights_fill(&random, &weights, CHECK_WILD, k, row);
        memset(bytes, 0, (size_t)check_code_bytes(&weights, k));
        for (int64_t e = 0; e < k; e++)
            for (int64_t b = 0; b < bits; b++)
                bytes[(e * bits + b) / 8] |= (uint8_t)((e >> b & 1) << (e * bits + b) % 8);
        for (int64_t g = 0; quantized && !weights.format->has_biases && g < k / group; g++)
            rows[1].first[g] = (char)(g / groups_each);
        check_run(kernel, &weights, row, 0, k);
        /* Each scale alone: bodies look for the largest. */
        int64_t step = groups_each * group < 32 ? 32 : groups_each * group;
        for (int64_t begin = 0; weights.scales_dtype == GMM_U8 && begin < k; begin += step)
            check_run(kernel, &weights, row, begin, step);
        free_row(rows);
    }
}

void check_class_fill(const gmm_kernel *decoder, gmm_class_codes *codes, gmm_guarded *panel)
{
    int64_t bytes = decoder->class_bytes(codes->weights, codes->k);

    if (bytes % 64 != 0)
        check_fail("a panel of codes of %lld bytes, which is no multiple of 64", (long long)bytes);
    check_floats(panel, bytes / (int64_t)sizeof(float));
    codes->panel = panel->data;
    decoder->class_fill(codes);
    if (!gmm_guarded_intact(panel))
        check_fail("writes before its panel of codes");
}

/* All classes of a panel: what is decoded of the columns that are there is what the format decodes. */
static void check_panel(const gmm_kernel *kernel, gmm_class_codes *codes)
{
    gmm_guarded panel, memory;
    float *want = check_allocate(codes->columns * codes->k, sizeof(float));

    check_class_fill(kernel, codes, &panel);
    for (int64_t c = 0; c < codes->columns; c++)
        codes->weights->format->decode(codes->weights, gmm_row_at(&codes->w, c), codes->begin, codes->k,
                                       want + c * codes->k);
    for (int64_t class = 0; class < GMM_CLASSES; class ++) {
        int64_t length = gmm_class_length(codes->k, GMM_CLASSES, class);
        float *to = check_floats(&memory, length * GMM_PANEL);
        kernel->class_decode(codes, class, to);
        for (int64_t i = 0; i < length; i++)
            for (int64_t c = 0; c < codes->columns; c++)
                if (!check_same(to[i * GMM_PANEL + c], want[c * codes->k + i * GMM_CLASSES + class]))
                    check_fail("element %lld of class %lld, column %lld is %.9g, not %.9g", (long long)i,
                               (long long)class, (long long)c, (double)to[i * GMM_PANEL + c],
                               (double)want[c * codes->k + i * GMM_CLASSES + class]);
        if (!gmm_guarded_intact(&memory))
            check_fail("writes before its results");
        gmm_guarded_free(&memory);
    }
    gmm_guarded_free(&panel);
    free(want);
}

void check_decode_classes(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "decode_classes", &random);
    gmm_weights weights;
    char text[128];

    for (int i = 0; check_weights_at(kernel, i, &weights); i++)
        for (int64_t groups = 1; groups <= 35; groups += groups < 20 ? 1 : 5) {
            int64_t k = groups * weights.group_size;
            gmm_class_codes codes = {.weights = &weights, .columns = gmm_random_between(&random, 1, GMM_PANEL)};
            gmm_guard_side side = groups % 2 ? GMM_GUARD_AFTER : GMM_GUARD_BEFORE;
            check_rows rows[3];
            if (!check_weights_wanted(&random, i))
                continue;
            check_rows_make(&rows[0], &random, codes.columns, check_code_bytes(&weights, k), side, 0);
            check_rows_make(&rows[1], &random, codes.columns, check_scale_bytes(&weights, k), side, 0);
            check_rows_make(&rows[2], &random, codes.columns, check_bias_bytes(&weights, k), side, 0);
            codes.w = (gmm_rows){
                .first = {.codes = rows[0].first, .scales = rows[1].first, .biases = rows[2].first},
                .code_bytes = rows[0].step,
                .scale_bytes = rows[1].step,
                .bias_bytes = rows[2].step,
            };
            for (int64_t c = 0; c < codes.columns; c++)
                check_weights_fill(&random, &weights, CHECK_WILD, k, gmm_row_at(&codes.w, c));
            codes.begin = gmm_random_between(&random, 0, (k - 1) / 128) * 128;
            codes.k = k - codes.begin;
            check_case("elements %lld to %lld, %lld columns, %s", (long long)codes.begin, (long long)(k - 1),
                       (long long)codes.columns, check_weights_text(&weights, text, sizeof text));
            check_panel(kernel, &codes);
            free_row(rows);
        }
}
