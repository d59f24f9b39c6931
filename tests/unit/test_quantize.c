/* test_quantize.c - gmm_quantize, gmm_dequantize and the fp8 calls: refusals, strides, threads, rounding modes, empty
 * arrays. */
/* SPDX-License-Identifier: MIT */
#include <fenv.h>
#include <math.h>
#include <string.h>

#include "cmocka_test.h"
#include "gathermm/gathermm.h"
#include "random.h"

static gmm_random seeded;

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

typedef struct mode {
    const char *name;
    int32_t group_size, bits;
    bool has_biases;
} mode;

static const mode modes[] = {
    {"affine", 32, 2, true}, {"affine", 64, 3, true}, {"affine", 128, 4, true},
    {"affine", 32, 5, true}, {"affine", 64, 6, true}, {"affine", 32, 8, true},
    {"mxfp4", 32, 4, false}, {"mxfp8", 32, 8, false}, {"nvfp4", 16, 4, false},
};

enum {
    BATCH = 3,
    ROWS = 5,
    COLS = 384,
    ELEMENTS = BATCH * ROWS * COLS
};

/* Plain arrays for weights of up to BATCH x ROWS x COLS. */
typedef struct store {
    float w[ELEMENTS];
    uint32_t w_q[ELEMENTS / 4];
    float scales[ELEMENTS / 16], biases[ELEMENTS / 16];
    int64_t w_shape[3], w_q_shape[3], scales_shape[3];
    gmm_array w_array, w_q_array, scales_array, biases_array;
    gmm_quantize_options options;
} store;

static gmm_array array_of(void *data, gmm_dtype dtype, int32_t ndim, const int64_t *shape, const int64_t *strides)
{
    return (gmm_array){data, dtype, ndim, shape, strides, 0};
}

static void store_make(store *s, const mode *m)
{
    memset(s, 0xff, sizeof *s);
    for (int i = 0; i < ELEMENTS; i++)
        s->w[i] = (float)gmm_random_unit(&seeded);
    s->w_shape[0] = s->w_q_shape[0] = s->scales_shape[0] = BATCH;
    s->w_shape[1] = s->w_q_shape[1] = s->scales_shape[1] = ROWS;
    s->w_shape[2] = COLS;
    s->w_q_shape[2] = COLS * m->bits / 32;
    s->scales_shape[2] = COLS / m->group_size;
    s->w_array = array_of(s->w, GMM_F32, 3, s->w_shape, NULL);
    s->w_q_array = array_of(s->w_q, GMM_U32, 3, s->w_q_shape, NULL);
    s->scales_array = array_of(s->scales, m->has_biases ? GMM_F32 : GMM_U8, 3, s->scales_shape, NULL);
    s->biases_array = array_of(s->biases, GMM_F32, 3, s->scales_shape, NULL);
    s->options = (gmm_quantize_options){
        .size = sizeof s->options, .mode = m->name, .group_size = m->group_size, .bits = m->bits};
}

static gmm_status store_quantize(store *s, const gmm_context *context)
{
    bool has_biases = s->scales_array.dtype != GMM_U8;

    return gmm_quantize(context, &s->w_array, &s->options, &s->w_q_array, &s->scales_array,
                        has_biases ? &s->biases_array : NULL);
}

static gmm_quantized store_quantized(const store *s, const mode *m)
{
    return (gmm_quantized){&s->w_q_array, &s->scales_array, m->has_biases ? &s->biases_array : NULL, NULL, m->name,
                           m->group_size, m->bits};
}

static void assert_same_result(const store *a, const store *b)
{
    assert_memory_equal(a->w_q, b->w_q, sizeof a->w_q);
    assert_memory_equal(a->scales, b->scales, sizeof a->scales);
    assert_memory_equal(a->biases, b->biases, sizeof a->biases);
}

/* ---- what must not change a result ------------------------------------------------------------------------------- */

