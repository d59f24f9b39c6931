/* oracle.c - see oracle.h. */
/* SPDX-License-Identifier: MIT */
#include "oracle.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "oracle_numbers.h"

/* ---- elements -----------------------------------------------------------------------------------------------------
 */

static int64_t element_bytes(gmm_dtype dtype)
{
    return dtype <= GMM_I8                                                                 ? 1
           : dtype == GMM_U16 || dtype == GMM_I16 || dtype == GMM_F16 || dtype == GMM_BF16 ? 2
           : dtype == GMM_U64 || dtype == GMM_I64                                          ? 8
                                                                                           : 4;
}

/* Stride in elements of an axis. */
static int64_t stride_of(const gmm_array *array, int32_t axis)
{
    int64_t stride = 1;

    if (array->strides)
        return array->strides[axis];
    for (int32_t d = array->ndim - 1; d > axis; d--)
        stride *= array->shape[d];
    return stride;
}

static char *at_offset(const gmm_array *array, int64_t offset)
{
    return (char *)array->data + array->byte_offset + offset * element_bytes(array->dtype);
}

static uint64_t bits_at(gmm_dtype dtype, const char *address)
{
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;

    switch (element_bytes(dtype)) {
    case 1:
        memcpy(&u8, address, sizeof u8);
        return u8;
    case 2:
        memcpy(&u16, address, sizeof u16);
        return u16;
    case 4:
        memcpy(&u32, address, sizeof u32);
        return u32;
    default:
        memcpy(&u64, address, sizeof u64);
        return u64;
    }
}

/* Offset of element number `flat` of the first `ndim` axes. */
static int64_t offset_of(const gmm_array *array, int32_t ndim, int64_t flat)
{
    int64_t offset = 0;

    for (int32_t d = ndim - 1; d >= 0; d--) {
        offset += flat % array->shape[d] * stride_of(array, d);
        flat /= array->shape[d];
    }
    return offset;
}

char *gmm_oracle_address(const gmm_array *array, int64_t flat)
{
    return at_offset(array, offset_of(array, array->ndim, flat));
}

uint64_t gmm_oracle_bits(const gmm_array *array, int64_t flat)
{
    return bits_at(array->dtype, gmm_oracle_address(array, flat));
}

/* ---- quantized weights --------------------------------------------------------------------------------------------
 */

/* Mode and defaults in use. */
typedef struct packing {
    char kind; /* 'a' affine, '4' mxfp4, '8' mxfp8, 'n' nvfp4 */
    int64_t group_size, bits;
} packing;

static packing packing_of(const gmm_quantized *q)
{
    const char *mode = q->mode ? q->mode : "affine";
    packing p = {'a', 64, 4};

    if (!strcmp(mode, "mxfp4"))
        p = (packing){'4', 32, 4};
    if (!strcmp(mode, "mxfp8"))
        p = (packing){'8', 32, 8};
    if (!strcmp(mode, "nvfp4"))
        p = (packing){'n', 16, 4};
    if (q->group_size)
        p.group_size = q->group_size;
    if (q->bits)
        p.bits = q->bits;
    return p;
}

/* Element (row, column) of a matrix that begins at an offset. */
static uint64_t matrix_bits(const gmm_array *array, int64_t matrix, int64_t row, int64_t column)
{
    return bits_at(array->dtype, at_offset(array, matrix + row * stride_of(array, array->ndim - 2) +
                                                      column * stride_of(array, array->ndim - 1)));
}

/* Code number `column` of a row: bits [column * bits, (column + 1) * bits) of its little-endian stream of words. */
static unsigned unpack(const gmm_array *w, int64_t matrix, int64_t row, int64_t column, int64_t bits)
{
    unsigned code = 0;

    for (int64_t i = 0; i < bits;) {
        int64_t bit = column * bits + i, in_word = bit % 32, run = 32 - in_word < bits - i ? 32 - in_word : bits - i;
        uint64_t word = matrix_bits(w, matrix, row, bit / 32);
        code |= (unsigned)(word >> in_word & ((1u << run) - 1)) << i;
        i += run;
    }
    return code;
}

