/* fuzz_input.c - see fuzz_input.h. */
/* SPDX-License-Identifier: MIT */
#include "fuzz_input.h"

#include <string.h>

/* An array above this gets no memory. */
#define MOST_BYTES 262144

fuzz_input fuzz_input_make(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size, 0, 0x9E3779B97F4A7C15};

    for (size_t i = 0; i < size && i < 64; i++)
        in.noise = (in.noise ^ data[i]) * 0x100000001B3;
    return in;
}

uint32_t fuzz_pick(fuzz_input *in, uint32_t count)
{
    return in->at < in->size ? in->data[in->at++] % count : 0;
}

int64_t fuzz_size(fuzz_input *in, uint32_t most)
{
    return (fuzz_pick(in, most + 1) + 1) % (most + 1);
}

bool fuzz_chance(fuzz_input *in, uint32_t one_in)
{
    return fuzz_pick(in, one_in) == one_in - 1;
}

static uint32_t noise(fuzz_input *in)
{
    in->noise = in->noise * 6364136223846793005 + 1442695040888963407;
    return (uint32_t)(in->noise >> 32);
}

/* ---- arrays ---- */

static size_t element_bytes(const fuzz_array *array)
{
    return (size_t)gmm_dtype_bits(array->array.dtype) / 8;
}

/* a * b of positive numbers, or a if that overflows: sizes may be hostile. */
static int64_t times(int64_t a, int64_t b)
{
    return a <= INT64_MAX / b ? a * b : a;
}

/* Strides of a row-major array whose axes were permuted, stepped over and turned around. */
static void choose_strides(fuzz_input *in, fuzz_array *array, fuzz_use use)
{
    int32_t ndim = array->array.ndim, order[GMM_MAX_NDIM];
    int64_t stride = 1;

    for (int32_t d = 0; d < ndim; d++)
        order[d] = ndim - 1 - d;
    for (int32_t d = 0; d + 1 < ndim; d++) {
        int32_t other = d + (int32_t)fuzz_pick(in, (uint32_t)(ndim - d)), kept = order[d];
        order[d] = order[other];
        order[other] = kept;
    }
    for (int32_t i = 0; i < ndim; i++) {
        int32_t d = order[i];
        stride = times(stride, fuzz_chance(in, 6) ? 3 : 1);
        array->strides[d] = fuzz_chance(in, 6) ? -stride : stride;
        if (use == FUZZ_INPUT && fuzz_chance(in, 10))
            array->strides[d] = 0;
        stride = times(stride, array->shape[d] > 0 ? array->shape[d] : 1);
    }
}

void fuzz_array_make(fuzz_input *in, fuzz_array *array, fuzz_use use, gmm_dtype dtype, int32_t ndim,
                     const int64_t *shape)
{
    memset(array, 0, sizeof *array);
    array->array = (gmm_array){.dtype = dtype, .ndim = ndim, .shape = array->shape};
    if (ndim > 0)
        memcpy(array->shape, shape, (size_t)ndim * sizeof *shape);
    if (fuzz_chance(in, 3)) {
        choose_strides(in, array, use);
        array->array.strides = array->strides;
    }
}

static int64_t strange_size(fuzz_input *in)
{
    static const int64_t sizes[] = {0,
                                    1,
                                    -1,
                                    2,
                                    3,
                                    7,
                                    32,
                                    64,
                                    65536,
                                    INT32_MAX,
                                    (int64_t)1 << 32,
                                    (int64_t)1 << 40,
                                    (int64_t)1 << 62,
                                    INT64_MAX,
                                    INT64_MIN,
                                    -7};

    return sizes[fuzz_pick(in, sizeof sizes / sizeof *sizes)];
}

/* Row-major strides for arrays that have none of their own yet. */
static void own_strides(fuzz_array *array)
{
    int64_t stride = 1;

    if (array->array.strides)
        return;
    for (int32_t d = array->array.ndim - 1; d >= 0 && d < GMM_MAX_NDIM; d--) {
        array->strides[d] = stride;
        if (__builtin_mul_overflow(stride, array->shape[d], &stride))
            stride = 0;
    }
    array->array.strides = array->strides;
}

