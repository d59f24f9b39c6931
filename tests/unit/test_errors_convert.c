/* test_errors_convert.c - what quantize, dequantize, the E4M3 conversions and contexts refuse. */
/* SPDX-License-Identifier: MIT */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmocka_test.h"
#include "gathermm/gathermm.h"

extern char **environ;

static const char *program;

/* quantize of w (3, 256), and dequantize of the result; memory enough for every mode. */
typedef struct subject {
    gmm_quantize_options options;
    gmm_quantized quantized;
    gmm_array w, codes, scales, biases, global_scale, out;
    int64_t w_shape[4], codes_shape[4], scales_shape[4], biases_shape[4], out_shape[4];
    float global;
} subject;

static float w_data[4096];

/* Everything that a call could write: codes, scales, biases, decoded weights. */
static struct outputs {
    uint32_t codes[1024], scales[1024], biases[1024];
    float out[4096];
} outputs, before;

static void make(subject *s, const char *mode, int32_t group_size, int32_t bits)
{
    bool affine = strcmp(mode, "affine") == 0;

    memset(s, 0, sizeof *s);
    s->w_shape[0] = s->codes_shape[0] = s->scales_shape[0] = s->biases_shape[0] = s->out_shape[0] = 3;
    s->w_shape[1] = s->out_shape[1] = 256;
    s->codes_shape[1] = 256 * bits / 32;
    s->scales_shape[1] = s->biases_shape[1] = 256 / group_size;
    s->w = (gmm_array){w_data, GMM_F32, 2, s->w_shape, NULL, 0};
    s->codes = (gmm_array){outputs.codes, GMM_U32, 2, s->codes_shape, NULL, 0};
    s->scales = (gmm_array){outputs.scales, affine ? GMM_F32 : GMM_U8, 2, s->scales_shape, NULL, 0};
    s->biases = (gmm_array){outputs.biases, GMM_F32, 2, s->biases_shape, NULL, 0};
    s->out = (gmm_array){outputs.out, GMM_F32, 2, s->out_shape, NULL, 0};
    s->global = 100;
    s->global_scale = (gmm_array){&s->global, GMM_F32, 0, NULL, NULL, 0};
    s->options =
        (gmm_quantize_options){.size = sizeof s->options, .mode = mode, .group_size = group_size, .bits = bits};
    s->quantized = (gmm_quantized){.w = &s->codes,
                                   .scales = &s->scales,
                                   .biases = affine ? &s->biases : NULL,
                                   .mode = mode,
                                   .group_size = group_size,
                                   .bits = bits};
    memset(&outputs, 0, sizeof outputs);
}

static void make_affine(subject *s)
{
    make(s, "affine", 64, 4);
}

static gmm_array *biases_of(subject *s)
{
    return s->quantized.biases ? &s->biases : NULL;
}

static void expect(gmm_status got, gmm_status status, const char *const *words, const char *call, int line)
{
    if (got != status)
        fail_msg("line %d, %s: status %d (%s), not %d", line, call, (int)got, got ? gmm_error_detail() : "fine",
                 (int)status);
    for (; *words; words++)
        if (!strstr(gmm_error_detail(), *words))
            fail_msg("line %d, %s: the message \"%s\" lacks \"%s\"", line, call, gmm_error_detail(), *words);
    if (memcmp(&outputs, &before, sizeof outputs))
        fail_msg("line %d, %s: an output was written", line, call);
}

static void quantize_refused(subject *s, bool spec_too, gmm_status status, const char *const *words, int line)
{
    gmm_array_spec a, b, c;

    memset(&outputs, 0xA5, sizeof outputs);
    before = outputs;
    expect(gmm_quantize(NULL, &s->w, &s->options, &s->codes, &s->scales, biases_of(s)), status, words, "gmm_quantize",
           line);
    if (spec_too)
        expect(gmm_quantize_spec(&s->w, &s->options, &a, &b, &c), status, words, "gmm_quantize_spec", line);
    else
        assert_int_equal(gmm_quantize_spec(&s->w, &s->options, &a, &b, &c), GMM_OK);
}

