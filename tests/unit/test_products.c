/* test_products.c - products of every kind of operand against the oracle. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "cmocka_test.h"
#include "oracle.h"
#include "oracle_numbers.h"

static gmm_random seeded;

static void check(const gmm_case_spec *spec)
{
    gmm_case made;

    gmm_case_make(&made, &seeded, spec);
    gmm_case_check(gmm_random_chance(&seeded, 80) ? gmm_case_one_thread() : NULL, &made);
    gmm_case_free(&made);
}

static void random_products(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t i = gmm_test_rounds(2500); i > 0; i--) {
        gmm_case_spec spec = gmm_case_random(&seeded, 1 << 18);
        check(&spec);
    }
}

static void every_kind_at_special_depths(void **state)
{
    static const int64_t depths[] = {1, 15, 16, 17, 31, 544, 2880};
    static const gmm_dtype lhs[] = {GMM_F32, GMM_F16, GMM_BF16};

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++)
        for (int transpose = 0; transpose < 2; transpose++)
            for (size_t d = 0; d < sizeof depths / sizeof depths[0]; d++) {
                if (!gmm_test_wanted(&seeded))
                    continue;
                int64_t m = gmm_random_chance(&seeded, 40) ? 1 : gmm_random_between(&seeded, 2, 60);
                gmm_case_spec spec = gmm_case_plain(kind, transpose, m, gmm_random_between(&seeded, 1, 40), depths[d]);
                spec.lhs_dtype = lhs[gmm_random_between(&seeded, 0, 2)];
                spec.layout = gmm_random_chance(&seeded, 50) ? GMM_LAYOUT_PLAIN : GMM_LAYOUT_ANY;
                check(&spec);
            }
}

static void every_number_of_rows(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t m = 1; m <= 70; m++) {
        if (!gmm_test_wanted(&seeded))
            continue;
        const gmm_weight_kind *kind = &gmm_weight_kinds[gmm_random_between(&seeded, 0, 24)];
        gmm_case_spec dense = gmm_case_plain(gmm_weight_kinds, m % 2 != 0, m, gmm_random_between(&seeded, 1, 70), 48);
        gmm_case_spec other = gmm_case_plain(kind, m % 2 == 0, m, gmm_random_between(&seeded, 1, 70), 64);
        check(&dense);
        check(&other);
    }
}

static void large(void **state)
{
    static const char *const kinds[] = {"f32", "bf16", "affine 4/64", "affine 3/32", "mxfp4", "nvfp4"};

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        for (int transpose = 0; transpose < 2; transpose++) {
            if (!gmm_test_wanted(&seeded))
                continue;
            const gmm_weight_kind *kind = gmm_weight_kind_find(kinds[i]);
            gmm_case_spec one_row = gmm_case_experts(kind, transpose, 24, 4, 1, 544, 768);
            gmm_case_spec many_rows = gmm_case_experts(kind, transpose, 2, 3, 150, 200, 544);
            check(&one_row);
            check(&many_rows);
        }
}

static void every_index_type(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int dtype = GMM_U8; dtype <= GMM_I64; dtype++)
        for (int pattern = 0; pattern < GMM_INDEX_PATTERN_COUNT; pattern++)
            for (int sides = 1; sides <= 3; sides++) {
                if (!gmm_test_wanted(&seeded))
                    continue;
                gmm_case_spec spec =
                    gmm_case_plain(&gmm_weight_kinds[gmm_random_between(&seeded, 0, 24)], true, 2, 7, 32);
                spec.layout = GMM_LAYOUT_ANY;
                spec.pattern = (gmm_index_pattern)pattern;
                spec.lhs_batch = (gmm_case_shape){2, {3, 5}};
                spec.rhs_batch = (gmm_case_shape){1, {120}};
                spec.lhs_index = spec.rhs_index = (gmm_case_shape){1, {40}};
                spec.lhs_index_dtype = sides & 1 ? (gmm_dtype)dtype : 0;
                spec.rhs_index_dtype = sides & 2 ? (gmm_dtype)dtype : 0;
                if (sides == 1)
                    spec.lhs_index = (gmm_case_shape){2, {3, 1}};
                if (sides == 2)
                    spec.rhs_index = (gmm_case_shape){3, {2, 3, 5}};
                check(&spec);
            }
}

/* K = 1 and a 1: the result is the weight itself, for every scale and code of the small formats, infinite ones
 * included. */
