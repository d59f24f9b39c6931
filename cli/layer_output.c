/* layer_output.c - layers and their rows for people, and rows as JSON. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json_file.h"
#include "layer.h"
#include "output.h"

static void print_routing(FILE *to, const gmm_checkpoint_layer *l)
{
    if (l->routing == GMM_CHECKPOINT_SOFTMAX_TOPK)
        fprintf(to, "softmax, then the best %d\n", (int)l->top_k);
    else if (l->routing == GMM_CHECKPOINT_TOPK_SOFTMAX)
        fprintf(to, "the best %d, then softmax\n", (int)l->top_k);
    else if (l->n_group > 1)
        fprintf(to, "sigmoid, the best %d of the best %d groups of %d\n", (int)l->top_k, (int)l->topk_group,
                (int)l->n_group);
    else
        fprintf(to, "sigmoid, the best %d\n", (int)l->top_k);
}

static const char *origin(const gmm_checkpoint_layer *layer)
{
    if (strcmp(layer->layout, "gguf") == 0)
        return "in GGUF";
    return strcmp(layer->layout, "mlx") == 0 ? "as converted by mlx-lm" : "as published";
}

void layer_print_facts(FILE *to, const layer_facts *f)
{
    const gmm_checkpoint_layer *l = f->layer;
    char bytes[24], resident[24], owned[24];
    double even = log2((double)l->experts);

    fprintf(to, "\nlayer %" PRId64 ": %s %s, %s, %s\n", l->number, l->family, origin(l), f->format,
            bytes_text((uint64_t)l->file_bytes, bytes));
    fprintf(to, "  %" PRId64 " experts of %" PRId64 " x %" PRId64, l->experts, l->hidden, l->intermediate);
    if (l->shared_intermediate)
        fprintf(to, ", a shared one of %" PRId64, l->shared_intermediate);
    fprintf(to, "; ");
    print_routing(to, l);
    fprintf(to,
            "  %" PRId64 " tokens go to %" PRId64 " of %" PRId64
            " experts, the busiest has %.2f even shares, entropy %.2f of %.2f bits\n",
            f->routing_tokens, f->experts_used, l->experts, f->busiest, f->entropy, even);
    if (f->resident >= 0)
        fprintf(to, "  in memory: %s of the files", bytes_text((uint64_t)f->resident, resident));
    else
        fprintf(to, "  in memory: the system does not tell how much of the files");
    fprintf(to, ", %s of its own\n", bytes_text((uint64_t)f->owned, owned));
    if (f->undecided)
        fprintf(to, "  %" PRId64 " of %" PRId64 " tokens not checked: f32 may choose other experts for them\n",
                f->undecided, f->undecided + f->checked);
}

void layer_print_titles(FILE *to)
{
    fprintf(to, "  %-18s %10s %6s %11s %6s %10s %7s %8s %6s  %s\n", "format", "experts", "tokens", "median", "spread",
            "tokens/s", "GB/s", "error", "bound", "share of ceiling");
}

void layer_print_row(FILE *to, const layer_row *row)
{
    char median[24], bytes[24], error[16] = "-", bound[16] = "-", format[48];

    snprintf(format, sizeof format, "%s%s", row->format, row->stored ? ", stored" : "");
    if (row->facts->checked) {
        snprintf(error, sizeof error, "%.1e", row->error);
        snprintf(bound, sizeof bound, "%.2f%%", row->bound_ratio * 100);
    }
    fprintf(to, "  %-18s %10s %6d %11s %5.1f%% %10.0f %7.2f %8s %6s %5.1f%% %s\n", format,
            bytes_text((uint64_t)row->expert_bytes, bytes), (int)row->tokens, bench_time_text(row->median_s, median),
            row->spread * 100, layer_tokens_s(row), layer_gbytes_s(row), error, bound, row->ceiling_share * 100,
            row->ceiling ? row->ceiling : "");
    fflush(to);
}

size_t *layer_order(const layer_row *rows, size_t count)
{
    size_t *order = must_allocate(count + 1, sizeof *order), done = 0;

    for (size_t first = 0; first < count; first++) {
        bool seen = false;
        for (size_t i = 0; i < first; i++)
            seen |= rows[i].tokens == rows[first].tokens;
        for (size_t i = first; !seen && i < count; i++)
            if (rows[i].tokens == rows[first].tokens)
                order[done++] = i;
    }
    return order;
}

/* Do the rows stand for the same in different layers? What is stored may have formats of its own. */
static bool alike(const layer_row *a, const layer_row *b)
{
    return a->tokens == b->tokens && a->stored == b->stored && (a->stored || !strcmp(a->format, b->format));
}