static void dequantize_refused(subject *s, bool spec_too, gmm_status status, const char *const *words, int line)
{
    gmm_array_spec spec;

    before = outputs;
    expect(gmm_dequantize(NULL, &s->quantized, &s->out), status, words, "gmm_dequantize", line);
    if (spec_too)
        expect(gmm_dequantize_spec(&s->quantized, &spec), status, words, "gmm_dequantize_spec", line);
    else
        assert_int_equal(gmm_dequantize_spec(&s->quantized, &spec), GMM_OK);
}

/* QUANTIZE(subject, spec_too, status, "words", "of", "the message"); DEQUANTIZE likewise. */
#define QUANTIZE(s, spec_too, ...) QUANTIZE_AS(s, spec_too, __VA_ARGS__, NULL)
#define QUANTIZE_AS(s, spec_too, status, ...)                                                                          \
    quantize_refused(s, spec_too, status, (const char *const[]){__VA_ARGS__}, __LINE__)
#define DEQUANTIZE(s, spec_too, ...) DEQUANTIZE_AS(s, spec_too, __VA_ARGS__, NULL)
#define DEQUANTIZE_AS(s, spec_too, status, ...)                                                                        \
    dequantize_refused(s, spec_too, status, (const char *const[]){__VA_ARGS__}, __LINE__)

static void subjects_are_valid(void **state)
{
    static const struct {
        const char *mode;
        int32_t group_size, bits;
    } modes[] = {{"affine", 64, 4}, {"affine", 32, 3}, {"mxfp4", 32, 4}, {"mxfp8", 32, 8}, {"nvfp4", 16, 4}};
    subject s;

    (void)state;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        make(&s, modes[i].mode, modes[i].group_size, modes[i].bits);
        assert_int_equal(gmm_quantize(NULL, &s.w, &s.options, &s.codes, &s.scales, biases_of(&s)), GMM_OK);
        assert_int_equal(gmm_dequantize(NULL, &s.quantized, &s.out), GMM_OK);
    }
}

static void quantize_modes(void **state)
{
    static const struct {
        const char *mode;
        int32_t group_size, bits, wrong;
    } strangers[] = {
        {"affine", 16, 4, 16}, {"affine", 256, 4, 256}, {"affine", -64, 4, -64}, {"affine", 64, 1, 1},
        {"affine", 64, 7, 7},  {"affine", 64, -4, -4},  {"mxfp4", 64, 4, 64},    {"mxfp4", 32, 8, 8},
        {"mxfp8", 32, 4, 4},   {"mxfp8", 16, 8, 16},    {"nvfp4", 32, 4, 32},    {"nvfp4", 16, 8, 8},
    };
    subject s;

    (void)state;
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        char wrong[16];
        snprintf(wrong, sizeof wrong, "%d", (int)strangers[i].wrong);
        make_affine(&s);
        s.options.mode = s.quantized.mode = strangers[i].mode;
        s.options.group_size = s.quantized.group_size = strangers[i].group_size;
        s.options.bits = s.quantized.bits = strangers[i].bits;
        if (strcmp(strangers[i].mode, "affine") != 0)
            s.quantized.biases = NULL;
        QUANTIZE(&s, true, GMM_ERR_FORMAT, strangers[i].mode, wrong);
        DEQUANTIZE(&s, true, GMM_ERR_FORMAT, strangers[i].mode, wrong);
    }
    make_affine(&s);
    s.options.mode = s.quantized.mode = "fp4";
    QUANTIZE(&s, true, GMM_ERR_FORMAT, "fp4");
    DEQUANTIZE(&s, true, GMM_ERR_FORMAT, "fp4");
}