/* Where the matrices of a stack begin, in elements of each array. */
typedef struct matrix_offsets {
    int64_t w, scales, biases;
} matrix_offsets;

/* A weight beyond f32's range is infinite there. */
static double in_range(double value)
{
    return fabs(value) < 1e38 || !isinf(gmm_oracle_round(GMM_F32, value)) ? value : copysign((double)INFINITY, value);
}

/* A weight, how far underflow may move it, and what stands for its magnitude in bounds: oracle.h. */
typedef struct weight {
    double value, underflow, reach;
} weight;

/* Affine: the ends of a group are what its codes 0 and 2^bits - 1 stand for. */
static weight affine_weight(unsigned code, int64_t bits, double scale, double bias)
{
    double value = in_range(code * scale + bias), end = ((1 << bits) - 1) * scale + bias;

    return (weight){value, 0, fmax(fabs(bias), fabs(end))};
}

static weight weight_at(const gmm_quantized *q, const packing *p, matrix_offsets at, int64_t row, int64_t column)
{
    unsigned code = unpack(q->w, at.w, row, column, p->bits);
    int64_t group = column / p->group_size;
    uint64_t scale = matrix_bits(q->scales, at.scales, row, group);
    double value, underflow = 0;

    switch (p->kind) {
    case 'a':
        return affine_weight(code, p->bits, gmm_oracle_decode(q->scales->dtype, scale),
                             gmm_oracle_decode(q->biases->dtype, matrix_bits(q->biases, at.biases, row, group)));
    case '4':
        value = in_range(gmm_oracle_e2m1(code) * gmm_oracle_e8m0((unsigned)scale));
        break;
    case '8':
        value = in_range(gmm_oracle_e4m3(code) * gmm_oracle_e8m0((unsigned)scale));
        break;
    default:
        value = gmm_oracle_e2m1(code) * gmm_oracle_e4m3((unsigned)scale);
        if (!q->global_scale)
            break;
        underflow = (fabs(value) + 1) * gmm_oracle_power(-150);
        value = in_range(value * (gmm_oracle_decode(GMM_F32, gmm_oracle_bits(q->global_scale, 0)) / 2688));
    }
    return (weight){value, underflow, fabs(value)};
}

static matrix_offsets offsets_of(const gmm_quantized *q, int64_t matrix)
{
    matrix_offsets at = {offset_of(q->w, q->w->ndim - 2, matrix), offset_of(q->scales, q->scales->ndim - 2, matrix), 0};

    if (q->biases)
        at.biases = offset_of(q->biases, q->biases->ndim - 2, matrix);
    return at;
}

double gmm_oracle_weight(const gmm_quantized *quantized, int64_t matrix, int64_t row, int64_t column, double *reach)
{
    packing p = packing_of(quantized);
    weight at = weight_at(quantized, &p, offsets_of(quantized, matrix), row, column);

    if (reach)
        *reach = at.reach;
    return at.value;
}

/* ---- the shape of a product ---------------------------------------------------------------------------------------
 */

/* A product taken apart. */
typedef struct parts {
    gmm_array lhs, rhs; /* rhs: the dense operand, or w; 1-D ones made 2-D */
    int64_t lhs_shape[GMM_MAX_NDIM], lhs_strides[GMM_MAX_NDIM], rhs_shape[2], rhs_strides[2];
    packing packing;
    bool drop_m, drop_n;
    int64_t m, n, k;
    int32_t batch_ndim; /* P */
    int64_t batch[GMM_MAX_NDIM];
} parts;

/* Broadcast a shape into another, aligned at the last axis. */
static void broadcast(parts *p, const int64_t *shape, int32_t ndim)
{
    int32_t grow = ndim - p->batch_ndim;

    if (grow > 0) {
        memmove(p->batch + grow, p->batch, (size_t)p->batch_ndim * sizeof *p->batch);
        for (int32_t d = 0; d < grow; d++)
            p->batch[d] = 1;
        p->batch_ndim = ndim;
    }
    for (int32_t d = 0; d < ndim; d++)
        if (shape[d] != 1)
            p->batch[p->batch_ndim - ndim + d] = shape[d];
}