static void every_small_weight(void **state)
{
    static const char *const kinds[] = {"mxfp4", "mxfp8", "nvfp4"};

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const gmm_weight_kind *kind = gmm_weight_kind_find(kinds[i]);
        gmm_case_spec spec = gmm_case_plain(kind, false, 1, 256, 1);
        gmm_case made;

        spec.lhs_batch = spec.rhs_batch = (gmm_case_shape){1, {256}};
        gmm_case_make(&made, &seeded, &spec);
        gmm_guarded_unseal(&made.lhs.memory);
        gmm_guarded_unseal(&made.rhs.memory);
        gmm_guarded_unseal(&made.scales.memory);
        for (int64_t scale = 0; scale < 256; scale++) {
            int64_t groups = 256 / kind->group_size;
            gmm_built_put(&made.lhs.array, scale, 1);
            for (int64_t g = 0; g < groups; g++)
                gmm_built_put_bits(&made.scales.array, scale * groups + g, (uint64_t)scale);
            for (int64_t code = 0; code < 256; code++)
                made.rhs.memory.data[scale * 256 * kind->bits / 8 + code * kind->bits / 8] = (char)(code & 0xFF);
        }
        assert_int_equal(gmm_run(NULL, &made.product, &made.out.array), GMM_OK);
        for (int64_t at = 0; at < 256 * 256; at++) {
            double want = gmm_oracle_weight(&made.quantized, at / 256, 0, at % 256, NULL);
            double got = gmm_oracle_decode(GMM_F32, gmm_oracle_bits(&made.out.array, at));
            if (isnan(want) ? !isnan(got) : got != want)
                fail_msg("%s scale %d code %d: %g, not %g", kind->name, (int)(at / 256), (int)(at % 256), got, want);
        }
        gmm_case_free(&made);
    }
}

/* Code number `at` of the first row, in another way than the oracle's. */
static unsigned code_at(const gmm_case *made, int64_t at)
{
    int64_t bit = at * made->quantized.bits;
    uint64_t words = gmm_oracle_bits(&made->rhs.array, bit / 32);

    if (bit / 32 + 1 < made->rhs.shape[1])
        words |= gmm_oracle_bits(&made->rhs.array, bit / 32 + 1) << 32;
    return (unsigned)(words >> bit % 32) & ((1u << made->quantized.bits) - 1);
}

/* A weight with its one rounding: scale * code + bias, or the exact product times fl(global / 2688). */
static double rounded_weight(gmm_case *made, int64_t at)
{
    int64_t group = at / made->quantized.group_size;
    double exact;

    if (made->quantized.biases) {
        double scale = gmm_oracle_decode(made->scales.array.dtype, gmm_oracle_bits(&made->scales.array, group));
        double bias = gmm_oracle_decode(made->biases.array.dtype, gmm_oracle_bits(&made->biases.array, group));
        return (double)fmaf((float)scale, (float)code_at(made, at), (float)bias);
    }
    made->quantized.global_scale = NULL;
    exact = gmm_oracle_weight(&made->quantized, 0, 0, at, NULL);
    if (!made->spec.kind->has_global_scale)
        return exact;
    made->quantized.global_scale = &made->global_scale.array;
    float global = (float)gmm_oracle_decode(GMM_F32, gmm_oracle_bits(&made->global_scale.array, 0));
    return gmm_oracle_round(GMM_F32, exact * (double)(global / 2688.0f));
}

/* Scales and biases whose exponents are far apart; biases that all but cancel the product; and biases that say which
 * way a product halfway between two numbers of f32, 3 * (1 + 2^-23), is rounded, from so far below that a sum in double
 * loses them. */
static void spread_scales(gmm_case *made)
{
    int spread = made->spec.rhs_dtype == GMM_F16 ? 10 : 30;

    gmm_guarded_unseal(&made->scales.memory);
    gmm_guarded_unseal(&made->biases.memory);
    for (int64_t group = 0, count = gmm_built_count(&made->scales.array); group < count; group++) {
        int scale_exponent = (int)gmm_random_between(&seeded, -spread, spread);
        int bias_exponent = (int)gmm_random_between(&seeded, -spread, spread);
        double scale = gmm_random_unit(&seeded) * gmm_oracle_power(scale_exponent);
        double bias = gmm_random_unit(&seeded) * gmm_oracle_power(bias_exponent);
        if (group % 4 == 0)
            bias = -3 * scale;
        if (group % 4 == 1 && made->spec.rhs_dtype == GMM_F32) {
            scale = (1 + gmm_oracle_power(-23)) * gmm_oracle_power(scale_exponent);
            bias = (group % 8 == 1 ? 1 : -1) * gmm_oracle_power(scale_exponent - 60);
        }
        gmm_built_put(&made->scales.array, group, scale);
        gmm_built_put(&made->biases.array, group, bias);
    }
}

