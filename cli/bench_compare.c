/* bench_compare.c - this run's rows against those of an earlier one. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "output.h"

/* What makes two rows the same work. */
static const char *const keys[] = {"preset", "k",           "n",    "experts", "top_k",  "experts_held", "tokens",
                                   "format", "activations", "mode", "weights", "layout", "in_cache",     "threads"};

json_t *bench_load_rows(const char *path)
{
    json_error_t error;
    json_t *rows = json_load_file(path, JSON_REJECT_DUPLICATES, &error);

    if (!rows) {
        char *shown = escape_text(path), *text = escape_text(error.text);
        if (error.line > 0)
            complain("%s: line %d, column %d: %s", shown, error.line, error.column, text);
        else
            complain("%s", text);
        free(shown);
        free(text);
        return NULL;
    }
    bool fits = json_is_array(rows);
    for (size_t i = 0; fits && i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        fits = json_number_value(json_object_get(row, "median_s")) > 0 &&
               json_is_number(json_object_get(row, "spread")) && json_is_number(json_object_get(row, "ceiling_rate"));
    }
    if (fits)
        return rows;
    char *shown = escape_text(path);
    complain("%s: not the rows that `gathermm bench --json` writes", shown);
    free(shown);
    json_decref(rows);
    return NULL;
}

static double value_of(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

/* "product" or "layer"; rows of before there were layers do not say. */
static const char *work_of(const json_t *row)
{
    const char *work = json_string_value(json_object_get(row, "work"));

    return work ? work : "product";
}

/* The earlier row of the same work; NULL if there is none. */
static const json_t *same_work(const json_t *old, const json_t *row)
{
    for (size_t i = 0; i < json_array_size(old); i++) {
        const json_t *candidate = json_array_get(old, i);
        size_t same = 0;
        if (strcmp(work_of(candidate), work_of(row)) != 0)
            continue;
        while (same < sizeof keys / sizeof keys[0] &&
               json_equal(json_object_get(candidate, keys[same]), json_object_get(row, keys[same])))
            same++;
        if (same == sizeof keys / sizeof keys[0])
            return candidate;
    }
    return NULL;
}

/* How far the ratio may be from 1 without meaning anything: the spread of each run, and how much the machine itself
 * (the ceiling that binds) has changed between them. */
static double noise_of(const json_t *before, const json_t *now)
{
    const json_t *ceiling_before = json_object_get(before, "ceiling"), *ceiling_now = json_object_get(now, "ceiling");
    double noise = value_of(before, "spread") + value_of(now, "spread");

    if (json_equal(ceiling_before, ceiling_now) && value_of(before, "ceiling_rate") > 0)
        noise += fabs(value_of(now, "ceiling_rate") / value_of(before, "ceiling_rate") - 1);
    return noise;
}

size_t bench_compare(FILE *to, const json_t *old, const bench_row *rows, size_t count)
{
    size_t slower = 0, faster = 0, matched = 0;

    fprintf(to, "\n%-16s %-11s %-5s %-5s %6s %3s %11s %11s %6s %6s\n", "preset", "format", "acts", "mode", "tokens",
            "thr", "old median", "new median", "ratio", "noise");
    for (size_t i = 0; i < count; i++) {
        const bench_row *row = &rows[i];
        json_t *now = bench_row_json(row);
        const json_t *before = same_work(old, now);
        if (before) {
            char old_text[24], new_text[24];
            double ratio = value_of(before, "median_s") / value_of(now, "median_s"), noise = noise_of(before, now);
            bool is_slower = ratio<1 / (1 + noise), is_faster = ratio> 1 + noise;
            fprintf(to, "%-16s %-11s %-5s %-5s %6d %3d %11s %11s %6.3f %5.1f%%%s\n", row->shape->name,
                    row->format->name, row->activations->name, row->mode->name, (int)row->tokens, (int)row->threads,
                    bench_time_text(value_of(before, "median_s"), old_text),
                    bench_time_text(value_of(now, "median_s"), new_text), ratio, noise * 100,
                    is_slower   ? " slower"
                    : is_faster ? " faster"
                                : "");
            matched++;
            slower += is_slower;
            faster += is_faster;
        }
        json_decref(now);
    }
    fprintf(to,
            "ratio: old median / new median, above 1 is faster now. %zu of %zu rows compared: %zu slower and %zu\n"
            "faster beyond the noise (the spread of both runs, and how far the ceiling has moved between them)\n",
            matched, count, slower, faster);
    return slower;
}
