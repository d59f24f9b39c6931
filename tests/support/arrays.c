/* arrays.c - see arrays.h. */
/* SPDX-License-Identifier: MIT */
#include "arrays.h"

#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "oracle.h"
#include "oracle_numbers.h"

size_t gmm_built_element_bytes(gmm_dtype dtype)
{
    return (size_t)gmm_dtype_bits(dtype) / 8;
}

int64_t gmm_built_count(const gmm_array *array)
{
    int64_t count = 1;

    for (int32_t d = 0; d < array->ndim; d++)
        count *= array->shape[d];
    return count;
}

static uint64_t poison_bits(gmm_dtype dtype, gmm_poison poison)
{
    static const uint64_t f32[] = {0, 0x7FC00000, 0x7F800001, 0x7F800000, 0xFFFFFFFF, 0x7149F2CA};
    static const uint64_t f16[] = {0, 0x7E00, 0x7C01, 0x7C00, 0xFFFF, 0x7B53};
    static const uint64_t bf16[] = {0, 0x7FC0, 0x7F81, 0x7F80, 0xFFFF, 0x714A};

    if (dtype == GMM_F32)
        return f32[poison];
    if (dtype == GMM_F16)
        return f16[poison];
    if (dtype == GMM_BF16)
        return bf16[poison];
    return poison == GMM_POISON_ZERO ? 0 : UINT64_MAX;
}

void gmm_poison_fill(void *memory, size_t size_bytes, gmm_dtype dtype, gmm_poison poison)
{
    size_t element_bytes = gmm_built_element_bytes(dtype);
    uint64_t bits = poison_bits(dtype, poison);

    size_t filled = size_bytes < 8 * element_bytes ? size_bytes : 8 * element_bytes;

    for (size_t i = 0; i < filled; i++)
        ((unsigned char *)memory)[i] = (unsigned char)(bits >> 8 * (i % element_bytes % 8));
    for (; filled < size_bytes; filled *= 2)
        memcpy((char *)memory + filled, memory, filled < size_bytes - filled ? filled : size_bytes - filled);
}

/* ---- layouts ------------------------------------------------------------------------------------------------------
 */

static void row_major(int32_t ndim, const int64_t *shape, int64_t *strides)
{
    int64_t stride = 1;

    for (int32_t d = ndim - 1; d >= 0; d--) {
        strides[d] = stride;
        stride *= shape[d];
    }
}

/* Axes from the one with the smallest stride up: mostly row-major, or the last two swapped, or any order. */
static void random_order(gmm_random *random, int32_t ndim, int32_t *order)
{
    int64_t kind = gmm_random_between(random, 0, 3);

    for (int32_t d = 0; d < ndim; d++)
        order[d] = ndim - 1 - d;
    if (kind == 1 && ndim >= 2) {
        order[0] = ndim - 2;
        order[1] = ndim - 1;
    }
    for (int32_t d = ndim - 1; kind == 2 && d > 0; d--) {
        int32_t other = (int32_t)gmm_random_between(random, 0, d), held = order[d];
        order[d] = order[other];
        order[other] = held;
    }
}

static void random_strides(gmm_random *random, bool apart, int32_t ndim, const int64_t *shape, int64_t *strides)
{
    static const int64_t junk[] = {0, 1, -1, 7777, -31, (int64_t)1 << 40, -((int64_t)1 << 50)};
    int32_t order[GMM_MAX_NDIM], stepped = ndim ? (int32_t)gmm_random_between(random, 0, 3 * ndim) : 0;
    int64_t stride = 1;

    random_order(random, ndim, order);
    for (int32_t i = 0; i < ndim; i++) {
        int32_t d = order[i];
        if (shape[d] == 1 && gmm_random_chance(random, 50)) {
            strides[d] = junk[gmm_random_between(random, 0, (int64_t)(sizeof junk / sizeof junk[0]) - 1)];
            continue;
        }
        if (!apart && gmm_random_chance(random, 8)) {
            strides[d] = 0;
            continue;
        }
        if (i == stepped)
            stride *= gmm_random_between(random, 2, 3);
        strides[d] = gmm_random_chance(random, 12) ? -stride : stride;
        stride *= shape[d] > 0 ? shape[d] : 1;
        if (gmm_random_chance(random, 20))
            stride += gmm_random_between(random, 1, 5);
    }
}

void gmm_built_place(gmm_built *built, gmm_guard_side side, size_t shift_bytes, gmm_dtype dtype, int32_t ndim,
                     const int64_t *shape, const int64_t *strides, gmm_poison poison)
{
    size_t element_bytes = gmm_built_element_bytes(dtype), size_bytes = 0;
    int64_t lowest = 0, highest = 0;

    memset(built, 0, sizeof *built);
    for (int32_t d = 0; d < ndim; d++)
        built->shape[d] = shape[d];
    row_major(ndim, shape, built->strides);
    for (int32_t d = 0; d < ndim; d++) {
        int64_t reach;
        if (strides)
            built->strides[d] = strides[d];
        reach = shape[d] > 1 ? (shape[d] - 1) * built->strides[d] : 0;
        *(reach < 0 ? &lowest : &highest) += reach;
    }
    built->array = (gmm_array){NULL, dtype, ndim, built->shape, strides ? built->strides : NULL, 0};
    if (gmm_built_count(&built->array) > 0)
        size_bytes = (size_t)(highest - lowest + 1) * element_bytes;
    gmm_guarded_make(&built->memory, size_bytes, side, shift_bytes);
    gmm_poison_fill(built->memory.data, size_bytes, dtype, poison);
    built->array.data = built->memory.data;
    if (size_bytes > 0)
        built->array.byte_offset = (uint64_t)-lowest * element_bytes;
}

