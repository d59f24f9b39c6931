/* cases.c - see cases.h. */
/* SPDX-License-Identifier: MIT */
#include "cases.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "oracle.h"
#include "oracle_numbers.h"

const gmm_weight_kind gmm_weight_kinds[] = {
    {"f32", NULL, 0, 0, GMM_F32, false},
    {"f16", NULL, 0, 0, GMM_F16, false},
    {"bf16", NULL, 0, 0, GMM_BF16, false},
    {"affine 2/32", "affine", 32, 2, GMM_F32, false},
    {"affine 2/64", "affine", 64, 2, GMM_F16, false},
    {"affine 2/128", "affine", 128, 2, GMM_BF16, false},
    {"affine 3/32", "affine", 32, 3, GMM_BF16, false},
    {"affine 3/64", "affine", 64, 3, GMM_F32, false},
    {"affine 3/128", "affine", 128, 3, GMM_F16, false},
    {"affine 4/32", "affine", 32, 4, GMM_F16, false},
    {"affine 4/64", "affine", 64, 4, GMM_BF16, false},
    {"affine 4/128", "affine", 128, 4, GMM_F32, false},
    {"affine 5/32", "affine", 32, 5, GMM_F32, false},
    {"affine 5/64", "affine", 64, 5, GMM_F16, false},
    {"affine 5/128", "affine", 128, 5, GMM_BF16, false},
    {"affine 6/32", "affine", 32, 6, GMM_BF16, false},
    {"affine 6/64", "affine", 64, 6, GMM_F32, false},
    {"affine 6/128", "affine", 128, 6, GMM_F16, false},
    {"affine 8/32", "affine", 32, 8, GMM_F16, false},
    {"affine 8/64", "affine", 64, 8, GMM_BF16, false},
    {"affine 8/128", "affine", 128, 8, GMM_F32, false},
    {"mxfp4", "mxfp4", 32, 4, GMM_U8, false},
    {"mxfp8", "mxfp8", 32, 8, GMM_U8, false},
    {"nvfp4", "nvfp4", 16, 4, GMM_U8, false},
    {"nvfp4 global", "nvfp4", 16, 4, GMM_U8, true},
    {NULL, NULL, 0, 0, 0, false},
};

static const gmm_dtype floats[] = {GMM_F32, GMM_F16, GMM_BF16};
static const gmm_dtype integers[] = {GMM_U8, GMM_I8, GMM_U16, GMM_I16, GMM_U32, GMM_I32, GMM_U64, GMM_I64, GMM_BOOL};

const gmm_weight_kind *gmm_weight_kind_find(const char *name)
{
    for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++)
        if (strcmp(kind->name, name) == 0)
            return kind;
    fail_msg("no kind of weights is called %s", name);
    return NULL;
}

static bool is_affine(const gmm_weight_kind *kind)
{
    return kind->mode && strcmp(kind->mode, "affine") == 0;
}

/* ---- descriptions -------------------------------------------------------------------------------------------------
 */

static void fit_groups(gmm_case_spec *spec)
{
    int64_t *packed = spec->transpose ? &spec->k : &spec->n, group_size = spec->kind->group_size;

    if (spec->kind->mode)
        *packed = (*packed + group_size - 1) / group_size * group_size;
}

gmm_case_spec gmm_case_plain(const gmm_weight_kind *kind, bool transpose, int64_t m, int64_t n, int64_t k)
{
    gmm_case_spec spec = {
        .kind = kind,
        .lhs_dtype = GMM_F32,
        .rhs_dtype = kind->dtype,
        .biases_dtype = kind->dtype,
        .out_dtype = GMM_F32,
        .transpose = transpose,
        .m = m,
        .n = n,
        .k = k,
        .layout = GMM_LAYOUT_PLAIN,
    };

    fit_groups(&spec);
    return spec;
}

gmm_case_spec gmm_case_experts(const gmm_weight_kind *kind, bool transpose, int64_t rows, int64_t experts, int64_t m,
                               int64_t n, int64_t k)
{
    gmm_case_spec spec = gmm_case_plain(kind, transpose, m, n, k);

    spec.lhs_batch = (gmm_case_shape){1, {rows}};
    spec.rhs_batch = (gmm_case_shape){1, {experts}};
    spec.rhs_index = (gmm_case_shape){1, {rows}};
    spec.rhs_index_dtype = GMM_U32;
    return spec;
}

