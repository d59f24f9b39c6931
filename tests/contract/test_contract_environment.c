/* test_contract_environment.c - the caller's floating-point environment: not felt, not changed. */
/* SPDX-License-Identifier: MIT */
#include <fenv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "cases.h"
#include "cmocka_test.h"

static gmm_random seeded;

/* An environment that a caller may have: a rounding direction; on x86, flushing of subnormals, and exceptions that
 * trap. */
typedef struct environment {
    const char *name;
    int rounding;
    unsigned flush;    /* into MXCSR: FTZ 0x8000, DAZ 0x0040 */
    unsigned unmasked; /* exception masks taken out of MXCSR: all of them 0x1F80 */
} environment;

static const environment environments[] = {
    {"rounding up", FE_UPWARD, 0, 0},
    {"rounding down", FE_DOWNWARD, 0, 0},
    {"rounding to zero", FE_TOWARDZERO, 0, 0},
#if defined(__x86_64__)
    {"flush to zero, denormals are zero", FE_TONEAREST, 0x8040, 0},
    {"rounding up, flush to zero", FE_UPWARD, 0x8040, 0},
    {"all exceptions trap", FE_TONEAREST, 0, 0x1F80},
#endif
};

static unsigned control_word(void)
{
#if defined(__x86_64__)
    return _mm_getcsr();
#else
    return 0;
#endif
}

static void enter(const environment *e)
{
    fesetround(e->rounding);
    feclearexcept(FE_ALL_EXCEPT);
#if defined(__x86_64__)
    _mm_setcsr((_mm_getcsr() | e->flush) & ~e->unmasked);
#endif
}

/* What a call in an environment gave. */
typedef struct outcome {
    gmm_status status;
    bool kept; /* the environment, exception flags included */
} outcome;

static outcome run_in(const environment *e, const gmm_context *context, gmm_case *made)
{
    outcome o;
    unsigned before, after;
    int flags;
    fenv_t clean;

    gmm_poison_fill(made->out.memory.data, made->out.memory.size_bytes, made->out.array.dtype, GMM_POISON_QUIET_NAN);
    fegetenv(&clean);
    enter(e);
    before = control_word();
    o.status = gmm_run(context, &made->product, &made->out.array);
    after = control_word();
    flags = fetestexcept(FE_ALL_EXCEPT);
    o.kept = before == after && flags == 0 && fegetround() == e->rounding;
    fesetenv(&clean);
    return o;
}

/* Results that rounding directions and flushing would change: subnormals, halves, f16 overflow. */
static void products(void **state)
{
    gmm_context *two_threads = NULL;
    const gmm_context_options options = {.size = sizeof options, .threads = 2, .arithmetic = gmm_case_arithmetic()};
    const size_t count = sizeof environments / sizeof environments[0];

    (void)state;
    gmm_random_start(&seeded, __func__);
    assert_int_equal(gmm_context_create(&options, &two_threads), GMM_OK);
    for (int64_t round = gmm_test_rounds(60); round > 0; round--) {
        /* The first round starts the threads, which inherit the environment of the thread that starts them. */
        gmm_case_spec spec = gmm_case_random(&seeded, round % 4 ? 1 << 14 : 1 << 19);
        gmm_case made;
        char *expected, *got, text[1024];

        if (round % 3 == 0)
            spec.values = GMM_VALUES_TINY;
        gmm_case_make(&made, &seeded, &spec);
        expected = gmm_case_run(gmm_case_one_thread(), &made, GMM_POISON_ZERO);
        for (size_t i = 0; i < 2 * count; i++) {
            const environment *e = &environments[i / 2];
            outcome o = run_in(e, i % 2 ? gmm_case_one_thread() : two_threads, &made);
            assert_int_equal(o.status, GMM_OK);
            if (!o.kept)
                fail_msg("%s: %s: the environment changed", e->name, gmm_case_text(&spec, text, sizeof text));
            got = gmm_built_collect(&made.out.array, NULL);
            if (memcmp(expected, got, gmm_case_bytes(&made)))
                fail_msg("%s: %s: other bits", e->name, gmm_case_text(&spec, text, sizeof text));
            free(got);
        }
        free(expected);
        gmm_case_free(&made);
    }
    gmm_context_destroy(two_threads);
}