void gmm_built_make(gmm_built *built, gmm_random *random, gmm_layout layout, gmm_dtype dtype, int32_t ndim,
                    const int64_t *shape, gmm_poison poison)
{
    int64_t strides[GMM_MAX_NDIM];
    gmm_guard_side side = gmm_random_chance(random, 50) ? GMM_GUARD_AFTER : GMM_GUARD_BEFORE;
    size_t shift_bytes = gmm_random_chance(random, 70) ? 0 : (size_t)gmm_random_between(random, 0, 63);

    if (layout == GMM_LAYOUT_PLAIN) {
        gmm_built_place(built, GMM_GUARD_BEFORE, 0, dtype, ndim, shape, NULL, poison);
        return;
    }
    random_strides(random, layout == GMM_LAYOUT_APART, ndim, shape, strides);
    gmm_built_place(built, side, shift_bytes, dtype, ndim, shape, gmm_random_chance(random, 30) ? NULL : strides,
                    poison);
    if (gmm_random_chance(random, 50)) {
        built->array.data = (char *)built->array.data + built->array.byte_offset;
        built->array.byte_offset = 0;
    }
    if (gmm_built_count(&built->array) == 0 && gmm_random_chance(random, 50))
        built->array.data = NULL;
}

void gmm_built_copy(gmm_built *built, const gmm_built *from, gmm_guard_side side, size_t shift_bytes)
{
    const gmm_array *array = &from->array;

    gmm_built_place(built, side, shift_bytes, array->dtype, array->ndim, array->shape, array->strides, GMM_POISON_ZERO);
    memcpy(built->memory.data, from->memory.data, from->memory.size_bytes);
}

void gmm_built_free(gmm_built *built)
{
    gmm_guarded_free(&built->memory);
    free(built->before);
    memset(built, 0, sizeof *built);
}

/* ---- elements -----------------------------------------------------------------------------------------------------
 */

void gmm_built_put_bits(const gmm_array *array, int64_t flat, uint64_t bits)
{
    char *address = gmm_oracle_address(array, flat);
    uint8_t u8 = (uint8_t)bits;
    uint16_t u16 = (uint16_t)bits;
    uint32_t u32 = (uint32_t)bits;

    switch (gmm_built_element_bytes(array->dtype)) {
    case 1:
        memcpy(address, &u8, sizeof u8);
        break;
    case 2:
        memcpy(address, &u16, sizeof u16);
        break;
    case 4:
        memcpy(address, &u32, sizeof u32);
        break;
    default:
        memcpy(address, &bits, sizeof bits);
        break;
    }
}

void gmm_built_put(const gmm_array *array, int64_t flat, double x)
{
    if (array->dtype == GMM_F32 || array->dtype == GMM_F16 || array->dtype == GMM_BF16)
        x = gmm_oracle_round(array->dtype, x);
    gmm_built_put_bits(array, flat, gmm_oracle_encode(array->dtype, x));
}

char *gmm_built_collect(const gmm_array *array, size_t *size_bytes)
{
    size_t count = (size_t)gmm_built_count(array), element_bytes = gmm_built_element_bytes(array->dtype);
    char *bytes = malloc(count * element_bytes + 1);

    if (!bytes)
        fail_msg("no memory for %zu elements", count);
    for (size_t i = 0; i < count; i++)
        memcpy(bytes + i * element_bytes, gmm_oracle_address(array, (int64_t)i), element_bytes);
    if (size_bytes)
        *size_bytes = count * element_bytes;
    return bytes;
}

bool gmm_built_equal(const gmm_array *a, const gmm_array *b)
{
    int64_t count = gmm_built_count(a);

    if (a->dtype != b->dtype || count != gmm_built_count(b))
        return false;
    for (int64_t i = 0; i < count; i++)
        if (gmm_oracle_bits(a, i) != gmm_oracle_bits(b, i))
            return false;
    return true;
}

void gmm_built_keep(gmm_built *built)
{
    free(built->before);
    built->before = malloc(built->memory.size_bytes + 1);
    if (!built->before)
        fail_msg("no memory for %zu bytes", built->memory.size_bytes);
    memcpy(built->before, built->memory.data, built->memory.size_bytes);
}

bool gmm_built_kept(const gmm_built *built, bool with_elements)
{
    size_t size_bytes = built->memory.size_bytes, element_bytes = gmm_built_element_bytes(built->array.dtype);
    int64_t count = with_elements ? 0 : gmm_built_count(&built->array);
    char *expected = malloc(size_bytes + 1);
    bool same;

    if (!expected)
        fail_msg("no memory for %zu bytes", size_bytes);
    memcpy(expected, built->before, size_bytes);
    for (int64_t i = 0; i < count; i++) {
        char *element = gmm_oracle_address(&built->array, i);
        memcpy(expected + (element - built->memory.data), element, element_bytes);
    }
    same = memcmp(expected, built->memory.data, size_bytes) == 0 && gmm_guarded_intact(&built->memory);
    free(expected);
    return same;
}