static void take_apart(const gmm_product *product, parts *p)
{
    const gmm_array *lhs_index = product->lhs_indices, *rhs_index = product->rhs_indices;

    memset(p, 0, sizeof *p);
    p->lhs = *product->lhs;
    if (p->lhs.ndim == 1) {
        p->drop_m = true;
        p->lhs_shape[0] = 1;
        p->lhs_shape[1] = product->lhs->shape[0];
        p->lhs_strides[1] = stride_of(product->lhs, 0);
        p->lhs.ndim = 2;
        p->lhs.shape = p->lhs_shape;
        p->lhs.strides = p->lhs_strides;
    }
    p->rhs = product->rhs ? *product->rhs : *product->quantized->w;
    if (p->rhs.ndim == 1) {
        p->drop_n = true;
        p->rhs_shape[0] = product->rhs->shape[0];
        p->rhs_shape[1] = 1;
        p->rhs_strides[0] = stride_of(product->rhs, 0);
        p->rhs.ndim = 2;
        p->rhs.shape = p->rhs_shape;
        p->rhs.strides = p->rhs_strides;
    }
    p->m = p->lhs.shape[p->lhs.ndim - 2];
    p->k = p->lhs.shape[p->lhs.ndim - 1];
    p->n = p->rhs.shape[p->rhs.ndim - 1];
    if (product->quantized) {
        p->packing = packing_of(product->quantized);
        p->n = product->transpose ? p->rhs.shape[p->rhs.ndim - 2] : p->n * 32 / p->packing.bits;
    }
    if (lhs_index)
        broadcast(p, lhs_index->shape, lhs_index->ndim);
    else
        broadcast(p, p->lhs.shape, p->lhs.ndim - 2);
    if (rhs_index)
        broadcast(p, rhs_index->shape, rhs_index->ndim);
    else
        broadcast(p, p->rhs.shape, p->rhs.ndim - 2);
}

static gmm_dtype type_of_product(const gmm_product *product)
{
    const gmm_quantized *q = product->quantized;

    if (!q)
        return gmm_oracle_promote(product->lhs->dtype, product->rhs->dtype);
    if (!q->biases)
        return product->lhs->dtype;
    return gmm_oracle_promote(product->lhs->dtype, gmm_oracle_promote(q->scales->dtype, q->biases->dtype));
}

static void result_spec(const gmm_product *product, const parts *p, gmm_oracle *oracle)
{
    memset(oracle, 0, sizeof *oracle);
    oracle->dtype = type_of_product(product);
    for (int32_t d = 0; d < p->batch_ndim; d++)
        oracle->shape[oracle->ndim++] = p->batch[d];
    if (!p->drop_m)
        oracle->shape[oracle->ndim++] = p->m;
    if (!p->drop_n)
        oracle->shape[oracle->ndim++] = p->n;
    oracle->count = 1;
    for (int32_t d = 0; d < oracle->ndim; d++)
        oracle->count *= oracle->shape[d];
}

void gmm_oracle_make_spec(const gmm_product *product, gmm_oracle *oracle)
{
    parts p;

    take_apart(product, &p);
    result_spec(product, &p, oracle);
}

/* Number of the element that position `flat` of P meets in an array of this shape, broadcast. */
static int64_t broadcast_flat(const parts *p, const int64_t *shape, int32_t ndim, int64_t flat)
{
    int64_t number = 0, step = 1;

    for (int32_t d = p->batch_ndim - 1; d >= p->batch_ndim - ndim; d--) {
        int64_t size = shape[d - (p->batch_ndim - ndim)];
        number += (size == 1 ? 0 : flat % p->batch[d]) * step;
        step *= size;
        flat /= p->batch[d];
    }
    return number;
}