static gmm_dtype any_float(gmm_random *random)
{
    return floats[gmm_random_between(random, 0, 2)];
}

static gmm_dtype any_integer(gmm_random *random)
{
    return integers[gmm_random_between(random, 0, 8)];
}

/* Sizes where kernels change what they do, and any others. */
static int64_t any_size(gmm_random *random, int64_t most)
{
    static const int64_t edges[] = {1,  1,  2,  3,  4,  7,  8,  9,  15,  16,  17, 31,
                                    32, 33, 47, 48, 63, 64, 65, 70, 127, 128, 129};
    int64_t size = edges[gmm_random_between(random, 0, (int64_t)(sizeof edges / sizeof edges[0]) - 1)];

    if (gmm_random_chance(random, 2))
        return 0;
    return size > most || gmm_random_chance(random, 50) ? gmm_random_between(random, 1, most) : size;
}

static gmm_case_shape any_shape(gmm_random *random, int64_t most)
{
    gmm_case_shape shape = {(int32_t)gmm_random_between(random, 0, 3), {0}};

    for (int32_t d = 0; d < shape.ndim; d++)
        shape.size[d] = gmm_random_chance(random, 2) ? 0 : gmm_random_between(random, 1, most);
    return shape;
}

static int64_t shape_count(const gmm_case_shape *shape)
{
    int64_t count = 1;

    for (int32_t d = 0; d < shape->ndim; d++)
        count *= shape->size[d];
    return count;
}

/* A shape that broadcasts to the given one: leading axes dropped, some sizes 1. */
static gmm_case_shape narrowed(gmm_random *random, const gmm_case_shape *shape)
{
    gmm_case_shape narrow = {0, {0}};
    int32_t dropped = gmm_random_chance(random, 30) ? (int32_t)gmm_random_between(random, 0, shape->ndim) : 0;

    for (int32_t d = dropped; d < shape->ndim; d++)
        narrow.size[narrow.ndim++] = gmm_random_chance(random, 20) ? 1 : shape->size[d];
    return narrow;
}

/* A shape that broadcasts with the given one: narrowed, axes of size 1 widened, axes added in front. */
static gmm_case_shape partner(gmm_random *random, const gmm_case_shape *shape)
{
    gmm_case_shape other = narrowed(random, shape);

    for (int32_t d = 0; d < other.ndim; d++)
        if (shape->size[shape->ndim - other.ndim + d] == 1 && gmm_random_chance(random, 60))
            other.size[d] = gmm_random_between(random, 1, 5);
    if (other.ndim == shape->ndim && other.ndim < GMM_CASE_MAX_BATCH && gmm_random_chance(random, 30)) {
        memmove(other.size + 1, other.size, (size_t)other.ndim * sizeof *other.size);
        other.size[0] = gmm_random_between(random, 1, 4);
        other.ndim++;
    }
    return other;
}

static void without_zeros(gmm_case_shape *shape)
{
    for (int32_t d = 0; d < shape->ndim; d++)
        if (shape->size[d] == 0)
            shape->size[d] = 1;
}

/* Batch dimensions and index arrays that fit together. */
static void choose_batches(gmm_random *random, gmm_case_spec *spec)
{
    bool lhs_given = gmm_random_chance(random, 50), rhs_given = gmm_random_chance(random, 60);
    gmm_case_shape whole = any_shape(random, 5);

    if (spec->lhs_vector && spec->kind->mode)
        lhs_given = rhs_given = false;
    spec->lhs_batch = any_shape(random, 3);
    spec->rhs_batch = any_shape(random, 3);
    if (lhs_given)
        without_zeros(&spec->lhs_batch);
    if (rhs_given)
        without_zeros(&spec->rhs_batch);
    if (!lhs_given && !rhs_given) {
        spec->lhs_batch = narrowed(random, &whole);
        spec->rhs_batch = narrowed(random, &whole);
        if (spec->kind->mode && (spec->lhs_batch.ndim == 0 || spec->lhs_vector))
            spec->rhs_batch.ndim = 0; /* one row or matrix with a stack of quantized weights is refused */
    }
    if (spec->lhs_vector)
        spec->lhs_batch.ndim = 0;
    if (spec->rhs_vector)
        spec->rhs_batch.ndim = 0;
    if (lhs_given && rhs_given) {
        spec->lhs_index = narrowed(random, &whole);
        spec->rhs_index = narrowed(random, &whole);
    } else if (lhs_given) {
        spec->lhs_index = partner(random, &spec->rhs_batch);
    } else if (rhs_given) {
        spec->rhs_index = partner(random, &spec->lhs_batch);
    }
    spec->lhs_index_dtype = lhs_given ? integers[gmm_random_between(random, 0, 7)] : 0;
    spec->rhs_index_dtype = rhs_given ? integers[gmm_random_between(random, 0, 7)] : 0;
}

