/* test_offsets.c - offsets are 64-bit: operands and outputs of 2^40 elements, in sparse mappings. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, MAP_NORESERVE */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cases.h"
#include "cmocka_test.h"
#include "oracle.h"

/* 2^40 elements are wanted; where the system maps less (an address space limit, a sanitizer), fewer, but never so few
 * that an offset in bytes or elements fits in 32 bits. */
enum {
    wanted_log2 = 40,
    least_log2 = 33
};

static gmm_random seeded;

/* Address space of 2^log2 elements, log2 as near to 40 as there is; touched pages alone take memory. */
typedef struct sparse {
    char *data;
    size_t size_bytes;
    int log2;
} sparse;

static sparse map_sparse(const char *what, size_t element_bytes)
{
    for (int log2 = wanted_log2; log2 >= least_log2; log2--) {
        size_t size_bytes = element_bytes << log2;
        void *data = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (data != MAP_FAILED) {
            if (log2 < wanted_log2)
                printf("%s: the system maps no more than 2^%d elements, 2^%d were wanted\n", what, log2, wanted_log2);
            return (sparse){data, size_bytes, log2};
        }
    }
    fail_msg("%s: the system does not even map 2^%d elements", what, least_log2);
    return (sparse){NULL, 0, 0};
}

static void unmap(const sparse *s)
{
    munmap(s->data, s->size_bytes);
}

/* The bytes of the small case's product, which is right, and those of the same product with far operands. */
static void expect_far(gmm_case *small, const gmm_product *far, const char *what)
{
    char *expected;

    gmm_case_check(NULL, small);
    expected = gmm_case_run(NULL, small, GMM_POISON_ZERO);
    small->product = *far;
    gmm_case_expect(NULL, small, GMM_POISON_QUIET_NAN, expected, what);
    gmm_case_expect(gmm_case_one_thread(), small, GMM_POISON_QUIET_NAN, expected, what);
    free(expected);
}

/* Copy the matrices of a small stack to the places `at` of a sparse one of the same strides; matrix_bytes each. */
static void spread(const gmm_built *small, const sparse *s, size_t matrix_bytes, const int64_t *at, int count)
{
    for (int i = 0; i < count; i++)
        memcpy(s->data + (size_t)at[i] * matrix_bytes, small->memory.data + (size_t)i * matrix_bytes, matrix_bytes);
}

/* Replace the values 0..count-1 of an index array by far ones. */
static gmm_array far_indices(const gmm_built *small, const int64_t *at, int64_t *values)
{
    gmm_array far = small->array;

    for (int64_t i = 0, count = gmm_built_count(&small->array); i < count; i++)
        values[i] = at[gmm_oracle_bits(&small->array, i)];
    far.dtype = GMM_I64;
    far.data = values;
    far.strides = NULL;
    far.byte_offset = 0;
    return far;
}

enum {
    matrices = 3, /* the first, one beyond 2^31, the last */
    products = 8
};

static void places(int64_t stack, int64_t *at)
{
    at[0] = 0;
    at[1] = stack / 2 + 1;
    at[2] = stack - 1;
}

static void dense_stack(void **state)
{
    sparse memory = map_sparse(__func__, sizeof(float));
    int64_t stack = (int64_t)1 << (memory.log2 - 20), at[matrices], values[products];

    (void)state;
    gmm_random_start(&seeded, __func__);
    places(stack, at);
    for (int transpose = 0; transpose < 2; transpose++)
        for (int64_t m = 1; m <= 9; m += 8) {
            gmm_case_spec spec = gmm_case_experts(gmm_weight_kinds, transpose, products, matrices, m, 1024, 1024);
            gmm_case small;
            gmm_product far;
            gmm_array rhs, indices;
            int64_t shape[] = {stack, 1024, 1024};

            gmm_case_make(&small, &seeded, &spec);
            spread(&small.rhs, &memory, sizeof(float) << 20, at, matrices);
            indices = far_indices(&small.rhs_indices, at, values);
            rhs = small.rhs.array;
            rhs.data = memory.data;
            rhs.shape = shape;
            if (!rhs.strides)
                rhs.strides = small.rhs.strides;
            far = small.product;
            far.rhs = &rhs;
            far.rhs_indices = &indices;
            expect_far(&small, &far, "far right-hand sides");
            gmm_case_free(&small);
        }
    unmap(&memory);
}