void fuzz_array_spoil(fuzz_input *in, fuzz_array *array)
{
    int32_t ndim = array->array.ndim;
    uint32_t axis;

    if (!fuzz_chance(in, 12))
        return;
    axis = fuzz_pick(in, ndim > 0 ? (uint32_t)ndim : 1);
    switch (fuzz_pick(in, 9)) {
    case 0:
        array->shape[axis] += fuzz_chance(in, 2) ? 1 : -1;
        break;
    case 1:
        array->shape[axis] = strange_size(in);
        break;
    case 2:
        own_strides(array);
        array->strides[axis] = strange_size(in);
        break;
    case 3:
        array->array.dtype = (gmm_dtype)fuzz_pick(in, 40);
        break;
    case 4: /* an axis more; size 1 may still fit */
        if (ndim > 0 && ndim < 8) {
            own_strides(array);
            array->shape[ndim] = fuzz_chance(in, 2) ? 2 : 1;
            array->strides[ndim] = 1;
            array->array.ndim++;
        }
        break;
    case 5:
        array->array.ndim -= ndim > 0;
        break;
    case 6:
        array->array.ndim = fuzz_chance(in, 2) ? 65 : -1;
        break;
    case 7:
        array->absent = true;
        break;
    default:
        array->array.shape = NULL;
        break;
    }
}

/* The lowest and one past the highest offset in elements. False if the array is not to have memory. */
static bool reach(const fuzz_array *array, int64_t *lowest, int64_t *end)
{
    const gmm_array *a = &array->array;
    int64_t count = 1, row_major = 1;
    bool empty = false;

    *lowest = 0;
    *end = 1;
    if (a->ndim < 0 || a->ndim > GMM_MAX_NDIM || (a->ndim > 0 && !a->shape) || element_bytes(array) == 0)
        return false;
    for (int32_t d = 0; d < a->ndim; d++)
        empty |= a->shape[d] <= 0;
    if (empty)
        *end = 0;
    for (int32_t d = a->ndim - 1; d >= 0 && !empty; d--) {
        int64_t stride = a->strides ? a->strides[d] : row_major, most = (int64_t)1 << 20;
        if (a->shape[d] > most || stride > most || stride < -most)
            return false;
        count *= a->shape[d];
        row_major *= a->shape[d];
        *lowest += stride < 0 ? (a->shape[d] - 1) * stride : 0;
        *end += stride > 0 ? (a->shape[d] - 1) * stride : 0;
        if (count > MOST_BYTES || *end - *lowest > MOST_BYTES)
            return false;
    }
    return (size_t)(*end - *lowest) * element_bytes(array) <= MOST_BYTES;
}

void fuzz_array_fill(fuzz_input *in, fuzz_array *array)
{
    uint32_t kind = fuzz_pick(in, 4);
    int64_t lowest, end;

    if (!reach(array, &lowest, &end))
        return;
    array->size_bytes = (size_t)(end - lowest) * element_bytes(array);
    array->memory = malloc(array->size_bytes ? array->size_bytes : 1);
    array->before = malloc(array->size_bytes ? array->size_bytes : 1);
    FUZZ_REQUIRE(array->memory && array->before, "out of memory");
    for (size_t i = 0; i < array->size_bytes; i++) {
        /* Small floating-point numbers of any width, any bits at all, few bits, zeros. */
        uint32_t bits = noise(in);
        uint8_t byte = (uint8_t)(bits >> 8), top = (uint8_t)(0x38 + bits % 8 + 128 * (bits >> 4 & 1));
        bool last = (i + 1) % element_bytes(array) == 0;
        array->memory[i] = kind == 0 ? (last ? top : byte) : kind == 1 ? byte : kind == 2 ? byte & 3 : 0;
    }
    array->array.data = array->memory;
    array->array.byte_offset = (uint64_t)(-lowest) * element_bytes(array);
    if (fuzz_chance(in, 64))
        array->array.byte_offset = UINT64_MAX - fuzz_pick(in, 16);
}

static unsigned char *element_at(const fuzz_array *array, int64_t flat)
{
    const gmm_array *a = &array->array;
    int64_t offset = 0, row_major = 1;

    for (int32_t d = a->ndim - 1; d >= 0; d--) {
        offset += flat % a->shape[d] * (a->strides ? a->strides[d] : row_major);
        row_major *= a->shape[d];
        flat /= a->shape[d];
    }
    return (unsigned char *)a->data + a->byte_offset + offset * (int64_t)element_bytes(array);
}

static int64_t element_count(const fuzz_array *array)
{
    int64_t count = 1;

    if (array->size_bytes == 0)
        return 0;
    for (int32_t d = 0; d < array->array.ndim; d++)
        count *= array->array.shape[d];
    return count;
}

void fuzz_array_fill_indices(fuzz_input *in, fuzz_array *array, int64_t count)
{
    fuzz_array_fill(in, array);
    if (array->array.byte_offset > MOST_BYTES)
        return;
    for (int64_t i = 0, n = element_count(array); i < n; i++) {
        int64_t index = count > 0 ? (int64_t)(noise(in) % (uint64_t)count) : 0;
        if (fuzz_chance(in, 200))
            index = strange_size(in);
        memcpy(element_at(array, i), &index, element_bytes(array)); /* the low bytes come first */
    }
}

