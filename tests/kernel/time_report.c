/* time_report.c - the times of kernels as a table for people, and as JSON for programs. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>

#include "kernel_time.h"

static const struct {
    const char *name, *unit, *ceiling;
} whats[] = {
    [TIME_DOT] = {"dot", "weight", "fma_f32"},           [TIME_OUTER] = {"outer", "multiply-add", "fma_f32"},
    [TIME_PANEL] = {"panel", "multiply-add", "fma_f32"}, [TIME_PACK] = {"pack", "element", "fma_f32"},
    [TIME_DECODE] = {"decode", "weight", "fma_f32"},     [TIME_INT8] = {"int8", "multiply-add", "dot_int8"},
    [TIME_TILE] = {"tile", "multiply-add", "dot_bf16"},  [TIME_SILU] = {"silu", "element", "fma_f32"},
};

/* What the table and the JSON say of an item. */
typedef struct {
    char weights[32], shape[32];
    time_summary cycles, ratio; /* for a unit; portable C's time through this one's */
    double bytes, operations;   /* a second */
    const char *ceiling;        /* the one that binds; NULL: none was measured */
    double ceiling_share;
} row;

static row make_row(const time_item *item, const time_item *items, const time_ceilings *ceilings)
{
    const time_item *portable = &items[item->portable];
    double cycles[TIME_REPETITIONS], ratio[TIME_REPETITIONS];
    row r = {0};

    for (int i = 0; i < TIME_REPETITIONS; i++) {
        cycles[i] = item->seconds[i] * item->clock_hz[i];
        ratio[i] = portable->seconds[i] / item->seconds[i];
    }
    r.cycles = time_summarize(cycles);
    r.ratio = time_summarize(ratio);
    double call_seconds = time_summarize(item->seconds).median * item->units;
    r.bytes = item->bytes / call_seconds;
    r.operations = item->operations / call_seconds;
    double peak = item->what == TIME_INT8   ? ceilings->int8_ops
                  : item->what == TIME_TILE ? ceilings->bf16_flops
                                            : ceilings->fma_flops;
    double arithmetic = peak > 0 ? r.operations / peak : 0;
    double read = ceilings->read_bytes > 0 && item->from_memory ? r.bytes / ceilings->read_bytes : 0;
    if (item->operations > 0 && (arithmetic > 0 || read > 0)) {
        r.ceiling = read > arithmetic ? "read" : whats[item->what].ceiling;
        r.ceiling_share = read > arithmetic ? read : arithmetic;
    }
    if (item->weights.format && item->weights.format->has_biases)
        snprintf(r.weights, sizeof r.weights, "%s %d, groups of %d", item->weights.format->name,
                 (int)item->weights.bits, (int)item->weights.group_size);
    else
        snprintf(r.weights, sizeof r.weights, "%s", item->weights.format ? item->weights.format->name : "f32");
    if (item->what == TIME_DECODE)
        snprintf(r.shape, sizeof r.shape, "K %lld", (long long)item->k);
    else
        snprintf(r.shape, sizeof r.shape, "%lld, K %lld", (long long)item->rows, (long long)item->k);
    return r;
}

/* A number with three digits, or "-" where there is none. */
static const char *digits(double value, char text[16])
{
    if (value > 0)
        snprintf(text, 16, "%.*f", value < 0.1 ? 4 : value < 1 ? 3 : value < 10 ? 2 : value < 100 ? 1 : 0, value);
    else
        snprintf(text, 16, "-");
    return text;
}