static void choose_types(gmm_random *random, gmm_case_spec *spec)
{
    spec->lhs_dtype = any_float(random);
    spec->rhs_dtype = spec->kind->dtype;
    spec->out_dtype = gmm_random_chance(random, 50) ? GMM_F32 : any_float(random);
    if (is_affine(spec->kind)) {
        spec->rhs_dtype = any_float(random);
        spec->biases_dtype = gmm_random_chance(random, 70) ? spec->rhs_dtype : any_float(random);
    }
    if ((!spec->kind->mode || is_affine(spec->kind)) && gmm_random_chance(random, 8))
        spec->lhs_dtype = any_integer(random);
    else if (!spec->kind->mode && gmm_random_chance(random, 8))
        spec->rhs_dtype = any_integer(random);
}

gmm_case_spec gmm_case_random(gmm_random *random, int64_t work)
{
    gmm_case_spec spec = {.kind = &gmm_weight_kinds[gmm_random_between(random, 0, 2)]};
    int64_t positions, cost;

    if (gmm_random_chance(random, 60))
        spec.kind = &gmm_weight_kinds[gmm_random_between(random, 3, 24)];
    spec.transpose = gmm_random_chance(random, 55);
    spec.lhs_vector = gmm_random_chance(random, 6);
    spec.rhs_vector = !spec.kind->mode && gmm_random_chance(random, 6);
    choose_types(random, &spec);
    choose_batches(random, &spec);
    spec.m = spec.lhs_vector ? 1 : gmm_random_chance(random, 35) ? 1 : any_size(random, 70);
    spec.n = spec.rhs_vector ? 1 : any_size(random, 200);
    spec.k = gmm_random_chance(random, 8) ? 544 : any_size(random, 300);
    fit_groups(&spec);
    positions = shape_count(&spec.lhs_batch) + shape_count(&spec.lhs_index) + shape_count(&spec.rhs_index) +
                shape_count(&spec.rhs_batch);
    for (cost = positions * spec.m * spec.n * spec.k; cost > work; cost = positions * spec.m * spec.n * spec.k) {
        int64_t *largest = spec.m > 1 && spec.m >= spec.n / 8 ? &spec.m : spec.n >= spec.k ? &spec.n : &spec.k;
        int64_t before = *largest;
        *largest = (*largest + 1) / 2;
        fit_groups(&spec);
        if (*largest == before)
            break;
    }
    spec.pattern = (gmm_index_pattern)gmm_random_between(random, 0, GMM_INDEX_PATTERN_COUNT - 1);
    spec.sorted_indices = gmm_random_chance(random, 30);
    spec.values = gmm_random_chance(random, 50) ? GMM_VALUES_UNIT
                                                : (gmm_value_style)gmm_random_between(random, 0, GMM_VALUES_COUNT - 1);
    spec.layout = gmm_random_chance(random, 25) ? GMM_LAYOUT_PLAIN : GMM_LAYOUT_ANY;
    spec.poison = (gmm_poison)gmm_random_between(random, 0, GMM_POISON_COUNT - 1);
    return spec;
}

static size_t put_shape(char *text, size_t text_size, const char *name, const gmm_case_shape *shape)
{
    size_t used = (size_t)snprintf(text, text_size, " %s (", name);

    for (int32_t d = 0; d < shape->ndim && used < text_size; d++)
        used += (size_t)snprintf(text + used, text_size - used, "%s%" PRId64, d ? ", " : "", shape->size[d]);
    if (used < text_size)
        used += (size_t)snprintf(text + used, text_size - used, ")");
    return used;
}

