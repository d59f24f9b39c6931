/* time_work.c - one call of each body, again and again, on operands as the library gives them. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* madvise */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel_check.h"
#include "kernel_time.h"
#include "kernels/int8.h"
#include "kernels/tile.h"

struct time_memory {
    char *stream, *cache; /* weights */
    int64_t stream_bytes, cache_bytes;
    int64_t cursor; /* in stream: all before it has been read longer ago than all behind it */
    float *x;       /* [TIME_ROWS][TIME_K] */
    float *panel, *packed, *a, *b, *sums, *tree, *out;
    int8_t *rounded; /* [TIME_ROWS][TIME_K] */
};

enum {
    HUGE_PAGE_BYTES = 2 << 20,
    PACKED_FLOATS = GMM_CLASSES * (TIME_K / GMM_CLASSES * TIME_ROWS + TIME_ROWS * GMM_CLASS_GAP),
    PANEL_FLOATS = GMM_CLASSES * (TIME_K / GMM_CLASSES * GMM_PANEL + GMM_CLASS_GAP)
};

static const double sample_seconds = 1e-3;

/* Bytes that are ordinary numbers in every format, as codes and as scales: no format meets subnormal numbers or NaN. */
static char *make_bytes(int64_t bytes)
{
    static const char ordinary[] = {0x3c, 0x3d, 0x3e, 0x3f, (char)0xbc, (char)0xbd, (char)0xbe, (char)0xbf};
    enum {
        PATTERN = 1 << 16
    };
    int64_t size = (bytes + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    char *memory = aligned_alloc(HUGE_PAGE_BYTES, (size_t)size);
    gmm_random random;

    if (!memory)
        return NULL;
#ifdef MADV_HUGEPAGE
    madvise(memory, (size_t)size, MADV_HUGEPAGE); /* small pages do where it is refused */
#endif
    gmm_random_seed(&random, 1);
    for (int64_t i = 0; i < PATTERN; i++)
        memory[i] = ordinary[gmm_random_bits(&random) % sizeof ordinary];
    for (int64_t i = PATTERN; i < size; i += PATTERN)
        memcpy(memory + i, memory, PATTERN);
    return memory;
}

static float *make_floats(int64_t count)
{
    float *floats = aligned_alloc(64, (size_t)((count + 15) / 16 * 64));

    if (!floats) {
        fprintf(stderr, "kernel_check: no memory\n");
        exit(1);
    }
    for (int64_t i = 0; i < count; i++)
        floats[i] = (float)(i % 61 + 1) / 61;
    return floats;
}

time_memory *time_memory_make(int64_t memory_bytes, int64_t cache_bytes)
{
    time_memory *memory = check_allocate(1, sizeof *memory);

    memory->stream_bytes = memory_bytes;
    memory->cache_bytes = cache_bytes;
    memory->stream = memory_bytes ? make_bytes(memory_bytes) : NULL;
    memory->cache = make_bytes(cache_bytes);
    if ((memory_bytes && !memory->stream) || !memory->cache) {
        free(memory->stream);
        free(memory->cache);
        free(memory);
        return NULL;
    }
    memory->x = make_floats(TIME_ROWS * TIME_K);
    memory->panel = make_floats(TIME_COLUMNS * TIME_K);
    memory->a = make_floats(PACKED_FLOATS);
    memory->b = make_floats(PANEL_FLOATS);
    memory->packed = make_floats(PANEL_FLOATS);
    memory->sums = make_floats(GMM_CLASSES * TIME_ROWS * GMM_PANEL);
    memory->tree = make_floats(GMM_TREE_LEVELS * TIME_ROWS * GMM_PANEL);
    memory->out = make_floats(TIME_ROWS * GMM_PANEL);
    memory->rounded = check_allocate(TIME_ROWS, TIME_K);
    for (int64_t i = 0; i < TIME_ROWS * TIME_K; i++)
        memory->rounded[i] = (int8_t)(i % 61 - 30);
    return memory;
}

void time_memory_free(time_memory *memory)
{
    float *floats[] = {memory->x,      memory->panel, memory->a,    memory->b,
                       memory->packed, memory->sums,  memory->tree, memory->out};

    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++)
        free(floats[i]);
    free(memory->rounded);
    free(memory->stream);
    free(memory->cache);
    free(memory);
}