void time_print(const time_item *items, int64_t count, const time_ceilings *ceilings)
{
    char a[16], b[16], c[16], d[16];

    printf(
        "One thread at %.2f GHz, by a chain of additions in each round; its own time, without other programs' turns.\n"
        "Medians of %d interleaved repetitions, +- half the distance of the quartiles. Cycles are for a weight (dot,\n"
        "decode), a multiply-add (outer, panel, int8, tile) or an element (pack, silu). Ceilings: fma_f32 %s GFLOP/s,\n"
        "dot_bf16 %s GFLOP/s, dot_int8 %s Gop/s, read %s GB/s.\n",
        ceilings->clock_hz * 1e-9, TIME_REPETITIONS, digits(ceilings->fma_flops * 1e-9, a),
        digits(ceilings->bf16_flops * 1e-9, d), digits(ceilings->int8_ops * 1e-9, c),
        digits(ceilings->read_bytes * 1e-9, b));
    printf("Operands from cache take %lld KiB at most", (long long)ceilings->cache_bytes >> 10);
    if (ceilings->memory_bytes)
        printf(", weights from memory stream through %lld MiB", (long long)ceilings->memory_bytes >> 20);
    printf(".\n\n%-22s %-6s %-22s %-12s %-6s %7s %6s %10s %6s %6s %7s  %s\n", "kernel", "does", "weights", "shape",
           "from", "cycles", "+-", "x portable", "+-", "GB/s", "GFLOP/s", "share of ceiling");
    for (int64_t i = 0; i < count; i++) {
        const time_item *item = &items[i];
        if (!item->kernel)
            continue;
        row r = make_row(item, items, ceilings);
        printf("%-22s %-6s %-22s %-12s %-6s %7s %5.1f%% %10s %5.1f%% %6s %7s", item->kernel->name,
               whats[item->what].name, r.weights, r.shape, item->from_memory ? "memory" : "cache",
               digits(r.cycles.median, a), 50 * r.cycles.spread, digits(r.ratio.median, b), 50 * r.ratio.spread,
               digits(r.bytes * 1e-9, c), digits(r.operations * 1e-9, d));
        if (r.ceiling)
            printf("  %3.0f %% of %s", 100 * r.ceiling_share, r.ceiling);
        putchar('\n');
    }
}

/* One call for each member: jansson's packer takes any number of arguments of any type, and no compiler checks them. */
static json_t *row_json(const time_item *item, const row *r)
{
    json_t *object = json_object();

    json_object_set_new(object, "kernel", json_string(item->kernel->name));
    json_object_set_new(object, "does", json_string(whats[item->what].name));
    json_object_set_new(object, "weights", json_string(r->weights));
    json_object_set_new(object, "rows", json_integer(item->rows));
    json_object_set_new(object, "k", json_integer(item->k));
    json_object_set_new(object, "from", json_string(item->from_memory ? "memory" : "cache"));
    json_object_set_new(object, "unit", json_string(whats[item->what].unit));
    json_object_set_new(object, "cycles", json_real(r->cycles.median));
    json_object_set_new(object, "cycles_spread", json_real(r->cycles.spread));
    json_object_set_new(object, "portable_ratio", json_real(r->ratio.median));
    json_object_set_new(object, "portable_ratio_spread", json_real(r->ratio.spread));
    json_object_set_new(object, "gbytes_s", json_real(r->bytes * 1e-9));
    json_object_set_new(object, "gflop_s", json_real(r->operations * 1e-9));
    if (r->ceiling) {
        json_object_set_new(object, "ceiling", json_string(r->ceiling));
        json_object_set_new(object, "ceiling_share", json_real(r->ceiling_share));
    }
    return object;
}

bool time_write_json(const time_item *items, int64_t count, const time_ceilings *ceilings, FILE *file)
{
    json_t *all = json_object(), *rows = json_array();

    for (int64_t i = 0; i < count; i++)
        if (items[i].kernel) {
            row r = make_row(&items[i], items, ceilings);
            json_array_append_new(rows, row_json(&items[i], &r));
        }
    json_object_set_new(all, "clock_ghz", json_real(ceilings->clock_hz * 1e-9));
    json_object_set_new(all, "fma_f32_gflop_s", json_real(ceilings->fma_flops * 1e-9));
    json_object_set_new(all, "dot_bf16_gflop_s", json_real(ceilings->bf16_flops * 1e-9));
    json_object_set_new(all, "dot_int8_gop_s", json_real(ceilings->int8_ops * 1e-9));
    json_object_set_new(all, "read_gbytes_s", json_real(ceilings->read_bytes * 1e-9));
    json_object_set_new(all, "memory_bytes", json_integer(ceilings->memory_bytes));
    json_object_set_new(all, "cache_bytes", json_integer(ceilings->cache_bytes));
    json_object_set_new(all, "repetitions", json_integer(TIME_REPETITIONS));
    json_object_set_new(all, "rows", rows);
    bool written = json_dumpf(all, file, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) == 0 && putc('\n', file) != EOF &&
                   fflush(file) == 0;

    json_decref(all);
    return written;
}