static void quantize_options(void **state)
{
    int64_t two[] = {2};
    subject s;

    (void)state;
    make_affine(&s);
    s.options.size = 0;
    QUANTIZE(&s, true, GMM_ERR_ARGUMENT, "size", "0");
    s.options.size = 5;
    QUANTIZE(&s, true, GMM_ERR_ARGUMENT, "size", "5");
    make(&s, "mxfp4", 32, 4);
    s.options.exponent_rule = (gmm_exponent_rule)3;
    QUANTIZE(&s, true, GMM_ERR_ARGUMENT, "exponent_rule", "3");
    make(&s, "mxfp4", 32, 4);
    s.options.tie_rule = (gmm_tie_rule)-1;
    QUANTIZE(&s, true, GMM_ERR_ARGUMENT, "tie_rule", "-1");
    make(&s, "mxfp4", 32, 4);
    s.options.global_scale = s.quantized.global_scale = &s.global_scale;
    QUANTIZE(&s, true, GMM_ERR_ARGUMENT, "global_scale", "mxfp4");
    DEQUANTIZE(&s, true, GMM_ERR_ARGUMENT, "global_scale", "mxfp4");
    make(&s, "nvfp4", 16, 4);
    s.options.global_scale = s.quantized.global_scale = &s.global_scale;
    s.global_scale.dtype = GMM_F16;
    QUANTIZE(&s, true, GMM_ERR_DTYPE, "global_scale", "F16");
    DEQUANTIZE(&s, true, GMM_ERR_DTYPE, "global_scale", "F16");
    make(&s, "nvfp4", 16, 4);
    s.options.global_scale = s.quantized.global_scale = &s.global_scale;
    s.global_scale.ndim = 1;
    s.global_scale.shape = two;
    QUANTIZE(&s, true, GMM_ERR_SHAPE, "global_scale", "2");
    DEQUANTIZE(&s, true, GMM_ERR_SHAPE, "global_scale", "2");
}

static void quantize_arrays(void **state)
{
    static const int64_t zero_strides[] = {0, 1};
    static const gmm_dtype not_floats[] = {GMM_F64, GMM_I32, GMM_BOOL, GMM_C64, GMM_F8_E4M3, GMM_F4, (gmm_dtype)0};
    subject s;

    (void)state;
    for (size_t i = 0; i < sizeof not_floats / sizeof not_floats[0]; i++) {
        make_affine(&s);
        s.w.dtype = not_floats[i];
        QUANTIZE(&s, true, GMM_ERR_DTYPE, "w");
    }
    make_affine(&s);
    s.w.ndim = 1;
    s.w_shape[0] = 256;
    QUANTIZE(&s, true, GMM_ERR_SHAPE, "w", "1");
    make_affine(&s);
    s.w_shape[1] = 224;
    QUANTIZE(&s, true, GMM_ERR_SHAPE, "w", "224", "64");
    make_affine(&s);
    s.w.data = NULL;
    QUANTIZE(&s, true, GMM_ERR_NULL, "w");
    make_affine(&s);
    s.codes.dtype = GMM_I32;
    QUANTIZE(&s, false, GMM_ERR_DTYPE, "w_q", "I32");
    make_affine(&s);
    s.scales.dtype = GMM_BF16;
    QUANTIZE(&s, false, GMM_ERR_DTYPE, "scales", "BF16", "F32");
    make_affine(&s);
    s.biases.dtype = GMM_F16;
    QUANTIZE(&s, false, GMM_ERR_DTYPE, "biases", "F16");
    make_affine(&s);
    s.codes_shape[1] = 31;
    QUANTIZE(&s, false, GMM_ERR_SHAPE, "w_q", "31", "32");
    make_affine(&s);
    s.codes.ndim = 1;
    QUANTIZE(&s, false, GMM_ERR_SHAPE, "w_q");
    make_affine(&s);
    s.scales_shape[1] = 8;
    QUANTIZE(&s, false, GMM_ERR_SHAPE, "scales", "8", "4");
    make_affine(&s);
    s.biases_shape[0] = 2;
    QUANTIZE(&s, false, GMM_ERR_SHAPE, "biases", "2", "3");
    make_affine(&s);
    s.codes.strides = zero_strides;
    QUANTIZE(&s, false, GMM_ERR_OVERLAP, "w_q");
    make_affine(&s);
    s.biases.data = outputs.scales;
    QUANTIZE(&s, false, GMM_ERR_OVERLAP, "scales", "biases");
    make_affine(&s);
    s.scales.data = outputs.codes;
    QUANTIZE(&s, false, GMM_ERR_OVERLAP, "scales", "w_q");
    make_affine(&s);
    s.w.data = outputs.codes;
    QUANTIZE(&s, false, GMM_ERR_OVERLAP, "w_q", "w");
    make_affine(&s);
    s.w.byte_offset = UINT64_MAX - 8;
    QUANTIZE(&s, true, GMM_ERR_SIZE, "w");
}