static void packed_stack(void **state)
{
    enum {
        rows = 64,
        words = 64,
        groups = 8
    };
    sparse codes = map_sparse("packed codes", sizeof(uint32_t));
    int64_t stack = (int64_t)1 << (codes.log2 - 12), at[matrices], values[products];
    sparse scales, biases;

    (void)state;
    gmm_random_start(&seeded, __func__);
    scales = map_sparse("scales", 2);
    biases = map_sparse("biases", 2);
    while (stack * rows * groups > (int64_t)1 << scales.log2 || stack * rows * groups > (int64_t)1 << biases.log2)
        stack /= 2;
    places(stack, at);
    for (int transpose = 0; transpose < 2; transpose++) {
        gmm_case_spec spec = gmm_case_experts(gmm_weight_kind_find("affine 4/64"), transpose, products, matrices, 1,
                                              transpose ? rows : words * 8, transpose ? words * 8 : rows);
        int64_t w_shape[] = {stack, rows, words}, scales_shape[] = {stack, rows, groups};
        gmm_quantized far_weights;
        gmm_array w, far_scales, far_biases, indices;
        gmm_product far;
        gmm_case small;

        gmm_case_make(&small, &seeded, &spec);
        spread(&small.rhs, &codes, rows * words * sizeof(uint32_t), at, matrices);
        spread(&small.scales, &scales, rows * groups * 2, at, matrices);
        spread(&small.biases, &biases, rows * groups * 2, at, matrices);
        indices = far_indices(&small.rhs_indices, at, values);
        w = (gmm_array){codes.data, GMM_U32, 3, w_shape, NULL, 0};
        far_scales = (gmm_array){scales.data, spec.rhs_dtype, 3, scales_shape, NULL, 0};
        far_biases = (gmm_array){biases.data, spec.rhs_dtype, 3, scales_shape, NULL, 0};
        far_weights = small.quantized;
        far_weights.w = &w;
        far_weights.scales = &far_scales;
        far_weights.biases = &far_biases;
        far = small.product;
        far.quantized = &far_weights;
        far.rhs_indices = &indices;
        expect_far(&small, &far, "far packed weights");
        gmm_case_free(&small);
    }
    unmap(&codes);
    unmap(&scales);
    unmap(&biases);
}

static void lhs_stack(void **state)
{
    sparse memory = map_sparse(__func__, 2);
    int64_t stack = (int64_t)1 << (memory.log2 - 10), at[matrices], values[products];
    gmm_case_spec spec = gmm_case_plain(gmm_weight_kinds, true, 2, 24, 512);
    int64_t shape[] = {stack, 2, 512};
    gmm_array lhs, indices;
    gmm_product far;
    gmm_case small;

    (void)state;
    gmm_random_start(&seeded, __func__);
    spec.lhs_dtype = GMM_BF16;
    spec.lhs_batch = (gmm_case_shape){1, {matrices}};
    spec.lhs_index = (gmm_case_shape){1, {products}};
    spec.lhs_index_dtype = GMM_U8;
    gmm_case_make(&small, &seeded, &spec);
    places(stack, at);
    spread(&small.lhs, &memory, 2 * 512 * 2, at, matrices);
    indices = far_indices(&small.lhs_indices, at, values);
    lhs = (gmm_array){memory.data, GMM_BF16, 3, shape, NULL, 0};
    far = small.product;
    far.lhs = &lhs;
    far.lhs_indices = &indices;
    expect_far(&small, &far, "far left-hand sides");
    gmm_case_free(&small);
    unmap(&memory);
}

/* Copy an array into a mapping with other strides; element 0 lies at `origin`. */
static gmm_array far_copy(const gmm_array *from, char *origin, const int64_t *strides)
{
    gmm_array far = *from;

    far.data = origin;
    far.byte_offset = 0;
    far.strides = strides;
    for (int64_t i = 0, count = gmm_built_count(from); i < count; i++)
        gmm_built_put_bits(&far, i, gmm_oracle_bits(from, i));
    return far;
}