/* quantize, dequantize and the E4M3 conversions of one array, all results in one piece of memory. */
typedef struct conversions {
    uint32_t codes[128];
    float affine_scales[8], affine_biases[8];
    uint8_t scales[32];
    float decoded[512];
    uint8_t fp8[512];
    float from_fp8[512];
} conversions;

static void convert_all(const float *values, const char *mode, conversions *to)
{
    const int64_t groups = !strcmp(mode, "nvfp4") ? 32 : !strcmp(mode, "affine") ? 8 : 16;
    int64_t shape[] = {8, 64}, code_shape[] = {8, 8}, scale_shape[] = {8, groups / 8};
    bool affine = !strcmp(mode, "affine");
    float copy[512];
    if (!strcmp(mode, "mxfp8"))
        code_shape[1] = 16;
    gmm_array x = {copy, GMM_F32, 2, shape, NULL, 0}, codes = {to->codes, GMM_U32, 2, code_shape, NULL, 0};
    gmm_array scales = {
        affine ? (void *)to->affine_scales : (void *)to->scales, affine ? GMM_F32 : GMM_U8, 2, scale_shape, NULL, 0};
    gmm_array biases = {to->affine_biases, GMM_F32, 2, scale_shape, NULL, 0};
    gmm_array decoded = {to->decoded, GMM_F32, 2, shape, NULL, 0}, fp8 = {to->fp8, GMM_U8, 2, shape, NULL, 0};
    gmm_array from_fp8 = {to->from_fp8, GMM_F32, 2, shape, NULL, 0};
    gmm_quantize_options options = {.size = sizeof options, .mode = mode};
    gmm_quantized q = {.w = &codes, .scales = &scales, .biases = affine ? &biases : NULL, .mode = mode};

    memcpy(copy, values, sizeof copy);
    memset(to, 0, sizeof *to);
    assert_int_equal(gmm_quantize(NULL, &x, &options, &codes, &scales, affine ? &biases : NULL), GMM_OK);
    assert_int_equal(gmm_dequantize(NULL, &q, &decoded), GMM_OK);
    assert_int_equal(gmm_to_fp8(&x, &fp8), GMM_OK);
    assert_int_equal(gmm_from_fp8(&fp8, &from_fp8), GMM_OK);
}

static void conversions_too(void **state)
{
    static const char *const modes[] = {"affine", "mxfp4", "mxfp8", "nvfp4"};

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t round = gmm_test_rounds(20); round > 0; round--)
        for (size_t mode = 0; mode < sizeof modes / sizeof modes[0]; mode++) {
            static const double magnitudes[] = {1, 1e-3, 300, 1e-38, 1e-41};
            double magnitude = magnitudes[round % 5];
            float values[512];
            conversions clean, dirty;

            for (int i = 0; i < 512; i++)
                values[i] = (float)(gmm_random_unit(&seeded) * magnitude);
            convert_all(values, modes[mode], &clean);
            for (size_t i = 0; i < sizeof environments / sizeof environments[0]; i++) {
                unsigned before, after;
                int flags;
                fenv_t saved;
                fegetenv(&saved);
                enter(&environments[i]);
                before = control_word();
                convert_all(values, modes[mode], &dirty);
                after = control_word();
                flags = fetestexcept(FE_ALL_EXCEPT);
                fesetenv(&saved);
                if (before != after || flags)
                    fail_msg("%s, %s: the environment changed", modes[mode], environments[i].name);
                if (memcmp(&clean, &dirty, sizeof clean))
                    fail_msg("%s of magnitude %g, %s: other bytes", modes[mode], magnitude, environments[i].name);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(conversions_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