static const char *type_name(gmm_dtype dtype)
{
    const char *name = gmm_dtype_name(dtype);

    return name ? name : "none";
}

const char *gmm_case_text(const gmm_case_spec *spec, char *text, size_t text_size)
{
    size_t used = (size_t)snprintf(
        text, text_size,
        "%s%s m %" PRId64 "%s n %" PRId64 "%s k %" PRId64 " lhs %s rhs %s biases %s out %s, indices %s %s, layout %d, "
        "values %d, pattern %d, poison %d,",
        spec->kind->name, spec->transpose ? " transposed" : "", spec->m, spec->lhs_vector ? " (1-D)" : "", spec->n,
        spec->rhs_vector ? " (1-D)" : "", spec->k, type_name(spec->lhs_dtype), type_name(spec->rhs_dtype),
        type_name(spec->biases_dtype), type_name(spec->out_dtype), type_name(spec->lhs_index_dtype),
        type_name(spec->rhs_index_dtype), (int)spec->layout, (int)spec->values, (int)spec->pattern, (int)spec->poison);

    if (used < text_size)
        used += put_shape(text + used, text_size - used, "lhs batch", &spec->lhs_batch);
    if (used < text_size)
        used += put_shape(text + used, text_size - used, "rhs batch", &spec->rhs_batch);
    if (used < text_size)
        used += put_shape(text + used, text_size - used, "lhs indices", &spec->lhs_index);
    if (used < text_size)
        put_shape(text + used, text_size - used, "rhs indices", &spec->rhs_index);
    return text;
}

/* ---- operands -----------------------------------------------------------------------------------------------------
 */

static double any_value(gmm_random *random, gmm_value_style style, gmm_dtype dtype, bool is_lhs)
{
    double unit = gmm_random_unit(random);

    switch (style) {
    case GMM_VALUES_WIDE:
        return unit * gmm_oracle_power((int)gmm_random_between(random, -9, 9));
    case GMM_VALUES_INTEGERS:
        return (double)gmm_random_between(random, -8, 8);
    case GMM_VALUES_SPARSE:
        return gmm_random_chance(random, 90) ? 0 : unit;
    case GMM_VALUES_TINY:
        return is_lhs ? unit * gmm_oracle_power(dtype == GMM_F16 ? -18 : -124) : unit;
    case GMM_VALUES_LARGE:
        return is_lhs ? unit * 4096 : unit;
    default:
        return unit;
    }
}

static void fill_values(gmm_random *random, gmm_value_style style, bool is_lhs, const gmm_array *array)
{
    int64_t count = gmm_built_count(array);
    bool is_float = array->dtype >= GMM_F16, whole_range = gmm_random_chance(random, 30);

    for (int64_t i = 0; i < count; i++) {
        if (is_float)
            gmm_built_put(array, i, any_value(random, style, array->dtype, is_lhs));
        else if (array->dtype == GMM_BOOL)
            gmm_built_put_bits(array, i, gmm_random_bits(random) & 1);
        else if (whole_range)
            gmm_built_put_bits(array, i, gmm_random_bits(random));
        else
            gmm_built_put_bits(array, i, (uint64_t)gmm_random_between(random, 0, 16));
    }
}

/* The byte, or a neighbour where it is E4M3's NaN: one among a few hundred codes would make most sums NaN. */
static uint64_t without_nan(uint64_t byte)
{
    return (byte & 0x7F) == 0x7F ? byte - 1 : byte;
}

static void fill_codes(gmm_random *random, const gmm_weight_kind *kind, const gmm_array *w)
{
    int64_t count = gmm_built_count(w);
    bool is_e4m3 = strcmp(kind->mode, "mxfp8") == 0;

    for (int64_t i = 0; i < count; i++) {
        uint64_t word = gmm_random_bits(random) & UINT32_MAX, clean = 0;
        for (int byte = 0; byte < 4; byte++)
            clean |= without_nan(word >> 8 * byte & 0xFF) << 8 * byte;
        gmm_built_put_bits(w, i, is_e4m3 ? clean : word);
    }
}