static const gmm_kernel *portable_for(const char *body, const char *reads)
{
    for (size_t i = 0; gmm_kernels[i]; i++)
        if (!gmm_kernels[i]->needs && !strcmp(gmm_kernels[i]->body, body) && !strcmp(gmm_kernels[i]->reads, reads))
            return gmm_kernels[i];
    return NULL; /* the tests see to it that there is one */
}

static const gmm_kernel *portable(const char *body)
{
    return portable_for(body, "f32");
}

/* `count` weight rows: their codes, then their scales, then their biases. */
static gmm_rows weight_rows(const time_item *item, char *at, int64_t count)
{
    gmm_rows rows = {
        .first.codes = at,
        .code_bytes = check_code_bytes(&item->weights, item->k),
        .scale_bytes = check_scale_bytes(&item->weights, item->k),
        .bias_bytes = check_bias_bytes(&item->weights, item->k),
    };

    if (rows.scale_bytes)
        rows.first.scales = at + count * rows.code_bytes;
    if (rows.bias_bytes)
        rows.first.biases = at + count * (rows.code_bytes + rows.scale_bytes);
    return rows;
}

static gmm_rows rows_from(const gmm_rows *rows, int64_t i)
{
    gmm_rows from = *rows;

    from.first = gmm_row_at(rows, i);
    return from;
}

/* Rows of weights into rows of f32, `stride` apart. */
static void call_decode(const time_item *item, time_memory *memory, const gmm_rows *w, int64_t stride)
{
    gmm_decode *decode = item->kernel ? item->kernel->decode : item->weights.format->decode;

    for (int64_t c = 0; c < TIME_COLUMNS; c++)
        decode(&item->weights, gmm_row_at(w, c), 0, item->k, memory->panel + c * stride);
}

static void call_dot(const time_item *item, time_memory *memory, const gmm_rows *w)
{
    static const gmm_weights f32 = {.format = &gmm_format_dense_f32, .dtype = GMM_F32, .code_stride = 1};
    const gmm_kernel *kernel = item->kernel ? item->kernel : portable("dot");
    bool decode = strcmp(kernel->reads, item->weights.format->name) != 0;
    const float *x[TIME_ROWS];
    gmm_dot dot = {
        .weights = decode ? &f32 : &item->weights,
        .w = *w,
        .rows = item->rows,
        .columns = TIME_COLUMNS,
        .k = item->k,
        .x = x,
        .out = memory->out,
        .out_stride = TIME_COLUMNS,
    };

    for (int64_t r = 0; r < item->rows; r++)
        x[r] = memory->x + r * item->k; /* in any order: arranging is done once for many calls */
    if (decode) {
        call_decode(item, memory, w, item->k);
        dot.w = (gmm_rows){.first.codes = memory->panel, .code_bytes = item->k * (int64_t)sizeof(float)};
    }
    kernel->dot(&dot);
}

/* With codes: those, decoded by `decoder`; else the packed panel. */
static void call_outer(const time_item *item, time_memory *memory, const gmm_kernel *outer,
                       const gmm_class_codes *codes, const gmm_kernel *decoder)
{
    gmm_ahead nothing = {0};

    gmm_ahead_row(&nothing);
    outer->outer(&(gmm_outer){
        .rows = item->rows,
        .classes = GMM_CLASSES,
        .k = item->k,
        .a = memory->a,
        .b = memory->b,
        .codes = codes,
        .class_decode = decoder ? decoder->class_decode : NULL,
        .sums = memory->sums,
        .tree = memory->tree,
        .first = true,
        .last = true,
        .out = memory->out,
        .ahead = &nothing,
    });
}

