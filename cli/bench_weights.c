/* bench_weights.c - stacks of experts full of random codes, made fast: one small tile is quantized and repeated. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* madvise */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"
#include "command.h"
#include "gathermm/ceilings.h"
#include "output.h"

enum {
    TILE_ROWS = 64, /* no two rows next to each other are alike */
    CACHES = 3,     /* so many times larger than the caches all stacks are together */
    HUGE_PAGE_BYTES = 2 << 20,
    ALIGNMENT = 64
};

/* Which random bits of an element to keep, and which to set: numbers of both signs from 2^-7 to 2^-3. */
static const struct {
    gmm_dtype dtype;
    uint64_t keep, set;
} patterns[] = {
    {GMM_F32, 0x81FFFFFF81FFFFFF, 0x3C0000003C000000},
    {GMM_BF16, 0x81FF81FF81FF81FF, 0x3C003C003C003C00},
    {GMM_F16, 0x8FFF8FFF8FFF8FFF, 0x2000200020002000},
};

void bench_random_numbers(gmm_dtype dtype, void *numbers, size_t size_bytes)
{
    uint64_t state = 1;
    size_t p = 0;

    while (patterns[p].dtype != dtype)
        p++;
    for (size_t at = 0; at < size_bytes; at += sizeof(uint64_t)) {
        uint64_t word = (bench_random(&state) & patterns[p].keep) | patterns[p].set;
        memcpy((char *)numbers + at, &word, size_bytes - at < sizeof word ? size_bytes - at : sizeof word);
    }
}