/* K = 1 and a 1 again: a weight meets one rounding. */
static void weights_are_rounded_once(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++) {
        gmm_case_spec spec = gmm_case_plain(kind, false, 1, 4096, 1);
        gmm_case made;

        if (!kind->mode)
            continue;
        gmm_case_make(&made, &seeded, &spec);
        gmm_guarded_unseal(&made.lhs.memory);
        gmm_built_put(&made.lhs.array, 0, 1);
        if (made.quantized.biases)
            spread_scales(&made);
        assert_int_equal(gmm_run(NULL, &made.product, &made.out.array), GMM_OK);
        for (int64_t at = 0; at < 4096; at++) {
            double got = gmm_oracle_decode(GMM_F32, gmm_oracle_bits(&made.out.array, at));
            double want = rounded_weight(&made, at);
            if (got != want)
                fail_msg("%s: weight %d is %.9g, not %.9g", kind->name, (int)at, got, want);
        }
        gmm_case_free(&made);
    }
}

/* K = 1 and a 1: the result is the number itself, rounded once. */
static void every_rounding(void **state)
{
    static const gmm_dtype outs[] = {GMM_F16, GMM_BF16, GMM_F32};
    enum {
        count = 4096
    };

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t round = gmm_test_rounds(10) * 3; round > 0; round--) {
        gmm_case_spec spec = gmm_case_plain(gmm_weight_kinds, round % 2 != 0, count, 1, 1);
        gmm_case made;

        spec.out_dtype = outs[round % 3];
        gmm_case_make(&made, &seeded, &spec);
        gmm_guarded_unseal(&made.lhs.memory);
        gmm_guarded_unseal(&made.rhs.memory);
        gmm_built_put(&made.rhs.array, 0, 1);
        for (int64_t i = 0; i < count; i++) {
            uint64_t bits = gmm_random_bits(&seeded) & 0xFFFFFFFF;
            if (i % 2) /* near the middle between two numbers of out's type, in f16's range */
                bits = (bits & 0x8FFFE000) + 0x32800000 + (uint64_t)gmm_random_between(&seeded, 0x0FFE, 0x1002) +
                       (bits & 0x40 ? 0x06000000 : 0);
            if (i % 4 == 3)
                bits = (bits & 0xFFFF0000) + (uint64_t)gmm_random_between(&seeded, 0x7FFE, 0x8002);
            gmm_built_put_bits(&made.lhs.array, i, bits);
        }
        assert_int_equal(gmm_run(NULL, &made.product, &made.out.array), GMM_OK);
        for (int64_t i = 0; i < count; i++) {
            double x = gmm_oracle_decode(GMM_F32, gmm_oracle_bits(&made.lhs.array, i));
            double want = gmm_oracle_round(spec.out_dtype, x);
            double got = gmm_oracle_decode(spec.out_dtype, gmm_oracle_bits(&made.out.array, i));
            if (isnan(want) ? !isnan(got) : got != want)
                fail_msg("%.9g gives %.9g, not %.9g, in %s", x, got, want, gmm_dtype_name(spec.out_dtype));
        }
        gmm_case_free(&made);
    }
}

/* Integers meet the float type directly: through f32 on the way to bf16 these would be rounded twice. */
static void integers_are_rounded_once(void **state)
{
    static const int64_t values[] = {
        ((int64_t)1 << 40) + ((int64_t)1 << 32) + 1,
        -((int64_t)1 << 40) - ((int64_t)1 << 32) - 1,
        ((int64_t)1 << 40) + ((int64_t)1 << 32),
        ((int64_t)3 << 40) - ((int64_t)1 << 32) - 1,
        INT64_MAX,
        INT64_MIN,
        ((int64_t)1 << 24) + ((int64_t)1 << 16) + 1,
        65519,
        65520,
        -65520,
    };
    const int64_t count = (int64_t)(sizeof values / sizeof values[0]);

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int kind = 0; kind < 3; kind++)
        for (int out = 0; out < 3; out++) {
            static const gmm_dtype outs[] = {GMM_F16, GMM_BF16, GMM_F32};
            gmm_case_spec spec = gmm_case_plain(&gmm_weight_kinds[kind], false, count, 1, 1);
            gmm_case made;

            spec.lhs_dtype = GMM_I64;
            spec.out_dtype = outs[out];
            gmm_case_make(&made, &seeded, &spec);
            gmm_guarded_unseal(&made.lhs.memory);
            gmm_guarded_unseal(&made.rhs.memory);
            gmm_built_put(&made.rhs.array, 0, 1);
            for (int64_t i = 0; i < count; i++)
                gmm_built_put_bits(&made.lhs.array, i, (uint64_t)values[i]);
            assert_int_equal(gmm_run(NULL, &made.product, &made.out.array), GMM_OK);
            for (int64_t i = 0; i < count; i++) {
                double x = gmm_oracle_decode(GMM_I64, (uint64_t)values[i]);
                double want = gmm_oracle_round(outs[out], gmm_oracle_round(gmm_weight_kinds[kind].dtype, x));
                double got = gmm_oracle_decode(outs[out], gmm_oracle_bits(&made.out.array, i));
                if (got != want)
                    fail_msg("%.19g as %s gives %.9g, not %.9g", x, gmm_weight_kinds[kind].name, got, want);
            }
            gmm_case_free(&made);
        }
}