/* Rows of f32 at `from`, `count` of them, into a panel. */
static void pack_16(const gmm_kernel *kernel, int64_t k, int64_t count, const float *from, float *to)
{
    const float *rows[GMM_MAX_MR];

    for (int64_t r = 0; r < count; r++)
        rows[r] = from + r * k;
    kernel->pack(&(gmm_pack){
        .rows = count,
        .classes = GMM_CLASSES,
        .k = k,
        .from = rows,
        .width = count,
        .stride = GMM_PANEL,
        .class_stride = gmm_class_stride(k, GMM_CLASSES, GMM_PANEL),
        .to = to,
    });
}

/* Weights in codes, prepared for the outer body and multiplied. */
static void call_panel(const time_item *item, time_memory *memory, const gmm_rows *w)
{
    gmm_class_codes codes = {
        .weights = &item->weights,
        .w = *w,
        .columns = TIME_COLUMNS,
        .k = item->k,
        .panel = (char *)memory->packed,
    };

    if (item->kernel) {
        item->kernel->class_fill(&codes);
        call_outer(item, memory, check_sibling(item->kernel, "outer"), &codes, item->kernel);
        return;
    }
    call_decode(item, memory, w, item->k);
    for (int64_t c = 0; c < GMM_PANEL; c += GMM_MAX_MR)
        pack_16(portable("outer"), item->k, GMM_MAX_MR, memory->panel + c * item->k, memory->b + c);
    call_outer(item, memory, portable("outer"), NULL, NULL);
}

/* Rounded rows, whose scales are some numbers, times weights in codes. */
static void call_int8(const time_item *item, time_memory *memory, const gmm_rows *w)
{
    const gmm_kernel *kernel = item->kernel ? item->kernel : portable_for("int8", item->weights.format->name);
    gmm_ahead nothing = {0};
    gmm_int8_panel panel = {
        .weights = &item->weights,
        .w = *w,
        .columns = TIME_COLUMNS,
        .k = item->k,
        .codes = (uint8_t *)memory->packed,
        .scales = memory->b,
        .biases = memory->b + PANEL_FLOATS / 2,
    };
    gmm_int8_row row = {.codes = memory->rounded, .scales = memory->x, .sums = memory->x};
    gmm_int8_outer outer = {
        .panel = &panel,
        .rows = item->rows,
        .x = {.k = item->k, .codes = memory->rounded, .factors = memory->x},
        .sums = memory->sums,
        .ahead = &nothing,
    };

    if (item->rows == 1) {
        kernel->int8->dot(&(gmm_int8_dot){.weights = &item->weights,
                                          .w = *w,
                                          .columns = TIME_COLUMNS,
                                          .k = item->k,
                                          .rows = 1,
                                          .x = &row,
                                          .out = memory->out});
        return;
    }
    gmm_ahead_row(&nothing);
    kernel->int8->fill(&panel);
    memset(memory->sums, 0, (size_t)(item->rows * GMM_PANEL) * sizeof(float)); /* else they would grow to infinity */
    kernel->int8->outer(&outer);
}

/* Rows packed as bf16 numbers, which are some numbers, times weights as they lie. */
static void call_tile(const time_item *item, time_memory *memory, const gmm_rows *w)
{
    gmm_tile_rows x;

    if (!item->kernel) {
        call_dot(item, memory, w);
        return;
    }
    x = gmm_tile_rows_for(item->kernel->tile->order, &item->weights, item->k, item->rows, 1);
    x.pairs = (char *)memory->a;
    item->kernel->tile->multiply(&(gmm_tile_call){
        .weights = &item->weights,
        .w = *w,
        .columns = TIME_COLUMNS,
        .k = item->k,
        .rows = item->rows,
        .x = &x,
        .scratch = (char *)memory->b,
        .out = memory->out,
        .out_stride = TIME_COLUMNS,
    });
}