/* Scale codes near 1 for E8M0, all numbers for E4M3. */
static void fill_scales(gmm_random *random, const gmm_weight_kind *kind, const gmm_array *scales)
{
    int64_t count = gmm_built_count(scales);
    bool is_e4m3 = strcmp(kind->mode, "nvfp4") == 0;

    for (int64_t i = 0; i < count; i++)
        gmm_built_put_bits(scales, i,
                           is_e4m3 ? without_nan(gmm_random_bits(random) & 0xFF)
                                   : (uint64_t)(127 + gmm_random_between(random, -9, 9)));
}

static void fill_indices(gmm_random *random, const gmm_case_spec *spec, int64_t matrices, const gmm_array *indices)
{
    int64_t count = gmm_built_count(indices), constant = gmm_random_between(random, 0, matrices - 1);

    for (int64_t i = 0; i < count; i++) {
        int64_t index = gmm_random_between(random, 0, matrices - 1);
        if (spec->pattern == GMM_INDEX_SORTED)
            index = i * matrices / count;
        if (spec->pattern == GMM_INDEX_CONSTANT)
            index = constant;
        if (spec->pattern == GMM_INDEX_CYCLE)
            index = matrices - 1 - i % matrices;
        gmm_built_put_bits(indices, i, (uint64_t)index);
    }
}

/* batch + (rows, columns), or (columns) for a vector. */
static gmm_case_shape operand_shape(const gmm_case_shape *batch, bool vector, int64_t rows, int64_t columns,
                                    int64_t *shape)
{
    gmm_case_shape whole = {0, {0}};

    for (int32_t d = 0; d < batch->ndim; d++)
        shape[whole.ndim++] = batch->size[d];
    if (!vector)
        shape[whole.ndim++] = rows;
    shape[whole.ndim++] = columns;
    return whole;
}

static void make_dense_rhs(gmm_case *made, gmm_random *random)
{
    const gmm_case_spec *spec = &made->spec;
    int64_t shape[GMM_MAX_NDIM], strides[GMM_MAX_NDIM], stride = spec->n * spec->k;
    int32_t ndim = operand_shape(&spec->rhs_batch, spec->rhs_vector, spec->k, spec->n, shape).ndim;

    if (spec->rhs_vector)
        shape[0] = spec->k;
    if (spec->layout == GMM_LAYOUT_PLAIN && spec->transpose && !spec->rhs_vector) {
        strides[ndim - 1] = spec->k;
        strides[ndim - 2] = 1;
        for (int32_t d = ndim - 3; d >= 0; d--) {
            strides[d] = stride;
            stride *= shape[d];
        }
        gmm_built_place(&made->rhs, GMM_GUARD_BEFORE, 0, spec->rhs_dtype, ndim, shape, strides, spec->poison);
    } else {
        gmm_built_make(&made->rhs, random, spec->layout, spec->rhs_dtype, ndim, shape, spec->poison);
    }
    fill_values(random, spec->values, false, &made->rhs.array);
    made->product.rhs = &made->rhs.array;
}