static void threads_and_rounding_modes(void **state)
{
    static store plain, other;
    static float values[ELEMENTS], other_values[ELEMENTS];
    static const int rounding[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    gmm_context *context;

    (void)state;
    for (size_t i = 0; i < COUNT(modes); i++)
        for (int32_t threads = 1; threads <= 5; threads += 2) {
            gmm_context_options options = {.size = sizeof options, .threads = threads};
            assert_int_equal(gmm_context_create(&options, &context), GMM_OK);
            store_make(&plain, &modes[i]);
            other = plain;
            other.w_array.data = other.w;
            other.w_q_array.data = other.w_q;
            other.scales_array.data = other.scales;
            other.biases_array.data = other.biases;
            gmm_quantized quantized = store_quantized(&plain, &modes[i]);
            gmm_array out = array_of(values, GMM_F32, 3, plain.w_shape, NULL);
            gmm_array other_out = array_of(other_values, GMM_F32, 3, plain.w_shape, NULL);
            assert_int_equal(store_quantize(&plain, NULL), GMM_OK);
            assert_int_equal(gmm_dequantize(NULL, &quantized, &out), GMM_OK);
            fesetround(rounding[threads / 2]);
            assert_int_equal(store_quantize(&other, context), GMM_OK);
            assert_int_equal(gmm_dequantize(context, &quantized, &other_out), GMM_OK);
            assert_int_equal(fegetround(), rounding[threads / 2]);
            fesetround(FE_TONEAREST);
            assert_same_result(&plain, &other);
            assert_memory_equal(values, other_values, sizeof values);
            gmm_context_destroy(context);
        }
}

/* Spread a row-major array of BATCH x ROWS x last elements over memory with these strides. */
static void spread(const void *from, void *to, size_t bytes, int64_t last, const int64_t *strides)
{
    for (int64_t b = 0; b < BATCH; b++)
        for (int64_t r = 0; r < ROWS; r++)
            for (int64_t c = 0; c < last; c++)
                memcpy((char *)to + (b * strides[0] + r * strides[1] + c * strides[2]) * (int64_t)bytes,
                       (const char *)from + ((b * ROWS + r) * last + c) * (int64_t)bytes, bytes);
}

/* Columns first, and a gap behind each element: nothing is contiguous. */
static void strided_operands(void **state)
{
    static store plain, strided;
    static float w[ELEMENTS * 2], values[ELEMENTS], strided_values[ELEMENTS * 2], wanted[ELEMENTS * 2];
    static uint32_t w_q[ELEMENTS], wanted_w_q[ELEMENTS];
    static const int64_t strides[3] = {2, 2 * BATCH, 2 * BATCH * ROWS};

    (void)state;
    for (size_t i = 0; i < COUNT(modes); i++) {
        store_make(&plain, &modes[i]);
        store_make(&strided, &modes[i]);
        memset(w_q, 0xa5, sizeof w_q);
        memset(wanted_w_q, 0xa5, sizeof wanted_w_q);
        memset(strided_values, 0xa5, sizeof strided_values);
        memset(wanted, 0xa5, sizeof wanted);
        spread(plain.w, w, 4, COLS, strides);
        strided.w_array = array_of(w, GMM_F32, 3, plain.w_shape, strides);
        strided.w_q_array = array_of(w_q, GMM_U32, 3, plain.w_q_shape, strides);
        assert_int_equal(store_quantize(&plain, NULL), GMM_OK);
        assert_int_equal(store_quantize(&strided, NULL), GMM_OK);
        spread(plain.w_q, wanted_w_q, 4, plain.w_q_shape[2], strides);
        assert_memory_equal(w_q, wanted_w_q, sizeof w_q);
        assert_memory_equal(strided.scales, plain.scales, sizeof plain.scales);

        gmm_quantized from_plain = store_quantized(&plain, &modes[i]);
        gmm_quantized from_strided = from_plain;
        from_strided.w = &strided.w_q_array;
        gmm_array out = array_of(values, GMM_F32, 3, plain.w_shape, NULL);
        gmm_array strided_out = array_of(strided_values, GMM_F32, 3, plain.w_shape, strides);
        assert_int_equal(gmm_dequantize(NULL, &from_plain, &out), GMM_OK);
        assert_int_equal(gmm_dequantize(NULL, &from_strided, &strided_out), GMM_OK);
        spread(values, wanted, 4, COLS, strides);
        assert_memory_equal(strided_values, wanted, sizeof wanted);
    }
}

static void empty_arrays(void **state)
{
    static store s;

    (void)state;
    for (size_t i = 0; i < COUNT(modes); i++)
        for (int axis = 0; axis < 3; axis++) {
            store_make(&s, &modes[i]);
            s.w_shape[axis] = s.w_q_shape[axis] = s.scales_shape[axis] = 0;
            s.w_array.data = s.w_q_array.data = s.scales_array.data = s.biases_array.data = NULL;
            gmm_quantized quantized = store_quantized(&s, &modes[i]);
            gmm_array out = array_of(NULL, GMM_F16, 3, s.w_shape, NULL);
            assert_int_equal(store_quantize(&s, NULL), GMM_OK);
            assert_int_equal(gmm_dequantize(NULL, &quantized, &out), GMM_OK);
        }
}

/* ---- specs ------------------------------------------------------------------------------------------------------- */

static void specs(void **state)
{
    static store s;
    gmm_array_spec w_q, scales, biases, out;

    (void)state;
    for (size_t i = 0; i < COUNT(modes); i++) {
        store_make(&s, &modes[i]);
        s.w_array.dtype = GMM_BF16;
        assert_int_equal(gmm_quantize_spec(&s.w_array, &s.options, &w_q, &scales, &biases), GMM_OK);
        assert_int_equal(w_q.dtype, GMM_U32);
        assert_int_equal(w_q.ndim, 3);
        assert_memory_equal(w_q.shape, s.w_q_shape, sizeof s.w_q_shape);
        assert_memory_equal(scales.shape, s.scales_shape, sizeof s.scales_shape);
        assert_int_equal(scales.dtype, modes[i].has_biases ? GMM_BF16 : GMM_U8);
        assert_int_equal(biases.ndim, modes[i].has_biases ? 3 : -1);

        gmm_quantized quantized = store_quantized(&s, &modes[i]);
        assert_int_equal(gmm_dequantize_spec(&quantized, &out), GMM_OK);
        assert_int_equal(out.dtype, modes[i].has_biases ? GMM_F32 : GMM_BF16);
        assert_memory_equal(out.shape, s.w_shape, sizeof s.w_shape);
    }
    store_make(&s, &modes[0]);
    s.scales_array.dtype = GMM_F16;
    s.biases_array.dtype = GMM_BF16;
    gmm_quantized mixed = store_quantized(&s, &modes[0]);
    assert_int_equal(gmm_dequantize_spec(&mixed, &out), GMM_OK);
    assert_int_equal(out.dtype, GMM_F32);
    assert_int_equal(gmm_quantize_spec(&s.w_array, NULL, &w_q, &scales, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_quantize_spec(&s.w_array, NULL, &w_q, &scales, &biases), GMM_OK); /* affine, 64, 4 */
    assert_int_equal(w_q.shape[2], COLS / 8);
    assert_int_equal(gmm_dequantize_spec(&mixed, NULL), GMM_ERR_NULL);
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

/* A refused call has its status and a message, and writes nothing. */
static void refuse_quantize(store *s, gmm_status want)
{
    static store before;
    bool has_biases = s->scales_array.dtype != GMM_U8;

    memcpy(&before, s, sizeof before);
    assert_int_equal(gmm_quantize(NULL, &s->w_array, &s->options, &s->w_q_array, &s->scales_array,
                                  has_biases ? &s->biases_array : NULL),
                     want);
    assert_true(gmm_error_detail()[0] != '\0');
    assert_memory_equal(&before, s, sizeof before);
}

static void quantize_refuses(void **state)
{
    static store s;
    static const mode affine = {"affine", 32, 4, true}, mxfp4 = {"mxfp4", 32, 4, false},
                      nvfp4 = {"nvfp4", 16, 4, false};
    static const int64_t zero_strides[3] = {0, 0, 1}, huge_shape[3] = {INT64_MAX, 4, 32}, four[1] = {4};
    float scale = 1;
    gmm_array global = array_of(&scale, GMM_F32, 0, NULL, NULL);

    (void)state;
#define REFUSE(mode, change, status)                                                                                   \
    do {                                                                                                               \
        store_make(&s, &(mode));                                                                                       \
        change;                                                                                                        \
        refuse_quantize(&s, status);                                                                                   \
    } while (0)

    REFUSE(affine, s.options.mode = "q4_0", GMM_ERR_FORMAT);
    REFUSE(affine, s.options.group_size = 48, GMM_ERR_FORMAT);
    REFUSE(affine, s.options.bits = 7, GMM_ERR_FORMAT);
    REFUSE(affine, s.options.bits = -1, GMM_ERR_FORMAT);
    REFUSE(mxfp4, s.options.bits = 8, GMM_ERR_FORMAT);
    REFUSE(mxfp4, s.options.group_size = 64, GMM_ERR_FORMAT);
    REFUSE(affine, s.options.size = 8, GMM_ERR_ARGUMENT);
    REFUSE(affine, s.options.exponent_rule = (gmm_exponent_rule)3, GMM_ERR_ARGUMENT);
    REFUSE(affine, s.options.tie_rule = (gmm_tie_rule)-1, GMM_ERR_ARGUMENT);
    REFUSE(affine, s.options.global_scale = &global, GMM_ERR_ARGUMENT);
    REFUSE(nvfp4, s.options.global_scale = &global; global.dtype = GMM_F16, GMM_ERR_DTYPE);
    REFUSE(nvfp4, s.options.global_scale = &global; global = array_of(s.w, GMM_F32, 1, four, NULL), GMM_ERR_SHAPE);
    REFUSE(affine, s.w_array.dtype = GMM_I32, GMM_ERR_DTYPE);
    REFUSE(affine, s.w_array.dtype = GMM_F64, GMM_ERR_DTYPE);
    REFUSE(affine, s.w_array.ndim = 1, GMM_ERR_SHAPE);
    REFUSE(affine, s.w_shape[2] = 33, GMM_ERR_SHAPE);
    REFUSE(affine, s.w_shape[2] = -32, GMM_ERR_SHAPE);
    REFUSE(affine, s.w_array.data = NULL, GMM_ERR_NULL);
    REFUSE(affine, s.w_array.shape = huge_shape, GMM_ERR_SIZE);
    REFUSE(affine, s.w_q_array.dtype = GMM_I32, GMM_ERR_DTYPE);
    REFUSE(affine, s.w_q_shape[2]--, GMM_ERR_SHAPE);
    REFUSE(affine, s.w_q_array.ndim = 2, GMM_ERR_SHAPE);
    REFUSE(affine, s.w_q_array.data = NULL, GMM_ERR_NULL);
    REFUSE(affine, s.scales_array.dtype = GMM_F16, GMM_ERR_DTYPE);
    REFUSE(affine, s.biases_array.dtype = GMM_F16, GMM_ERR_DTYPE);
    REFUSE(affine, s.scales_array.strides = zero_strides, GMM_ERR_OVERLAP);
    REFUSE(affine, s.w_q_array.strides = zero_strides, GMM_ERR_OVERLAP);
    REFUSE(affine, s.biases_array.data = s.scales, GMM_ERR_OVERLAP);
    REFUSE(affine, s.w_q_array.data = s.w, GMM_ERR_OVERLAP);
    REFUSE(mxfp4, s.scales_array.data = (char *)s.w_q + 5, GMM_ERR_OVERLAP);
    global = array_of(s.scales, GMM_F32, 0, NULL, NULL);
    REFUSE(nvfp4, s.options.global_scale = &global, GMM_ERR_OVERLAP);
#undef REFUSE

    store_make(&s, &affine);
    assert_int_equal(gmm_quantize(NULL, NULL, &s.options, &s.w_q_array, &s.scales_array, &s.biases_array),
                     GMM_ERR_NULL);
    assert_int_equal(gmm_quantize(NULL, &s.w_array, &s.options, NULL, &s.scales_array, &s.biases_array), GMM_ERR_NULL);
    assert_int_equal(gmm_quantize(NULL, &s.w_array, &s.options, &s.w_q_array, NULL, &s.biases_array), GMM_ERR_NULL);
    assert_int_equal(gmm_quantize(NULL, &s.w_array, &s.options, &s.w_q_array, &s.scales_array, NULL), GMM_ERR_NULL);
    store_make(&s, &mxfp4);
    assert_int_equal(gmm_quantize(NULL, &s.w_array, &s.options, &s.w_q_array, &s.scales_array, &s.biases_array),
                     GMM_ERR_ARGUMENT);
}

static void refuse_dequantize(const gmm_quantized *quantized, gmm_array *out, gmm_status want)
{
    static float before[ELEMENTS];

    memcpy(before, out->data, sizeof before);
    assert_int_equal(gmm_dequantize(NULL, quantized, out), want);
    assert_true(gmm_error_detail()[0] != '\0');
    assert_memory_equal(before, out->data, sizeof before);
}

static void dequantize_refuses(void **state)
{
    static store s;
    static float values[ELEMENTS];
    static const mode affine = {"affine", 32, 4, true}, mxfp4 = {"mxfp4", 32, 4, false},
                      nvfp4 = {"nvfp4", 16, 4, false};
    static const int64_t other_batch[3] = {BATCH - 1, ROWS, COLS / 32}, fewer_rows[3] = {BATCH, ROWS - 1, COLS / 32};
    static const int64_t fewer_groups[3] = {BATCH, ROWS, COLS / 32 - 1}, four[1] = {4};
    static const int64_t huge_words[3] = {0, 1, INT64_MAX / 4};
    gmm_quantized q;
    gmm_array out, global;
    float scale = 1;

    (void)state;
#define REFUSE(mode, change, status)                                                                                   \
    do {                                                                                                               \
        store_make(&s, &(mode));                                                                                       \
        q = store_quantized(&s, &(mode));                                                                              \
        out = array_of(values, GMM_F32, 3, s.w_shape, NULL);                                                           \
        global = array_of(&scale, GMM_F32, 0, NULL, NULL);                                                             \
        change;                                                                                                        \
        refuse_dequantize(&q, &out, status);                                                                           \
    } while (0)

    REFUSE(affine, q.mode = "", GMM_ERR_FORMAT);
    REFUSE(affine, q.bits = 1, GMM_ERR_FORMAT);
    REFUSE(affine, q.group_size = 16, GMM_ERR_FORMAT);
    REFUSE(mxfp4, q.group_size = 64, GMM_ERR_FORMAT);
    REFUSE(nvfp4, q.group_size = 32, GMM_ERR_FORMAT);
    REFUSE(affine, q.biases = NULL, GMM_ERR_NULL);
    REFUSE(affine, q.w = NULL, GMM_ERR_NULL);
    REFUSE(affine, q.scales = NULL, GMM_ERR_NULL);
    REFUSE(mxfp4, q.biases = &s.biases_array, GMM_ERR_ARGUMENT);
    REFUSE(affine, s.scales_array.dtype = GMM_U8, GMM_ERR_DTYPE);
    REFUSE(affine, s.biases_array.dtype = GMM_I32, GMM_ERR_DTYPE);
    REFUSE(mxfp4, s.scales_array.dtype = GMM_F16, GMM_ERR_DTYPE);
    REFUSE(mxfp4, s.scales_array.dtype = GMM_I8, GMM_ERR_DTYPE);
    REFUSE(affine, s.w_q_array.dtype = GMM_I32, GMM_ERR_DTYPE);
    REFUSE(affine, s.biases_array.shape = fewer_groups, GMM_ERR_SHAPE);
    REFUSE(affine, s.w_q_array.ndim = 1, GMM_ERR_SHAPE);
    REFUSE(mxfp4, s.scales_array.shape = other_batch, GMM_ERR_SHAPE);
    REFUSE(mxfp4, s.scales_array.shape = fewer_rows, GMM_ERR_SHAPE);
    REFUSE(mxfp4, s.scales_array.shape = fewer_groups, GMM_ERR_SHAPE);
    REFUSE(mxfp4, s.scales_array.ndim = 2, GMM_ERR_SHAPE);
    REFUSE(mxfp4, s.w_q_shape[2]--, GMM_ERR_SHAPE);
    REFUSE(mxfp4, s.w_q_array.shape = huge_words; s.scales_array.shape = huge_words, GMM_ERR_SIZE);
    REFUSE(affine, q.global_scale = &global, GMM_ERR_ARGUMENT);
    REFUSE(nvfp4, q.global_scale = &global; global.dtype = GMM_F64, GMM_ERR_DTYPE);
    REFUSE(nvfp4, q.global_scale = &global; global = array_of(s.w, GMM_F32, 1, four, NULL), GMM_ERR_SHAPE);
    REFUSE(affine, out.dtype = GMM_F64, GMM_ERR_DTYPE);
    REFUSE(affine, out.ndim = 2, GMM_ERR_SHAPE);
    REFUSE(affine, out.shape = s.scales_shape, GMM_ERR_SHAPE);
    REFUSE(affine, s.w_q_array.data = values + 7, GMM_ERR_OVERLAP);
    REFUSE(affine, s.scales_array.data = values + 7, GMM_ERR_OVERLAP);
    REFUSE(affine, s.biases_array.data = values + 7, GMM_ERR_OVERLAP);
    REFUSE(nvfp4, q.global_scale = &global; global.data = values, GMM_ERR_OVERLAP);
#undef REFUSE
    assert_int_equal(gmm_dequantize(NULL, NULL, &out), GMM_ERR_NULL);
    assert_int_equal(gmm_dequantize(NULL, &q, NULL), GMM_ERR_NULL);
}

/* ---- fp8 --------------------------------------------------------------------------------------------------------- */

static void fp8_calls(void **state)
{
    static float x[3 * 700], back[3 * 700];
    static uint8_t codes[2 * 3 * 700];
    static const int64_t shape[2] = {3, 700}, strides[2] = {2, 6}, no_axes[1] = {0};
    gmm_array x_array = array_of(x, GMM_F32, 2, shape, NULL), back_array = array_of(back, GMM_F32, 2, shape, NULL);
    gmm_array code_array = array_of(codes, GMM_U8, 2, shape, strides);

    (void)state;
    /* All are E4M3 numbers, so the way back is exact. */
    for (int i = 0; i < 3 * 700; i++)
        x[i] = ldexpf((float)(8 + i % 8) / 8.0f, i / 8 % 14 - 6) * (i % 2 ? -1.0f : 1.0f);
    memset(codes, 0xa5, sizeof codes);
    fesetround(FE_UPWARD);
    assert_int_equal(gmm_to_fp8(&x_array, &code_array), GMM_OK);
    assert_int_equal(gmm_from_fp8(&code_array, &back_array), GMM_OK);
    fesetround(FE_TONEAREST);
    assert_memory_equal(x, back, sizeof x);
    for (size_t i = 1; i < sizeof codes; i += 2)
        assert_int_equal(codes[i], 0xa5);

    gmm_array scalar = array_of(x, GMM_F32, 0, NULL, NULL), code = array_of(codes, GMM_U8, 0, NULL, NULL);
    x[0] = -1e30f;
    assert_int_equal(gmm_to_fp8(&scalar, &code), GMM_OK);
    assert_int_equal(codes[0], 0xfe);
    gmm_array none = array_of(NULL, GMM_F16, 1, no_axes, NULL), no_codes = array_of(NULL, GMM_U8, 1, no_axes, NULL);
    assert_int_equal(gmm_to_fp8(&none, &no_codes), GMM_OK);
    assert_int_equal(gmm_from_fp8(&no_codes, &none), GMM_OK);

    assert_int_equal(gmm_to_fp8(NULL, &code_array), GMM_ERR_NULL);
    assert_int_equal(gmm_to_fp8(&x_array, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_to_fp8(&x_array, &code), GMM_ERR_SHAPE);
    assert_int_equal(gmm_to_fp8(&x_array, &back_array), GMM_ERR_DTYPE);
    assert_int_equal(gmm_from_fp8(&x_array, &back_array), GMM_ERR_DTYPE);
    code_array.strides = (int64_t[]){0, 1};
    assert_int_equal(gmm_to_fp8(&x_array, &code_array), GMM_ERR_OVERLAP);
    code_array = array_of(x, GMM_U8, 2, shape, NULL);
    assert_int_equal(gmm_to_fp8(&x_array, &code_array), GMM_ERR_OVERLAP);
    x_array.dtype = GMM_I32;
    assert_int_equal(gmm_to_fp8(&x_array, &(gmm_array){codes, GMM_U8, 2, shape, NULL, 0}), GMM_ERR_DTYPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_rounding_modes),
        cmocka_unit_test(strided_operands),
        cmocka_unit_test(empty_arrays),
        cmocka_unit_test(specs),
        cmocka_unit_test(quantize_refuses),
        cmocka_unit_test(dequantize_refuses),
        cmocka_unit_test(fp8_calls),
    };

    gmm_random_start(&seeded, "test_quantize");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