void fuzz_array_free(fuzz_array *array)
{
    free(array->memory);
    free(array->before);
}

gmm_array *fuzz_array_use(fuzz_array *array)
{
    return array->absent ? NULL : &array->array;
}

/* ---- contexts ---- */

static void backwards(void *user, int64_t count, void (*body)(void *arg, int64_t i), void *arg)
{
    (void)user;
    while (count-- > 0)
        body(arg, count);
}

gmm_context *fuzz_context_make(fuzz_input *in)
{
    static const char *const masks[] = {NULL, "avx512",     "avx512,avx2", "all",        "",
                                        NULL, "avx512bf16", "fastbf16",    "avx512vnni", "amxbf16,amxint8"};
    gmm_context_options options = {.size = sizeof options};
    gmm_context *context = NULL;

    uint32_t threads = fuzz_pick(in, 6);
    options.threads = 1 + (int32_t)threads % 3;
    options.arithmetic = threads < 3 ? GMM_ARITHMETIC_F32 : GMM_ARITHMETIC_INT8;
    options.cpu_mask = masks[fuzz_pick(in, 10)];
    options.parallel_for = fuzz_chance(in, 2) ? backwards : NULL;
    if (fuzz_chance(in, 8))
        return NULL;
    gmm_status status = gmm_context_create(&options, &context);
    FUZZ_REQUIRE(status == GMM_OK, "%d: %s", (int)status, gmm_error_detail());
    return context;
}

/* ---- what must hold ---- */

static void poison(fuzz_array *const *arrays, unsigned char byte)
{
    for (; *arrays; arrays++)
        if ((*arrays)->size_bytes)
            memset((*arrays)->memory, byte, (*arrays)->size_bytes);
}

static void require_all(const fuzz_array *array, unsigned char byte)
{
    for (size_t i = 0; i < array->size_bytes; i++)
        FUZZ_REQUIRE(array->memory[i] == byte, "an error, but byte %zu of %zu of an output is written: %s", i,
                     array->size_bytes, gmm_error_detail());
}

static void keep(fuzz_array *const *arrays)
{
    for (; *arrays; arrays++)
        if ((*arrays)->size_bytes)
            memcpy((*arrays)->before, (*arrays)->memory, (*arrays)->size_bytes);
}

static void require_kept(fuzz_array *const *arrays)
{
    for (; *arrays; arrays++)
        FUZZ_REQUIRE(!(*arrays)->size_bytes || !memcmp((*arrays)->before, (*arrays)->memory, (*arrays)->size_bytes),
                     "an input was written");
}

/* `before` holds what a call made of poison `first`, `memory` of poison `second`. */
static void require_written(const fuzz_array *array, unsigned char first, unsigned char second)
{
    unsigned char *owned = calloc(array->size_bytes + 1, 1);

    FUZZ_REQUIRE(owned, "out of memory");
    for (int64_t i = 0, n = element_count(array); i < n; i++)
        memset(owned + (element_at(array, i) - array->memory), 1, element_bytes(array));
    for (size_t i = 0; i < array->size_bytes; i++)
        if (owned[i])
            FUZZ_REQUIRE(array->before[i] == array->memory[i], "byte %zu of %zu of an output depends on what it held",
                         i, array->size_bytes);
        else
            FUZZ_REQUIRE(array->before[i] == first && array->memory[i] == second,
                         "byte %zu of %zu between elements of an output is written", i, array->size_bytes);
    free(owned);
}

gmm_status fuzz_check_call(fuzz_call *call, void *arg, fuzz_array *const *inputs, fuzz_array *const *outputs)
{
    const unsigned char first = 0xFF, second = 0x5A; /* NaN in all types, and an ordinary number */

    keep(inputs);
    poison(outputs, first);
    gmm_status status = call(arg);
    FUZZ_REQUIRE(status >= GMM_OK && status <= GMM_ERR_MALFORMED && status != GMM_ERR_MEMORY, "status %d", (int)status);
    if (status != GMM_OK) {
        FUZZ_REQUIRE(*gmm_error_detail(), "status %d without a message", (int)status);
        for (fuzz_array *const *out = outputs; *out; out++)
            require_all(*out, first);
    }
    keep(outputs);
    require_kept(inputs);
    poison(outputs, second);
    gmm_status again = call(arg);
    FUZZ_REQUIRE(status == again, "status %d, then %d", (int)status, (int)again);
    require_kept(inputs);
    for (fuzz_array *const *out = outputs; *out; out++)
        if (status == GMM_OK && !(*out)->absent)
            require_written(*out, first, second);
        else
            require_all(*out, second);
    return status;
}