/* Number of the operand's matrix that position `flat` of P uses. */
static int64_t matrix_of(const parts *p, const gmm_array *operand, const gmm_array *indices, int64_t flat)
{
    if (!indices)
        return broadcast_flat(p, operand->shape, operand->ndim - 2, flat);
    return (int64_t)gmm_oracle_bits(indices, broadcast_flat(p, indices->shape, indices->ndim, flat));
}

/* ---- the product --------------------------------------------------------------------------------------------------
 */

static double *numbers(int64_t count)
{
    double *memory = calloc((size_t)count + 1, sizeof *memory);

    if (!memory)
        fail_msg("no memory for %" PRId64 " numbers", count);
    return memory;
}

static double element(const gmm_array *array, gmm_dtype cast, int64_t matrix, int64_t row, int64_t column)
{
    double value = gmm_oracle_decode(array->dtype, matrix_bits(array, matrix, row, column));

    return array->dtype < GMM_F16 ? gmm_oracle_round(cast, value) : value; /* promotion loses nothing of a float */
}

static void load_lhs(const parts *p, gmm_dtype cast, int64_t matrix, double *x)
{
    int64_t at = offset_of(&p->lhs, p->lhs.ndim - 2, matrix);

    for (int64_t i = 0; i < p->m; i++)
        for (int64_t k = 0; k < p->k; k++)
            x[i * p->k + k] = element(&p->lhs, cast, at, i, k);
}

/* rhs as K rows of N. */
static void load_rhs(const gmm_product *product, const parts *p, gmm_dtype cast, int64_t matrix, weight *w)
{
    const gmm_quantized *q = product->quantized;
    int64_t at = offset_of(&p->rhs, p->rhs.ndim - 2, matrix);
    matrix_offsets packed = {0};

    if (q)
        packed = offsets_of(q, matrix);
    for (int64_t k = 0; k < p->k; k++)
        for (int64_t j = 0; j < p->n; j++) {
            int64_t i = k * p->n + j;
            if (q)
                w[i] = weight_at(q, &p->packing, packed, product->transpose ? j : k, product->transpose ? k : j);
            else
                w[i].value = element(&p->rhs, cast, at, k, j);
        }
}

/* What flushing subnormal numbers may do to sums of tiles: oracle.h. */
static void add_flushed(const gmm_product *product, const parts *p, bool groups, const double *x, const weight *w,
                        double *slack)
{
    bool dense = !product->quantized && p->rhs.dtype == GMM_BF16;
    bool decoded = product->quantized && p->packing.kind == '8';

    for (int64_t k = 0; k < p->k && (dense || groups); k++)
        for (int64_t j = 0; j < p->n; j++) {
            const weight *at = &w[k * p->n + j];
            double as_numbers = 6 + fabs(x[k]) + fabs(at->value), as_codes = 3 * at->reach;
            double flushed = dense ? as_numbers : decoded ? fmax(as_numbers, as_codes) : as_codes;
            slack[j] += flushed * gmm_oracle_power(-126);
        }
}

/* One row of the result: sums, sums of magnitudes, and what underflowing weights may add. */
static void multiply_row(const parts *p, bool groups, const double *x, const weight *w, double *restrict sum,
                         double *restrict magnitude, double *restrict slack)
{
    for (int64_t k = 0; k < p->k; k++)
        for (int64_t j = 0; j < p->n; j++) {
            const weight *at = &w[k * p->n + j];
            sum[j] += x[k] * at->value;
            magnitude[j] += fabs(x[k] * (groups ? at->reach : at->value));
            slack[j] += fabs(x[k]) * at->underflow;
        }
}

static int roundings_per_weight(const gmm_quantized *q)
{
    if (!q)
        return 0;
    return q->biases ? 1 : q->global_scale ? 2 : 0;
}

static double bound_of(const gmm_product *product, int64_t k, double sum, double magnitude, double slack)
{
    double n = (double)(k + 5 + roundings_per_weight(product->quantized)), u = gmm_oracle_power(-24);
    double gamma = n * u / (1 - n * u), largest = (2 - gmm_oracle_power(-23)) * gmm_oracle_power(127);

    if (isnan(sum) || isinf(sum))
        return 0;
    if (!(magnitude * (1 + gamma) + slack < largest))
        return (double)INFINITY;
    return gamma * magnitude + (1 + gamma) * (slack + (double)k * gmm_oracle_power(-150)) +
           n * gmm_oracle_power(-52) * magnitude;
}