static void make_quantized_rhs(gmm_case *made, gmm_random *random)
{
    const gmm_case_spec *spec = &made->spec;
    const gmm_weight_kind *kind = spec->kind;
    int64_t rows = spec->transpose ? spec->n : spec->k, columns = spec->transpose ? spec->k : spec->n;
    int64_t shape[GMM_MAX_NDIM];
    int32_t ndim = operand_shape(&spec->rhs_batch, false, rows, columns * kind->bits / 32, shape).ndim;

    gmm_built_make(&made->rhs, random, spec->layout, GMM_U32, ndim, shape, spec->poison);
    fill_codes(random, kind, &made->rhs.array);
    shape[ndim - 1] = columns / kind->group_size;
    made->quantized = (gmm_quantized){.w = &made->rhs.array,
                                      .scales = &made->scales.array,
                                      .mode = kind->mode,
                                      .group_size = kind->group_size,
                                      .bits = kind->bits};
    if (is_affine(kind)) {
        gmm_built_make(&made->scales, random, spec->layout, spec->rhs_dtype, ndim, shape, spec->poison);
        fill_values(random, spec->values, false, &made->scales.array);
        gmm_built_make(&made->biases, random, spec->layout, spec->biases_dtype, ndim, shape, spec->poison);
        fill_values(random, spec->values, false, &made->biases.array);
        made->quantized.biases = &made->biases.array;
    } else {
        gmm_built_make(&made->scales, random, spec->layout, GMM_U8, ndim, shape, spec->poison);
        fill_scales(random, kind, &made->scales.array);
    }
    if (kind->has_global_scale) {
        int64_t ones[] = {1, 1};
        gmm_built_make(&made->global_scale, random, spec->layout, GMM_F32, (int32_t)gmm_random_between(random, 0, 2),
                       ones, spec->poison);
        gmm_built_put(&made->global_scale.array, 0, 2688 * (1.5 + gmm_random_unit(random)));
        made->quantized.global_scale = &made->global_scale.array;
    }
    made->product.quantized = &made->quantized;
    made->product.transpose = spec->transpose;
}

static const gmm_array *make_indices(gmm_case *made, gmm_random *random, gmm_built *indices, gmm_dtype dtype,
                                     const gmm_case_shape *shape, const gmm_case_shape *batch)
{
    if (!dtype)
        return NULL;
    gmm_built_make(indices, random, made->spec.layout, dtype, shape->ndim, shape->size, GMM_POISON_ONES);
    fill_indices(random, &made->spec, shape_count(batch), &indices->array);
    return &indices->array;
}

void gmm_case_arrays(gmm_case *made, gmm_built *arrays[GMM_CASE_MAX_ARRAYS])
{
    gmm_built *const all[] = {&made->out,    &made->lhs,          &made->rhs,         &made->scales,
                              &made->biases, &made->global_scale, &made->lhs_indices, &made->rhs_indices};
    int count = 0;

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i]->memory.map)
            arrays[count++] = all[i];
    arrays[count] = NULL;
}

void gmm_case_make(gmm_case *made, gmm_random *random, const gmm_case_spec *spec)
{
    int64_t shape[GMM_MAX_NDIM];
    int32_t ndim = operand_shape(&spec->lhs_batch, spec->lhs_vector, spec->m, spec->k, shape).ndim;
    gmm_built *arrays[GMM_CASE_MAX_ARRAYS];
    gmm_oracle result;

    memset(made, 0, sizeof *made);
    made->spec = *spec;
    made->product.size = sizeof made->product;
    gmm_built_make(&made->lhs, random, spec->layout, spec->lhs_dtype, ndim, shape, spec->poison);
    fill_values(random, spec->values, true, &made->lhs.array);
    made->product.lhs = &made->lhs.array;
    if (spec->kind->mode)
        make_quantized_rhs(made, random);
    else
        make_dense_rhs(made, random);
    made->product.sorted_indices = spec->sorted_indices;
    made->product.lhs_indices =
        make_indices(made, random, &made->lhs_indices, spec->lhs_index_dtype, &spec->lhs_index, &spec->lhs_batch);
    made->product.rhs_indices =
        make_indices(made, random, &made->rhs_indices, spec->rhs_index_dtype, &spec->rhs_index, &spec->rhs_batch);
    gmm_oracle_make_spec(&made->product, &result);
    gmm_built_make(&made->out, random, spec->layout == GMM_LAYOUT_PLAIN ? GMM_LAYOUT_PLAIN : GMM_LAYOUT_APART,
                   spec->out_dtype, result.ndim, result.shape, spec->poison);
    gmm_case_arrays(made, arrays);
    for (int i = 1; arrays[i]; i++)
        gmm_guarded_seal(&arrays[i]->memory);
}

void gmm_case_free(gmm_case *made)
{
    gmm_built *arrays[GMM_CASE_MAX_ARRAYS];

    gmm_case_arrays(made, arrays);
    for (int i = 0; arrays[i]; i++)
        gmm_built_free(arrays[i]);
    memset(made, 0, sizeof *made);
}