/* ---- operands that hold no numbers --------------------------------------------------------------------------------
 */

/* Put up to four infinities and NaN into an array of floats. */
static void sprinkle(gmm_built *built)
{
    static const double specials[] = {INFINITY, -INFINITY, NAN};
    int64_t count = gmm_built_count(&built->array);

    if (built->array.dtype != GMM_F32 && built->array.dtype != GMM_F16 && built->array.dtype != GMM_BF16)
        return;
    gmm_guarded_unseal(&built->memory);
    for (int64_t i = count ? gmm_random_between(&seeded, 1, 4) : 0; i > 0; i--)
        gmm_built_put(&built->array, gmm_random_between(&seeded, 0, count - 1),
                      specials[gmm_random_between(&seeded, 0, 2)]);
}

/* Put up to four codes into an array of bytes that stand for an infinity or NaN: E8M0's 255, E4M3's 0x7F. */
static void sprinkle_code(gmm_built *built, uint64_t code)
{
    int64_t count = (int64_t)built->memory.size_bytes;

    gmm_guarded_unseal(&built->memory);
    for (int64_t i = count ? gmm_random_between(&seeded, 1, 4) : 0; i > 0; i--)
        built->memory.data[gmm_random_between(&seeded, 0, count - 1)] = (char)code;
}

static void sprinkle_weights(gmm_case *made)
{
    const gmm_weight_kind *kind = made->spec.kind;

    if (!kind->mode)
        sprinkle(&made->rhs);
    else if (made->quantized.biases)
        sprinkle(gmm_random_chance(&seeded, 50) ? &made->scales : &made->biases);
    else if (!strcmp(kind->mode, "nvfp4"))
        sprinkle_code(&made->scales, gmm_random_chance(&seeded, 50) ? 0x7F : 0xFF);
    else if (!strcmp(kind->mode, "mxfp8") && gmm_random_chance(&seeded, 50))
        sprinkle_code(&made->rhs, gmm_random_chance(&seeded, 50) ? 0x7F : 0xFF);
    else
        sprinkle_code(&made->scales, 255);
}

/* Infinite and NaN operands give what IEEE 754 says, and nothing else feels them: not one bit. */
static void infinities_and_nan(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t i = gmm_test_rounds(800); i > 0; i--) {
        gmm_case_spec spec = gmm_case_random(&seeded, 1 << 15);
        gmm_case made;
        gmm_oracle oracle;
        char *clean, *dirty, text[1024], wrong[256];

        gmm_case_make(&made, &seeded, &spec);
        clean = gmm_case_run(gmm_case_one_thread(), &made, spec.poison);
        if (gmm_random_chance(&seeded, 50))
            sprinkle(&made.lhs);
        else
            sprinkle_weights(&made);
        dirty = gmm_case_run(gmm_case_one_thread(), &made, spec.poison);
        gmm_oracle_make(&made.product, &oracle);
        if (!gmm_oracle_check(&oracle, &made.out.array, wrong, sizeof wrong))
            fail_msg("%s: %s", gmm_case_text(&spec, text, sizeof text), wrong);
        size_t bytes = gmm_built_element_bytes(spec.out_dtype);
        for (int64_t at = 0; at < oracle.count; at++)
            if (isfinite(oracle.value[at]) && memcmp(clean + (size_t)at * bytes, dirty + (size_t)at * bytes, bytes))
                fail_msg("%s: element %d changed with another one's operands", gmm_case_text(&spec, text, sizeof text),
                         (int)at);
        gmm_oracle_free(&oracle);
        free(clean);
        free(dirty);
        gmm_case_free(&made);
    }
}