/* May bf16 elements meet unscaled codes? Affine ones only along K. */
static bool may_be_grouped(const gmm_product *product, const parts *p, gmm_dtype dtype)
{
    bool bf16 = p->lhs.dtype == GMM_BF16 || dtype == GMM_BF16;

    return bf16 && product->quantized && (product->transpose || !product->quantized->biases);
}

/* Scratch of a product. */
typedef struct scratch {
    double *x, *slack;
    weight *w;
} scratch;

/* The matrix at one position of P; the rhs is loaded. */
static void multiply(const gmm_product *product, const parts *p, int64_t position, const scratch *s, gmm_oracle *oracle)
{
    bool groups = may_be_grouped(product, p, oracle->dtype);

    load_lhs(p, oracle->dtype, matrix_of(p, &p->lhs, product->lhs_indices, position), s->x);
    for (int64_t i = 0; i < p->m; i++) {
        double *sum = oracle->value + (position * p->m + i) * p->n,
               *bound = oracle->bound + (position * p->m + i) * p->n;
        memset(s->slack, 0, (size_t)p->n * sizeof *s->slack);
        multiply_row(p, groups, s->x + i * p->k, s->w, sum, bound, s->slack);
        add_flushed(product, p, groups, s->x + i * p->k, s->w, s->slack);
        for (int64_t j = 0; j < p->n; j++)
            bound[j] = bound_of(product, p->k, sum[j], bound[j], s->slack[j]);
    }
}

void gmm_oracle_make(const gmm_product *product, gmm_oracle *oracle)
{
    parts p;
    int64_t positions = 1;

    take_apart(product, &p);
    result_spec(product, &p, oracle);
    oracle->value = numbers(oracle->count);
    oracle->bound = numbers(oracle->count);
    if (oracle->count == 0)
        return;
    for (int32_t d = 0; d < p.batch_ndim; d++)
        positions *= p.batch[d];

    scratch s = {numbers(p.m * p.k), numbers(p.n), (weight *)numbers(3 * p.k * p.n)};
    char *done = (char *)numbers(positions);
    for (int64_t first = 0; first < positions; first++) { /* every rhs is loaded once, for all positions that use it */
        int64_t rhs = matrix_of(&p, &p.rhs, product->rhs_indices, first);
        if (done[first])
            continue;
        load_rhs(product, &p, oracle->dtype, rhs, s.w);
        for (int64_t position = first; position < positions; position++)
            if (!done[position] && matrix_of(&p, &p.rhs, product->rhs_indices, position) == rhs) {
                multiply(product, &p, position, &s, oracle);
                done[position] = 1;
            }
    }
    free(s.x);
    free(s.w);
    free(s.slack);
    free(done);
}

void gmm_oracle_free(gmm_oracle *oracle)
{
    free(oracle->value);
    free(oracle->bound);
    memset(oracle, 0, sizeof *oracle);
}

static bool acceptable(gmm_dtype dtype, double got, double value, double bound)
{
    if (isnan(value))
        return isnan(got);
    if (isinf(value))
        return got == value;
    return isfinite(bound) && got >= gmm_oracle_round(dtype, value - bound) &&
           got <= gmm_oracle_round(dtype, value + bound);
}

bool gmm_oracle_check(const gmm_oracle *oracle, const gmm_array *out, char *text, size_t text_size)
{
    for (int64_t i = 0; i < oracle->count; i++) {
        double got = gmm_oracle_decode(out->dtype, gmm_oracle_bits(out, i));
        if (!acceptable(out->dtype, got, oracle->value[i], oracle->bound[i])) {
            snprintf(text, text_size, "element %" PRId64 " of %" PRId64 " is %.9g; it must be %.17g +- %.3g", i,
                     oracle->count, got, oracle->value[i], oracle->bound[i]);
            return false;
        }
    }
    return true;
}