int bench_part_count(const bench_request *request)
{
    return request->layers ? BENCH_PARTS : 1;
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static int64_t round_up(int64_t value, int64_t step)
{
    return (value + step - 1) / step * step;
}

/* The array of a part: (experts, rows, columns) as they lie, and where it begins in a stack. */
static void add_part(bench_weights *weights, gmm_dtype dtype, int64_t columns)
{
    struct bench_part *part = &weights->parts[weights->part_count++];

    *part = (struct bench_part){
        .dtype = dtype,
        .shape = {weights->experts, weights->rows, columns},
        .strides = {weights->rows * columns, columns, 1},
        .row_bytes = columns * gmm_dtype_bits(dtype) / 8,
        .stack_offset = weights->stack_bytes,
    };
    weights->matrix_bytes += weights->rows * part->row_bytes;
    weights->stack_bytes += round_up(weights->experts * weights->rows * part->row_bytes, ALIGNMENT);
}

/* Sizes of a stack of `experts` experts in the format. `tile` is a matrix of the kind that gmm_quantize would read. */
static int set_sizes(bench_weights *weights, int64_t experts, const gmm_array *tile,
                     const gmm_quantize_options *options)
{
    gmm_array_spec specs[3];

    weights->experts = experts;
    weights->part_count = 0;
    weights->matrix_bytes = weights->stack_bytes = 0;
    if (!weights->format->quantized) {
        add_part(weights, weights->format->dtype, weights->columns);
        return EXIT_FINE;
    }
    gmm_status status = gmm_quantize_spec(tile, options, &specs[0], &specs[1], &specs[2]);
    if (status)
        return complain_status(status);
    for (int p = 0; p < 3; p++)
        if (specs[p].ndim > 0)
            add_part(weights, specs[p].dtype, specs[p].shape[specs[p].ndim - 1]);
    return EXIT_FINE;
}

static int fit_into_memory(bench_weights *weights, const bench_request *request, const bench_shape *shape,
                           const gmm_array *tile, const gmm_quantize_options *options)
{
    int status = set_sizes(weights, shape->experts, tile, options);

    if (status)
        return status;
    /* A raw stack is there while prepared ones are made from it. */
    int64_t spare = request->prepared ? 1 : 0, parts = bench_part_count(request);
    int64_t memory = request->memory_bytes / parts, caches = CACHES * gmm_cache_bytes() / parts;
    int64_t held = memory / (1 + spare) / round_up(weights->matrix_bytes, 3 * ALIGNMENT);
    if (held < shape->top_k)
        return EXIT_FINE;
    if (held < shape->experts)
        status = set_sizes(weights, held, tile, options);
    int64_t wanted = (caches + weights->stack_bytes - 1) / weights->stack_bytes;
    int64_t possible = memory / weights->stack_bytes - spare;
    weights->stacks = request->in_cache ? 1 : wanted < possible ? wanted : possible > 0 ? possible : 1;
    return status;
}

/* ---- contents ---------------------------------------------------------------------------------------------------- */

/* Copy the tile's rows over one part of all stacks. */
static void repeat_rows(const bench_weights *weights, const struct bench_part *part, const char *tile)
{
    int64_t rows = weights->experts * weights->rows;

    for (int64_t stack = 0; stack < weights->stacks; stack++) {
        char *to = weights->memory + stack * weights->stack_bytes + part->stack_offset;
        for (int64_t row = 0; row < rows; row += TILE_ROWS) {
            int64_t count = rows - row < TILE_ROWS ? rows - row : TILE_ROWS;
            memcpy(to + row * part->row_bytes, tile, (size_t)(count * part->row_bytes));
        }
    }
}

/* Quantize the tile (dense formats: take it as it is) and repeat it. */
static int fill(const bench_weights *weights, const gmm_array *tile, const gmm_quantize_options *options)
{
    gmm_status status = GMM_OK;
    gmm_array out[3] = {{0}};
    int64_t shapes[3][2];

    for (int p = 0; p < weights->part_count; p++) {
        const struct bench_part *part = &weights->parts[p];
        shapes[p][0] = TILE_ROWS;
        shapes[p][1] = part->shape[2];
        out[p] = (gmm_array){.data = must_allocate(TILE_ROWS, (size_t)part->row_bytes),
                             .dtype = part->dtype,
                             .ndim = 2,
                             .shape = shapes[p]};
    }
    if (weights->format->quantized)
        status = gmm_quantize(NULL, tile, options, &out[0], &out[1], weights->part_count > 2 ? &out[2] : NULL);
    else
        memcpy(out[0].data, tile->data, TILE_ROWS * (size_t)weights->parts[0].row_bytes);
    for (int p = 0; p < weights->part_count; p++) {
        if (!status)
            repeat_rows(weights, &weights->parts[p], out[p].data);
        free(out[p].data);
    }
    return status ? complain_status(status) : EXIT_FINE;
}

static int allocate(bench_weights *weights)
{
    size_t size = (size_t)round_up(weights->stacks * weights->stack_bytes, HUGE_PAGE_BYTES);
    char text[24];

    weights->memory = aligned_alloc(HUGE_PAGE_BYTES, size);
    if (!weights->memory) {
        complain("no memory for %s of weights: use --memory", bytes_text(size, text));
        return EXIT_COULD_NOT_RUN;
    }
#ifdef MADV_HUGEPAGE
    madvise(weights->memory, size, MADV_HUGEPAGE); /* small pages do where it is refused */
#endif
    return EXIT_FINE;
}

/* The first stack, prepared as many times as there are to be stacks, takes the place of all. */
static int prepare(bench_weights *weights, int64_t stacks)
{
    bench_operands operands;
    gmm_product product = {.size = sizeof product};
    gmm_status status = GMM_OK;
    gmm_prepared **prepared = must_allocate((size_t)stacks, sizeof *prepared);

    bench_weights_set(weights, 0, &operands, &product);
    for (weights->stacks = 0; !status && weights->stacks < stacks; weights->stacks += !status)
        status = gmm_prepare(NULL, product.rhs, product.quantized, product.transpose, &prepared[weights->stacks]);
    free(weights->memory);
    weights->memory = NULL;
    weights->prepared = prepared;
    return status ? complain_status(status) : EXIT_FINE;
}

int bench_weights_make(bench_weights *weights, const bench_request *request, const bench_shape *shape,
                       const bench_format *format, gmm_dtype scale_dtype)
{
    *weights = (bench_weights){
        .format = format,
        .plain = request->plain,
        .rows = request->plain ? shape->k : shape->n,
        .columns = request->plain ? shape->n : shape->k,
    };
    gmm_dtype dtype = format->quantized ? scale_dtype : format->dtype;
    gmm_quantize_options options = {
        .size = sizeof options, .mode = format->mode, .bits = format->bits, .group_size = format->group_size};
    size_t tile_bytes = TILE_ROWS * (size_t)weights->columns * (size_t)gmm_dtype_bits(dtype) / 8;
    gmm_array tile = {.data = must_allocate(tile_bytes, 1),
                      .dtype = dtype,
                      .ndim = 2,
                      .shape = (int64_t[]){TILE_ROWS, weights->columns}};

    bench_random_numbers(dtype, tile.data, tile_bytes);
    int status = fit_into_memory(weights, request, shape, &tile, &options);
    int64_t stacks = weights->stacks;
    if (request->prepared && stacks)
        weights->stacks = 1;
    if (!status && stacks)
        status = allocate(weights);
    if (!status && stacks)
        status = fill(weights, &tile, &options);
    if (!status && stacks && request->prepared)
        status = prepare(weights, stacks);
    free(tile.data);
    return status;
}

void bench_weights_free(bench_weights *weights)
{
    for (int64_t stack = 0; weights->prepared && stack < weights->stacks; stack++)
        gmm_prepared_free(weights->prepared[stack]);
    free(weights->prepared);
    free(weights->memory);
    *weights = (bench_weights){0};
}

void bench_weights_set(const bench_weights *weights, int64_t stack, bench_operands *operands, gmm_product *product)
{
    if (weights->prepared) {
        product->prepared = weights->prepared[stack];
        return;
    }
    char *memory = weights->memory + stack * weights->stack_bytes;
    for (int p = 0; p < weights->part_count; p++)
        operands->parts[p] = (gmm_array){
            .data = memory + weights->parts[p].stack_offset,
            .dtype = weights->parts[p].dtype,
            .ndim = 3,
            .shape = weights->parts[p].shape,
            .strides = weights->parts[p].strides,
        };
    if (weights->format->quantized) {
        operands->quantized = (gmm_quantized){
            .w = &operands->parts[0],
            .scales = &operands->parts[1],
            .biases = weights->part_count > 2 ? &operands->parts[2] : NULL,
            .mode = weights->format->mode,
            .group_size = weights->format->group_size,
            .bits = weights->format->bits,
        };
        product->quantized = &operands->quantized;
        product->transpose = !weights->plain;
        return;
    }
    product->rhs = &operands->parts[0];
    if (weights->plain)
        return;
    /* A dense product wants (K, N): the (N, K) matrices as a transposed view. */
    operands->dense_shape[0] = weights->experts;
    operands->dense_shape[1] = weights->columns;
    operands->dense_shape[2] = weights->rows;
    operands->dense_strides[0] = weights->rows * weights->columns;
    operands->dense_strides[1] = 1;
    operands->dense_strides[2] = weights->columns;
    operands->parts[0].shape = operands->dense_shape;
    operands->parts[0].strides = operands->dense_strides;
}