/* An infinity meets a zero. */
static void zero_times_infinity(void **state)
{
    static const double lhs[] = {INFINITY, 0, 1, -INFINITY}, rhs[] = {0, 1, INFINITY, 1};

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int transpose = 0; transpose < 2; transpose++)
        for (int64_t k = 1; k <= 33; k += 4) {
            gmm_case_spec spec = gmm_case_plain(gmm_weight_kinds, transpose, 4, 4, k);
            gmm_case made;

            gmm_case_make(&made, &seeded, &spec);
            gmm_guarded_unseal(&made.lhs.memory);
            gmm_guarded_unseal(&made.rhs.memory);
            for (int64_t i = 0; i < 4; i++) {
                gmm_built_put(&made.lhs.array, i * k + k - 1, lhs[i]);
                gmm_built_put(&made.rhs.array, (k - 1) * 4 + i, rhs[i]);
            }
            assert_int_equal(gmm_run(NULL, &made.product, &made.out.array), GMM_OK);
            for (int64_t i = 0; i < 4; i++)
                for (int64_t j = 0; j < 4; j++) {
                    double got = gmm_oracle_decode(GMM_F32, gmm_oracle_bits(&made.out.array, i * 4 + j));
                    double product = lhs[i] * rhs[j];
                    if (isnan(product) ? !isnan(got) : isinf(product) ? got != product : !isfinite(got))
                        fail_msg("%g * %g gives %g in a sum of %d", lhs[i], rhs[j], got, (int)k);
                }
            gmm_case_free(&made);
        }
}

/* ---- entry points -------------------------------------------------------------------------------------------------
 */

/* The three calls by MLX's names are gmm_run. */
static void calls_by_name(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t i = gmm_test_rounds(200); i > 0; i--) {
        gmm_case_spec spec = gmm_case_random(&seeded, 1 << 13);
        gmm_case made;
        char *expected, *got, text[1024];
        gmm_status status;

        gmm_case_make(&made, &seeded, &spec);
        expected = gmm_case_run(gmm_case_one_thread(), &made, GMM_POISON_ZERO);
        gmm_poison_fill(made.out.memory.data, made.out.memory.size_bytes, spec.out_dtype, GMM_POISON_ONES);
        const gmm_product *p = &made.product;
        if (!spec.kind->mode)
            status =
                gmm_gather_mm(NULL, p->lhs, p->rhs, p->lhs_indices, p->rhs_indices, p->sorted_indices, &made.out.array);
        else if (p->lhs_indices || p->rhs_indices || gmm_random_chance(&seeded, 30))
            status = gmm_gather_qmm(NULL, p->lhs, p->quantized, p->lhs_indices, p->rhs_indices, p->transpose,
                                    p->sorted_indices, &made.out.array);
        else
            status = gmm_quantized_matmul(NULL, p->lhs, p->quantized, p->transpose, &made.out.array);
        assert_int_equal(status, GMM_OK);
        got = gmm_built_collect(&made.out.array, NULL);
        if (memcmp(expected, got, gmm_case_bytes(&made)))
            fail_msg("%s: not what gmm_run gives", gmm_case_text(&spec, text, sizeof text));
        free(expected);
        free(got);
        gmm_case_free(&made);
    }
}

/* mode, group_size and bits of 0 or NULL mean the mode's defaults. */
static void defaults_of_modes(void **state)
{
    static const char *const kinds[] = {"affine 4/64", "mxfp4", "mxfp8", "nvfp4"};

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        gmm_case_spec spec = gmm_case_plain(gmm_weight_kind_find(kinds[i]), true, 3, 5, 128);
        gmm_case made;

        gmm_case_make(&made, &seeded, &spec);
        made.quantized.group_size = made.quantized.bits = 0;
        if (i == 0)
            made.quantized.mode = NULL;
        gmm_case_check(NULL, &made);
        gmm_case_free(&made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_products),
        cmocka_unit_test(every_kind_at_special_depths),
        cmocka_unit_test(every_number_of_rows),
        cmocka_unit_test(large),
        cmocka_unit_test(every_index_type),
        cmocka_unit_test(every_small_weight),
        cmocka_unit_test(every_rounding),
        cmocka_unit_test(weights_are_rounded_once),
        cmocka_unit_test(integers_are_rounded_once),
        cmocka_unit_test(infinities_and_nan),
        cmocka_unit_test(zero_times_infinity),
        cmocka_unit_test(calls_by_name),
        cmocka_unit_test(defaults_of_modes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