void layer_print_sums(FILE *to, const layer_row *rows, size_t count, size_t layer_count)
{
    if (layer_count < 2)
        return;
    fprintf(to, "\nall %zu layers, one after the other:\n", layer_count);
    layer_print_titles(to);
    size_t of_one = 0;
    while (of_one < count && rows[of_one].facts == rows[0].facts)
        of_one++;
    size_t *order = layer_order(rows, of_one);
    for (size_t at = 0; at < of_one; at++) {
        size_t i = order[at];
        const layer_row *first = &rows[i];
        layer_row sum = *first;
        size_t found = 1;
        double squares = first->error * first->error, needed = first->ceiling_share * first->median_s;
        double spread = first->spread * first->median_s;
        for (size_t j = i + 1; j < count; j++) {
            const layer_row *row = &rows[j];
            if (!alike(first, row))
                continue;
            found++;
            sum.expert_bytes += row->expert_bytes;
            sum.median_s += row->median_s;
            sum.bytes += row->bytes;
            sum.bound_ratio = fmax(sum.bound_ratio, row->bound_ratio);
            squares += row->error * row->error;
            spread += row->spread * row->median_s;
            needed += row->ceiling_share * row->median_s;
            if (strcmp(sum.format, row->format) != 0)
                snprintf(sum.format, sizeof sum.format, "mixed");
            if (sum.ceiling && row->ceiling && strcmp(sum.ceiling, row->ceiling) != 0)
                sum.ceiling = "mixed";
        }
        sum.error = sqrt(squares / (double)found);
        sum.spread = spread / sum.median_s;
        sum.ceiling_share = needed / sum.median_s;
        if (found == layer_count)
            layer_print_row(to, &sum);
    }
    free(order);
}

/* Six significant digits: more would be noise. */
static json_t *number(double value)
{
    char text[32];

    snprintf(text, sizeof text, "%.6g", value);
    return json_real(strtod(text, NULL));
}

static json_t *row_json(const layer_row *row)
{
    const layer_facts *f = row->facts;
    const gmm_checkpoint_layer *l = f->layer;
    json_t *object =
        json_pack("{s:I, s:s, s:s, s:I, s:i, s:I, s:I, s:I, s:s, s:I, s:s, s:b, s:I, s:i, s:i, s:i}", "layer",
                  (json_int_t)l->number, "family", l->family, "layout", l->layout, "experts", (json_int_t)l->experts,
                  "top_k", (int)l->top_k, "hidden", (json_int_t)l->hidden, "intermediate", (json_int_t)l->intermediate,
                  "shared_intermediate", (json_int_t)l->shared_intermediate, "file_format", f->format, "file_bytes",
                  (json_int_t)l->file_bytes, "format", row->format, "stored", row->stored, "expert_bytes",
                  (json_int_t)row->expert_bytes, "tokens", (int)row->tokens, "threads", (int)row->threads,
                  "repetitions", (int)row->repetitions);
    json_t *rest =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:I}",
                  "median_s", number(row->median_s), "min_s", number(row->min_s), "spread", number(row->spread),
                  "tokens_s", number(layer_tokens_s(row)), "gbytes_s", number(layer_gbytes_s(row)), "ceiling",
                  row->ceiling ? row->ceiling : "", "ceiling_rate", number(row->ceiling_rate), "ceiling_share",
                  number(row->ceiling_share), "error", f->checked ? number(row->error) : json_null(), "bound_ratio",
                  f->checked ? number(row->bound_ratio) : json_null(), "checked_tokens", (json_int_t)f->checked,
                  "undecided_tokens", (json_int_t)f->undecided, "routing_tokens", (json_int_t)f->routing_tokens,
                  "experts_used", (json_int_t)f->experts_used, "busiest", number(f->busiest), "entropy_bits",
                  number(f->entropy), "resident_bytes", f->resident >= 0 ? json_integer(f->resident) : json_null(),
                  "owned_bytes", (json_int_t)f->owned);

    json_object_update(object, rest);
    json_decref(rest);
    return object;
}

void layer_write_json(FILE *to, const layer_row *rows, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, row_json(&rows[i]));
    char *text = json_print_text(list, 2);
    fprintf(to, "%s\n", text ? text : "[]");
    free(text);
    json_decref(list);
}