gmm_arithmetic gmm_case_arithmetic(void)
{
    const char *name = getenv("GMM_TEST_ARITHMETIC");

    if (name && strcmp(name, "int8") != 0)
        fail_msg("GMM_TEST_ARITHMETIC is %s; it may be int8", name);
    return name ? GMM_ARITHMETIC_INT8 : GMM_ARITHMETIC_F32;
}

const gmm_context *gmm_case_context(const gmm_context *context)
{
    static gmm_context *all_threads;
    const gmm_context_options options = {.size = sizeof options, .arithmetic = gmm_case_arithmetic()};

    if (context || options.arithmetic == GMM_ARITHMETIC_F32)
        return context;
    if (!all_threads && gmm_context_create(&options, &all_threads) != GMM_OK)
        fail_msg("no context: %s", gmm_error_detail());
    return all_threads;
}

const gmm_context *gmm_case_one_thread(void)
{
    static gmm_context *context;
    const gmm_context_options options = {.size = sizeof options, .threads = 1, .arithmetic = gmm_case_arithmetic()};

    if (!context && gmm_context_create(&options, &context) != GMM_OK)
        fail_msg("no context: %s", gmm_error_detail());
    return context;
}

/* ---- calls --------------------------------------------------------------------------------------------------------
 */

/* Products of small integers have exact sums: no bound, the very number. */
static bool exact(const gmm_case_spec *spec)
{
    return spec->values == GMM_VALUES_INTEGERS && !spec->kind->mode && spec->lhs_dtype >= GMM_F16 &&
           spec->rhs_dtype >= GMM_F16;
}

/* Are its sums others than those that the oracle bounds? */
static bool is_int8(const gmm_case_spec *spec)
{
    return gmm_case_arithmetic() == GMM_ARITHMETIC_INT8 && spec->kind->mode && spec->transpose &&
           strcmp(spec->kind->mode, "mxfp8") != 0;
}

void gmm_case_check(const gmm_context *context, gmm_case *made)
{
    char what[1024], wrong[256];
    gmm_oracle oracle;
    gmm_status status;

    gmm_built_keep(&made->out);
    status = gmm_run(gmm_case_context(context), &made->product, &made->out.array);
    if (status != GMM_OK)
        fail_msg("%s: status %d, %s", gmm_case_text(&made->spec, what, sizeof what), (int)status, gmm_error_detail());
    if (!gmm_built_kept(&made->out, false))
        fail_msg("%s: wrote beside the elements of out", gmm_case_text(&made->spec, what, sizeof what));
    if (is_int8(&made->spec))
        return;
    gmm_oracle_make(&made->product, &oracle);
    for (int64_t i = 0; i < oracle.count && exact(&made->spec); i++)
        oracle.bound[i] = 0;
    if (!gmm_oracle_check(&oracle, &made->out.array, wrong, sizeof wrong))
        fail_msg("%s: %s", gmm_case_text(&made->spec, what, sizeof what), wrong);
    gmm_oracle_free(&oracle);
}

char *gmm_case_run(const gmm_context *context, gmm_case *made, gmm_poison poison)
{
    char what[1024];
    gmm_status status;

    gmm_poison_fill(made->out.memory.data, made->out.memory.size_bytes, made->out.array.dtype, poison);
    status = gmm_run(gmm_case_context(context), &made->product, &made->out.array);
    if (status != GMM_OK)
        fail_msg("%s: status %d, %s", gmm_case_text(&made->spec, what, sizeof what), (int)status, gmm_error_detail());
    return gmm_built_collect(&made->out.array, NULL);
}

void gmm_case_expect(const gmm_context *context, gmm_case *made, gmm_poison poison, const char *expected,
                     const char *what)
{
    char *got = gmm_case_run(context, made, poison), text[1024];
    size_t bytes = gmm_case_bytes(made), element_bytes = gmm_built_element_bytes(made->out.array.dtype), at = 0;

    while (at < bytes && got[at] == expected[at])
        at++;
    if (at < bytes)
        fail_msg("%s: %s: other bits in element %zu", what, gmm_case_text(&made->spec, text, sizeof text),
                 at / element_bytes);
    free(got);
}

size_t gmm_case_bytes(const gmm_case *made)
{
    return (size_t)gmm_built_count(&made->out.array) * gmm_built_element_bytes(made->out.array.dtype);
}
