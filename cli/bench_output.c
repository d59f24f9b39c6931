/* bench_output.c - rows as a table for people, as JSON and as CSV. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "gathermm/ceilings.h"
#include "json_file.h"
#include "output.h"

/* ---- for people -------------------------------------------------------------------------------------------------- */

char *bench_time_text(double seconds, char text[24])
{
    if (seconds < 1e-3)
        snprintf(text, 24, "%.1f us", seconds * 1e6);
    else
        snprintf(text, 24, seconds < 1 ? "%.3f ms" : "%.3f s", seconds < 1 ? seconds * 1e3 : seconds);
    return text;
}

void bench_print_titles(FILE *to, const bench_row *row)
{
    const bench_shape *s = row->shape;

    fprintf(to, "\n%s%s: K %" PRId64 ", N %" PRId64 ", %d experts, top %d, %s weights\n", s->name,
            row->layer ? ", whole layers" : "", s->k, s->n, (int)s->experts, (int)s->top_k, row->weights);
    if (row->layer) {
        fprintf(to, "%-11s %-5s %-5s %6s %3s %11s %6s %11s %6s %6s %7s %8s %7s  %s\n", "format", "acts", "mode",
                "tokens", "thr", "median", "spread", "3 products", "ratio", "spread", "GB/s", "GFLOP/s", "error",
                "share of ceiling");
        return;
    }
    fprintf(to, "%-11s %-5s %-5s %6s %3s %11s %6s %7s %8s %7s  %s\n", "format", "acts", "mode", "tokens", "thr",
            "median", "spread", "GB/s", "GFLOP/s", "error", "share of ceiling");
}

void bench_print_row(FILE *to, const bench_row *row)
{
    char median[24], products[24], error[16] = "-";

    if (row->mode->arithmetic != GMM_ARITHMETIC_F32)
        snprintf(error, sizeof error, "%.1e", row->error);
    fprintf(to, "%-11s %-5s %-5s %6d %3d %11s %5.1f%% ", row->format->name, row->activations->name, row->mode->name,
            (int)row->tokens, (int)row->threads, bench_time_text(row->median_s, median), row->spread * 100);
    if (row->layer)
        fprintf(to, "%11s %6.3f %5.1f%% ", bench_time_text(row->products_s, products), row->ratio,
                row->ratio_spread * 100);
    fprintf(to, "%7.2f %8.1f %7s %5.1f%% %s\n", bench_gbytes_s(row), bench_gflop_s(row), error,
            row->ceiling_share * 100, row->ceiling ? row->ceiling : "");
    if (row->blas_ratio > 0)
        fprintf(to, "%-11s %.2f times as long through the BLAS\n", "", row->blas_ratio);
    fflush(to);
}

void bench_print_ceilings(FILE *to, const bench_ceilings *c)
{
    gmm_ceiling_info info;

    fprintf(to, "%d thread%s:", (int)c->threads, c->threads == 1 ? "" : "s");
    for (size_t i = 0, shown = 0; i < BENCH_MAX_CEILINGS && gmm_ceiling_at(c->context, i, &info); i++)
        if (info.usable)
            fprintf(to, "%s %s %.1f (best %.1f) %s", shown++ ? "," : "", info.name, c->total[i] / c->measurements,
                    c->best[i], info.unit);
    fprintf(to, "\n");
}

/* ---- for programs ------------------------------------------------------------------------------------------------ */

/* Six significant digits: more would be noise. */
static json_t *number(double value)
{
    char text[32];

    snprintf(text, sizeof text, "%.6g", value);
    return json_real(strtod(text, NULL));
}

const char *bench_work(const bench_row *row)
{
    return row->layer ? "layer" : "product";
}

json_t *bench_row_json(const bench_row *row)
{
    const bench_shape *s = row->shape;

    json_t *object = json_pack(
        "{s:s, s:I, s:I, s:i, s:i, s:I, s:i, s:s, s:s, s:s, s:s, s:s, s:b, s:i, s:i, s:o, s:o, s:o, "
        "s:o, s:o, s:o, "
        "s:s, s:o, s:o, s:o, s:s}",
        "preset", s->name, "k", (json_int_t)s->k, "n", (json_int_t)s->n, "experts", (int)s->experts, "top_k",
        (int)s->top_k, "experts_held", (json_int_t)row->experts_held, "tokens", (int)row->tokens, "format",
        row->format->name, "activations", row->activations->name, "mode", row->mode->name, "weights", row->weights,
        "layout", row->layout, "in_cache", row->in_cache, "threads", (int)row->threads, "repetitions",
        (int)row->repetitions, "median_s", number(row->median_s), "min_s", number(row->min_s), "spread",
        number(row->spread), "gbytes_s", number(bench_gbytes_s(row)), "gflop_s", number(bench_gflop_s(row)), "error",
        number(row->error), "ceiling", row->ceiling ? row->ceiling : "", "ceiling_rate", number(row->ceiling_rate),
        "ceiling_share", number(row->ceiling_share), "blas_ratio", number(row->blas_ratio), "work", bench_work(row));
    if (row->layer) {
        json_object_set_new(object, "products_s", number(row->products_s));
        json_object_set_new(object, "ratio", number(row->ratio));
        json_object_set_new(object, "ratio_spread", number(row->ratio_spread));
    }
    return object;
}

void bench_write_json(FILE *to, const bench_row *rows, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, bench_row_json(&rows[i]));
    char *text = json_print_text(list, 2);
    fprintf(to, "%s\n", text ? text : "[]");
    free(text);
    json_decref(list);
}

/* Values are numbers, true, false and words without commas or quotes. */
void bench_write_csv(FILE *to, const bench_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *object = bench_row_json(&rows[i]), *value;
        const char *key, *comma = "";
        if (i == 0) {
            json_object_foreach(object, key, value)
            {
                fprintf(to, "%s%s", comma, key);
                comma = ",";
            }
            fprintf(to, "\n");
            comma = "";
        }
        json_object_foreach(object, key, value)
        {
            fputs(comma, to);
            comma = ",";
            if (json_is_string(value))
                fputs(json_string_value(value), to);
            else
                json_dumpf(value, to, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        }
        fprintf(to, "\n");
        json_decref(object);
    }
}