static void call_silu(const time_item *item, time_memory *memory)
{
    const gmm_kernel *kernel = item->kernel ? item->kernel : portable("activate");

    kernel->activate(&(gmm_activate){.activation = GMM_ACTIVATION_SILU,
                                     .gate = memory->x,
                                     .up = memory->a,
                                     .out = memory->packed,
                                     .count = item->k});
}

static int64_t row_bytes(const time_item *item)
{
    return check_code_bytes(&item->weights, item->k) + check_scale_bytes(&item->weights, item->k) +
           check_bias_bytes(&item->weights, item->k);
}

/* Weight rows of a sample: new ones from the stream, or the same ones from the cache again and again. */
static gmm_rows sample_rows(const time_item *item, time_memory *memory, int64_t *count)
{
    int64_t bytes = row_bytes(item), most = (item->from_memory ? memory->stream_bytes : memory->cache_bytes) / bytes;

    *count = item->from_memory ? item->calls * TIME_COLUMNS : most;
    *count = (*count < most ? *count : most) / TIME_COLUMNS * TIME_COLUMNS;
    if (!item->from_memory)
        return weight_rows(item, memory->cache, *count);
    if (memory->cursor + *count * bytes > memory->stream_bytes)
        memory->cursor = 0;
    gmm_rows rows = weight_rows(item, memory->stream + memory->cursor, *count);
    memory->cursor += (*count * bytes + 63) / 64 * 64;
    return rows;
}

static void call_once(const time_item *item, time_memory *memory, const gmm_rows *w)
{
    const gmm_kernel *outer = item->kernel ? item->kernel : portable("outer");

    switch (item->what) {
    case TIME_DOT:
        call_dot(item, memory, w);
        break;
    case TIME_DECODE:
        call_decode(item, memory, w, 0);
        break;
    case TIME_PANEL:
        call_panel(item, memory, w);
        break;
    case TIME_INT8:
        call_int8(item, memory, w);
        break;
    case TIME_TILE:
        call_tile(item, memory, w);
        break;
    case TIME_OUTER:
        call_outer(item, memory, outer, NULL, NULL);
        break;
    case TIME_PACK:
        pack_16(outer, item->k, item->rows, memory->x, memory->packed);
        break;
    case TIME_SILU:
        call_silu(item, memory);
    }
}

double time_sample(const time_item *item, time_memory *memory)
{
    int64_t count = TIME_COLUMNS;
    gmm_rows rows = {0}, w = {0};

    if (item->weights.format)
        rows = sample_rows(item, memory, &count);
    double begin = time_now();
    for (int64_t i = 0; i < item->calls; i++) {
        if (item->weights.format)
            w = rows_from(&rows, i * TIME_COLUMNS % count);
        call_once(item, memory, &w);
    }
    return (time_now() - begin) / ((double)item->calls * item->units);
}

void time_prepare(time_item *item, time_memory *memory)
{
    double k = (double)item->k, rows = (double)item->rows, columns = TIME_COLUMNS, seconds = 0;
    bool sums =
        item->what == TIME_OUTER || item->what == TIME_PANEL || item->what == TIME_INT8 || item->what == TIME_TILE;
    bool multiplies = sums || item->what == TIME_DOT;

    item->units = sums                      ? rows * k * columns
                  : item->what == TIME_PACK ? rows * k
                  : item->what == TIME_SILU ? k
                                            : columns * k;
    item->operations = multiplies ? 2 * rows * k * columns : 0;
    if (item->weights.format)
        item->bytes = columns * (double)row_bytes(item);
    else if (item->what == TIME_PACK)
        item->bytes = sizeof(float) * rows * k;
    else if (item->what == TIME_SILU)
        item->bytes = 3 * sizeof(float) * k;
    for (item->calls = 1; seconds < sample_seconds / 4; item->calls *= 2)
        seconds = time_sample(item, memory) * item->units * (double)item->calls;
    item->calls = (int64_t)((double)item->calls / 2 * sample_seconds / seconds) + 1;
}