/* Every axis of every array with a stride beyond 32 bits; some of them negative. */
static void far_strides(void **state)
{
    sparse operands = map_sparse("far operands", sizeof(float)), output = map_sparse("far output", sizeof(float));
    sparse index_memory = map_sparse("far index arrays", sizeof(uint32_t));
    int log2 = operands.log2 < output.log2 ? operands.log2 : output.log2;
    int64_t unit = (int64_t)1 << ((log2 < index_memory.log2 ? log2 : index_memory.log2) - 8);

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int transpose = 0; transpose < 2; transpose++) {
        int64_t lhs_strides[] = {unit * 64, unit * 16, unit / 2}, out_strides[] = {-unit * 64, unit * 16, unit / 2};
        int64_t rhs_strides[] = {unit * 64, unit * 4, -unit / 2}, index_strides[] = {unit * 32};
        gmm_case_spec spec = gmm_case_experts(gmm_weight_kinds, transpose, 3, 3, 3, 6, 14);
        gmm_case small;
        gmm_product far;
        gmm_array lhs, rhs, indices, out;
        char *expected, *got;

        if (transpose) {
            rhs_strides[1] = unit / 2;
            rhs_strides[2] = unit * 8;
        }
        gmm_case_make(&small, &seeded, &spec);
        gmm_case_check(NULL, &small);
        expected = gmm_case_run(NULL, &small, GMM_POISON_ZERO);
        lhs = far_copy(&small.lhs.array, operands.data, lhs_strides);
        rhs = far_copy(&small.rhs.array, operands.data + (size_t)(unit * 3 + 128) * sizeof(float), rhs_strides);
        indices = far_copy(&small.rhs_indices.array, index_memory.data, index_strides);
        out = far_copy(&small.out.array, output.data + (size_t)(unit * 128) * sizeof(float), out_strides);
        far = small.product;
        far.lhs = &lhs;
        far.rhs = &rhs;
        far.rhs_indices = &indices;
        assert_int_equal(gmm_run(NULL, &far, &out), GMM_OK);
        got = gmm_built_collect(&out, NULL);
        assert_memory_equal(expected, got, gmm_case_bytes(&small));
        free(expected);
        free(got);
        gmm_case_free(&small);
    }
    unmap(&operands);
    unmap(&output);
    unmap(&index_memory);
}

/* Batches of 2^57 matrices that share memory: an index beyond 32 bits is a number like any other. */
static void broadcast_stack(void **state)
{
    float lhs[6], rhs[12], out[2][8], expected[8];
    int64_t lhs_shape[] = {2, 3}, rhs_shape[] = {(int64_t)1 << 20, (int64_t)1 << 37, 3, 4},
            rhs_strides[] = {0, 0, 4, 1};
    int64_t index_shape[] = {2}, out_shape[] = {2, 2, 4}, plain_shape[] = {2, 4};
    uint64_t indices[] = {((uint64_t)1 << 57) - 1, ((uint64_t)1 << 32) + 5};
    gmm_array a = {lhs, GMM_F32, 2, lhs_shape, NULL, 0}, b = {rhs, GMM_F32, 4, rhs_shape, rhs_strides, 0};
    gmm_array one = {rhs, GMM_F32, 2, rhs_shape + 2, NULL, 0}, index = {indices, GMM_U64, 1, index_shape, NULL, 0};
    gmm_array c = {out, GMM_F32, 3, out_shape, NULL, 0}, plain = {expected, GMM_F32, 2, plain_shape, NULL, 0};

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int i = 0; i < 12; i++)
        lhs[i / 2] = rhs[i] = (float)gmm_random_unit(&seeded);
    assert_int_equal(gmm_gather_mm(NULL, &a, &one, NULL, NULL, false, &plain), GMM_OK);
    assert_int_equal(gmm_gather_mm(NULL, &a, &b, NULL, &index, false, &c), GMM_OK);
    assert_memory_equal(out[0], expected, sizeof expected);
    assert_memory_equal(out[1], expected, sizeof expected);
    indices[1]++;
    indices[0]++; /* one past the end */
    assert_int_equal(gmm_gather_mm(NULL, &a, &b, NULL, &index, false, &c), GMM_ERR_INDEX);
    assert_non_null(strstr(gmm_error_detail(), "144115188075855872"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_stack), cmocka_unit_test(packed_stack),    cmocka_unit_test(lhs_stack),
        cmocka_unit_test(far_strides), cmocka_unit_test(broadcast_stack),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