static void quantize_null(void **state)
{
    gmm_array_spec a, b, c;
    subject s;

    (void)state;
    make_affine(&s);
    assert_int_equal(gmm_quantize(NULL, NULL, &s.options, &s.codes, &s.scales, &s.biases), GMM_ERR_NULL);
    assert_int_equal(gmm_quantize(NULL, &s.w, &s.options, NULL, &s.scales, &s.biases), GMM_ERR_NULL);
    assert_int_equal(gmm_quantize(NULL, &s.w, &s.options, &s.codes, NULL, &s.biases), GMM_ERR_NULL);
    assert_int_equal(gmm_quantize(NULL, &s.w, &s.options, &s.codes, &s.scales, NULL), GMM_ERR_NULL);
    assert_non_null(strstr(gmm_error_detail(), "biases"));
    assert_int_equal(gmm_quantize_spec(NULL, &s.options, &a, &b, &c), GMM_ERR_NULL);
    assert_int_equal(gmm_quantize_spec(&s.w, &s.options, NULL, &b, &c), GMM_ERR_NULL);
    make(&s, "mxfp8", 32, 8);
    assert_int_equal(gmm_quantize(NULL, &s.w, &s.options, &s.codes, &s.scales, &s.biases), GMM_ERR_ARGUMENT);
    assert_non_null(strstr(gmm_error_detail(), "biases"));
    assert_int_equal(gmm_quantize_spec(&s.w, &s.options, &a, &b, &c), GMM_OK);
    assert_int_equal(c.ndim, -1);
    assert_int_equal(gmm_dequantize(NULL, NULL, &s.out), GMM_ERR_NULL);
    assert_int_equal(gmm_dequantize(NULL, &s.quantized, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_dequantize_spec(NULL, &a), GMM_ERR_NULL);
    assert_int_equal(gmm_dequantize_spec(&s.quantized, NULL), GMM_ERR_NULL);
    s.quantized.w = NULL;
    DEQUANTIZE(&s, true, GMM_ERR_NULL, "w");
    make_affine(&s);
    s.quantized.scales = NULL;
    DEQUANTIZE(&s, true, GMM_ERR_NULL, "scales");
    make_affine(&s);
    s.quantized.biases = NULL;
    DEQUANTIZE(&s, true, GMM_ERR_NULL, "biases");
    make(&s, "mxfp4", 32, 4);
    s.quantized.biases = &s.biases;
    DEQUANTIZE(&s, true, GMM_ERR_ARGUMENT, "biases", "mxfp4");
}

static void dequantize_arrays(void **state)
{
    static const int64_t zero_strides[] = {256, 0};
    subject s;

    (void)state;
    make_affine(&s);
    s.codes.dtype = GMM_U8;
    DEQUANTIZE(&s, true, GMM_ERR_DTYPE, "w", "U8");
    make_affine(&s);
    s.scales.dtype = GMM_I32;
    DEQUANTIZE(&s, true, GMM_ERR_DTYPE, "scales", "I32");
    make_affine(&s);
    s.biases.dtype = GMM_BOOL;
    DEQUANTIZE(&s, true, GMM_ERR_DTYPE, "biases", "BOOL");
    make(&s, "mxfp8", 32, 8);
    s.scales.dtype = GMM_F16;
    DEQUANTIZE(&s, true, GMM_ERR_DTYPE, "scales", "F16");
    make_affine(&s);
    s.codes.ndim = s.scales.ndim = s.biases.ndim = 1;
    DEQUANTIZE(&s, true, GMM_ERR_SHAPE, "w", "1");
    make_affine(&s);
    s.scales_shape[0] = s.biases_shape[0] = 2;
    DEQUANTIZE(&s, true, GMM_ERR_SHAPE, "scales", "2", "3");
    make_affine(&s);
    s.scales_shape[1] = s.biases_shape[1] = 3;
    DEQUANTIZE(&s, true, GMM_ERR_SHAPE, "scales", "256", "64");
    make_affine(&s);
    s.biases_shape[1] = 3;
    DEQUANTIZE(&s, true, GMM_ERR_SHAPE, "biases", "3", "4");
    make_affine(&s);
    s.out_shape[1] = 255;
    DEQUANTIZE(&s, false, GMM_ERR_SHAPE, "out", "255", "256");
    make_affine(&s);
    s.out.ndim = 1;
    DEQUANTIZE(&s, false, GMM_ERR_SHAPE, "out");
    make_affine(&s);
    s.out.dtype = GMM_F64;
    DEQUANTIZE(&s, false, GMM_ERR_DTYPE, "out", "F64");
    make_affine(&s);
    s.out.strides = zero_strides;
    DEQUANTIZE(&s, false, GMM_ERR_OVERLAP, "out");
    make_affine(&s);
    s.out.data = outputs.biases;
    DEQUANTIZE(&s, false, GMM_ERR_OVERLAP, "out", "biases");
    make_affine(&s);
    s.out.data = NULL;
    DEQUANTIZE(&s, false, GMM_ERR_NULL, "out");
}

/* ---- E4M3 ---------------------------------------------------------------------------------------------------------
 */

static void fp8(void **state)
{
    static const int64_t shape[] = {3, 4}, other[] = {3, 5}, stacked[] = {0, 1};
    float numbers[12] = {0};
    uint8_t codes[12], zeros[12] = {0};
    gmm_array x = {numbers, GMM_F32, 2, shape, NULL, 0}, c = {codes, GMM_U8, 2, shape, NULL, 0};

    (void)state;
    memset(codes, 0xA5, sizeof codes);
    assert_int_equal(gmm_to_fp8(NULL, &c), GMM_ERR_NULL);
    assert_int_equal(gmm_to_fp8(&x, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_from_fp8(NULL, &x), GMM_ERR_NULL);
    assert_int_equal(gmm_from_fp8(&c, NULL), GMM_ERR_NULL);
    x.dtype = GMM_F64;
    assert_int_equal(gmm_to_fp8(&x, &c), GMM_ERR_DTYPE);
    assert_non_null(strstr(gmm_error_detail(), "F64"));
    assert_int_equal(gmm_from_fp8(&c, &x), GMM_ERR_DTYPE);
    x.dtype = GMM_F32;
    c.dtype = GMM_I8;
    assert_int_equal(gmm_to_fp8(&x, &c), GMM_ERR_DTYPE);
    assert_int_equal(gmm_from_fp8(&c, &x), GMM_ERR_DTYPE);
    assert_non_null(strstr(gmm_error_detail(), "I8"));
    c.dtype = GMM_U8;
    c.shape = other;
    assert_int_equal(gmm_to_fp8(&x, &c), GMM_ERR_SHAPE);
    assert_non_null(strstr(gmm_error_detail(), "5"));
    assert_int_equal(gmm_from_fp8(&c, &x), GMM_ERR_SHAPE);
    c.shape = shape;
    c.ndim = 1;
    assert_int_equal(gmm_to_fp8(&x, &c), GMM_ERR_SHAPE);
    c.ndim = 2;
    c.strides = stacked;
    assert_int_equal(gmm_to_fp8(&x, &c), GMM_ERR_OVERLAP);
    c.strides = NULL;
    c.data = numbers;
    assert_int_equal(gmm_to_fp8(&x, &c), GMM_ERR_OVERLAP);
    assert_int_equal(gmm_from_fp8(&c, &x), GMM_ERR_OVERLAP);
    c.data = codes;
    c.byte_offset = UINT64_MAX;
    assert_int_equal(gmm_to_fp8(&x, &c), GMM_ERR_SIZE);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(codes[i], 0xA5);
        assert_true(numbers[i] == 0);
    }
    c.byte_offset = 0;
    assert_int_equal(gmm_to_fp8(&x, &c), GMM_OK);
    assert_memory_equal(codes, zeros, sizeof codes);
}

/* ---- contexts and masks -------------------------------------------------------------------------------------------
 */

static void contexts(void **state)
{
    gmm_context_options options = {.size = sizeof options};
    gmm_context *const untouched = (gmm_context *)(void *)w_data;
    gmm_context *context = untouched;

    (void)state;
    assert_int_equal(gmm_context_create(&options, NULL), GMM_ERR_NULL);
    options.size = 0;
    assert_int_equal(gmm_context_create(&options, &context), GMM_ERR_ARGUMENT);
    assert_non_null(strstr(gmm_error_detail(), "0"));
    options.size = 7;
    assert_int_equal(gmm_context_create(&options, &context), GMM_ERR_ARGUMENT);
    assert_non_null(strstr(gmm_error_detail(), "7"));
    options.size = sizeof options;
    options.threads = -3;
    assert_int_equal(gmm_context_create(&options, &context), GMM_ERR_ARGUMENT);
    assert_non_null(strstr(gmm_error_detail(), "-3"));
    options.threads = 0;
    options.cpu_mask = "avx2,avx1024";
    assert_int_equal(gmm_context_create(&options, &context), GMM_ERR_CPU);
    assert_non_null(strstr(gmm_error_detail(), "avx1024"));
    options.cpu_mask = "AVX2";
    assert_int_equal(gmm_context_create(&options, &context), GMM_ERR_CPU);
    assert_ptr_equal(context, untouched);
    options.cpu_mask = "avx512,avx2";
    assert_int_equal(gmm_context_create(&options, &context), GMM_OK);
    gmm_context_destroy(context);
    gmm_context_destroy(NULL);
}

static void statuses(void **state)
{
    const gmm_context_options options = {.size = sizeof options};
    gmm_context *context = NULL;

    (void)state;
    for (int status = 0; status <= GMM_ERR_CANCELLED; status++) {
        assert_non_null(gmm_status_text((gmm_status)status));
        for (int other = 0; other < status; other++)
            assert_string_not_equal(gmm_status_text((gmm_status)status), gmm_status_text((gmm_status)other));
    }
    assert_non_null(gmm_status_text((gmm_status)14));
    assert_non_null(gmm_status_text((gmm_status)-1));
    assert_int_equal(gmm_to_fp8(NULL, NULL), GMM_ERR_NULL); /* a later success leaves the message */
    assert_int_equal(gmm_context_create(&options, &context), GMM_OK);
    gmm_context_destroy(context);
    assert_true(gmm_error_detail()[0] != '\0');
}

/* In a process whose GMM_CPU_MASK holds an unknown word: every call that needs features says so, and none computes. */
static int masked_child(void)
{
    static const int64_t shape[] = {2, 2};
    float a[] = {1, 2, 3, 4}, c[] = {7, 7, 7, 7};
    gmm_array in = {a, GMM_F32, 2, shape, NULL, 0}, out = {c, GMM_F32, 2, shape, NULL, 0};
    gmm_product product = {.size = sizeof product, .lhs = &in, .rhs = &in};
    gmm_context_options options = {.size = sizeof options};
    gmm_context *context = NULL;
    char text[256];
    int wrong = gmm_error_detail()[0] != '\0';

    wrong += gmm_context_create(&options, &context) != GMM_ERR_CPU || context;
    wrong += gmm_run(NULL, &product, &out) != GMM_ERR_CPU || !strstr(gmm_error_detail(), "avx9");
    wrong += !strstr(gmm_error_detail(), "GMM_CPU_MASK");
    wrong += gmm_gather_mm(NULL, &in, &in, NULL, NULL, false, &out) != GMM_ERR_CPU;
    wrong += gmm_explain(NULL, &product, text, sizeof text) != GMM_ERR_CPU;
    return wrong + (c[0] != 7 || c[3] != 7);
}

static void unknown_words_in_the_environment(void **state)
{
    char child[] = "masked", *program_text = strdup(program), *arguments[] = {program_text, child, NULL};
    const char *mask = getenv("GMM_CPU_MASK");
    char *own_mask = mask ? strdup(mask) : NULL;
    int status;
    pid_t process;

    (void)state;
    setenv("GMM_CPU_MASK", "avx2,avx9", 1);
    assert_int_equal(posix_spawn(&process, program, NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(process, &status, 0), process);
    assert_int_equal(status, 0);
    unsetenv("GMM_CPU_MASK");
    if (own_mask)
        setenv("GMM_CPU_MASK", own_mask, 1);
    free(own_mask);
    free(program_text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subjects_are_valid),
        cmocka_unit_test(quantize_modes),
        cmocka_unit_test(quantize_options),
        cmocka_unit_test(quantize_arrays),
        cmocka_unit_test(quantize_null),
        cmocka_unit_test(dequantize_arrays),
        cmocka_unit_test(fp8),
        cmocka_unit_test(contexts),
        cmocka_unit_test(statuses),
        cmocka_unit_test(unknown_words_in_the_environment),
    };

    program = argv[0];
    if (argc == 2 && strcmp(argv[1], "masked") == 0)
        return masked_child();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
