/* bench_plot.c - a roofline as SVG: operations a byte to the right, GFLOP/s up, a panel for each number of threads. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "bench.h"
#include "gathermm/ceilings.h"

enum {
    PANEL_WIDTH = 620,
    PANEL_HEIGHT = 400,
    LEFT = 64, /* margins of a panel, for its labels */
    RIGHT = 92,
    TOP = 48,
    BOTTOM = 52,
    LEGEND_WIDTH = 150,
    LINE = 17
};

/* In the order in which formats first appear: far apart in hue and lightness (from Paul Tol's schemes). */
static const char *const colors[] = {"#222222", "#777777", "#332288", "#4477aa", "#66ccee", "#117733",
                                     "#44aa99", "#999933", "#ddaa33", "#cc6677", "#882255", "#aa4499"};

#define COLOR_COUNT (sizeof colors / sizeof colors[0])

/* Logarithmic axes that hold all points and roofs, in whole decades. */
typedef struct plot {
    FILE *to;
    const bench_row *rows;
    size_t count;
    double x_low, x_high, y_low, y_high; /* powers of ten */
    double left;                         /* of the panel at hand */
} plot;

static double intensity(const bench_row *row)
{
    return row->operations / row->bytes;
}

static double x_at(const plot *p, double value)
{
    return p->left + LEFT + (log10(value) - p->x_low) / (p->x_high - p->x_low) * (PANEL_WIDTH - LEFT - RIGHT);
}

static double y_at(const plot *p, double value)
{
    return PANEL_HEIGHT - BOTTOM - (log10(value) - p->y_low) / (p->y_high - p->y_low) * (PANEL_HEIGHT - TOP - BOTTOM);
}

static double ceiling_of(const bench_ceilings *c, size_t i)
{
    return c->measurements ? c->total[i] / c->measurements : 0;
}

/* A ceiling of arithmetic, but for int8 operations, which are of another kind. */
static bool is_roof(const gmm_ceiling_info *info)
{
    return info->usable && !strcmp(info->unit, "GFLOP/s");
}

/* The ceilings that roofs are drawn of, the mean of a run. */
typedef struct roofs {
    double read, highest; /* GB/s, and the highest of arithmetic in GFLOP/s */
} roofs;

static roofs roofs_of(const bench_ceilings *c)
{
    gmm_ceiling_info info;
    roofs found = {0};

    for (size_t i = 0; i < BENCH_MAX_CEILINGS && gmm_ceiling_at(c->context, i, &info); i++) {
        if (!strcmp(info.name, "read"))
            found.read = ceiling_of(c, i);
        else if (is_roof(&info))
            found.highest = fmax(found.highest, ceiling_of(c, i));
    }
    return found;
}

/* All points, and all roofs with a piece where they are level. */
static void find_range(plot *p, const bench_ceilings *ceilings, size_t thread_count)
{
    p->x_low = p->y_low = 300;
    p->x_high = p->y_high = -300;
    for (size_t i = 0; i < p->count; i++) {
        p->x_low = fmin(p->x_low, floor(log10(intensity(&p->rows[i]))));
        p->x_high = fmax(p->x_high, ceil(log10(intensity(&p->rows[i]))));
        p->y_low = fmin(p->y_low, floor(log10(bench_gflop_s(&p->rows[i]))));
    }
    for (size_t t = 0; t < thread_count; t++) {
        roofs found = roofs_of(&ceilings[t]);
        p->x_high = fmax(p->x_high, ceil(log10(found.highest / found.read) + 0.3));
        p->y_high = fmax(p->y_high, ceil(log10(found.highest)));
    }
}

/* ---- marks and colours ------------------------------------------------------------------------------------------- */

/* Which of the distinct formats (or activations) of all rows this row has. */
static size_t format_number(const plot *p, const bench_row *row)
{
    size_t number = 0;

    for (size_t i = 0; i < p->count; i++) {
        bool seen = false;
        if (!strcmp(p->rows[i].format->name, row->format->name))
            return number;
        for (size_t j = 0; j < i; j++)
            seen |= !strcmp(p->rows[j].format->name, p->rows[i].format->name);
        number += !seen;
    }
    return number;
}

static void draw_mark(const plot *p, gmm_dtype activations, double x, double y, const char *color)
{
    switch (activations) {
    case GMM_F32:
        fprintf(p->to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>", x, y, color);
        break;
    case GMM_BF16:
        fprintf(p->to, "<rect x=\"%.1f\" y=\"%.1f\" width=\"7\" height=\"7\" fill=\"%s\"/>", x - 3.5, y - 3.5, color);
        break;
    default:
        fprintf(p->to, "<path d=\"M%.1f %.1fl4.5 8h-9z\" fill=\"%s\"/>", x, y - 5, color);
    }
}

/* ---- a panel ----------------------------------------------------------------------------------------------------- */

static bool one_shape(const plot *p)
{
    for (size_t i = 1; i < p->count; i++)
        if (p->rows[i].shape != p->rows[0].shape)
            return false;
    return true;
}

static void draw_axes(const plot *p, int32_t threads)
{
    double left = pow(10, p->x_low), right = pow(10, p->x_high), low = pow(10, p->y_low), high = pow(10, p->y_high);

    for (double decade = p->x_low; decade <= p->x_high; decade++)
        for (int i = 1; i < 10 && (i == 1 || decade < p->x_high); i++)
            fprintf(p->to, "<path d=\"M%.1f %.1fV%.1f\" class=\"%s\"/>\n", x_at(p, i * pow(10, decade)), y_at(p, low),
                    y_at(p, high), i == 1 ? "decade" : "grid");
    for (double decade = p->y_low; decade <= p->y_high; decade++)
        for (int i = 1; i < 10 && (i == 1 || decade < p->y_high); i++)
            fprintf(p->to, "<path d=\"M%.1f %.1fH%.1f\" class=\"%s\"/>\n", x_at(p, left), y_at(p, i * pow(10, decade)),
                    x_at(p, right), i == 1 ? "decade" : "grid");
    for (double decade = p->x_low; decade <= p->x_high; decade++)
        fprintf(p->to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g</text>\n", x_at(p, pow(10, decade)),
                y_at(p, low) + 16, pow(10, decade));
    for (double decade = p->y_low; decade <= p->y_high; decade++)
        fprintf(p->to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", x_at(p, left) - 6,
                y_at(p, pow(10, decade)) + 4, pow(10, decade));
    fprintf(p->to, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">operations per byte</text>\n",
            (x_at(p, left) + x_at(p, right)) / 2, PANEL_HEIGHT - 14);
    fprintf(p->to, "<text transform=\"translate(%.1f %.1f) rotate(-90)\" text-anchor=\"middle\">GFLOP/s</text>\n",
            p->left + 16, (y_at(p, low) + y_at(p, high)) / 2);
    fprintf(p->to, "<text x=\"%.1f\" y=\"%d\" class=\"title\">%s, %d thread%s</text>\n", x_at(p, left), TOP - 14,
            one_shape(p) ? p->rows[0].shape->name : "all shapes", (int)threads, threads == 1 ? "" : "s");
}

/* The roof of reading, as far as the highest of arithmetic, with its name along it; those of arithmetic have theirs in
 * the margin, where no point is. */
static void draw_roofs(const plot *p, const bench_ceilings *c)
{
    const roofs found = roofs_of(c);
    const double left = pow(10, p->x_low), right = pow(10, p->x_high);
    const double from = fmax(left, pow(10, p->y_low) / found.read), to = found.highest / found.read;
    double last_label = -100;
    gmm_ceiling_info info;

    for (size_t i = 0; i < BENCH_MAX_CEILINGS && gmm_ceiling_at(c->context, i, &info); i++) {
        double rate = ceiling_of(c, i), y = y_at(p, rate), label = y + 4;
        if (!is_roof(&info) || !(rate > 0))
            continue;
        if (fabs(label - last_label) < LINE - 2)
            label = last_label + (label < last_label ? 2 - LINE : LINE - 2);
        last_label = label;
        fprintf(p->to, "<path d=\"M%.1f %.1fH%.1f\" class=\"roof\"/>\n", x_at(p, fmax(rate / found.read, left)), y,
                x_at(p, right));
        fprintf(p->to, "<text x=\"%.1f\" y=\"%.1f\">%s %.0f</text>\n", x_at(p, right) + 6, label, info.name, rate);
    }
    double x0 = x_at(p, from), y0 = y_at(p, from * found.read), x1 = x_at(p, to), y1 = y_at(p, to * found.read);
    fprintf(p->to, "<path d=\"M%.1f %.1fL%.1f %.1f\" class=\"roof\"/>\n", x0, y0, x1, y1);
    fprintf(p->to,
            "<text transform=\"translate(%.1f %.1f) rotate(%.1f)\" y=\"-6\" text-anchor=\"middle\" "
            "class=\"halo\">read %.1f GB/s</text>\n",
            (x0 + x1) / 2, (y0 + y1) / 2, atan2(y1 - y0, x1 - x0) * 57.29577951, found.read);
}

static void draw_points(const plot *p, int32_t threads)
{
    for (size_t i = 0; i < p->count; i++) {
        const bench_row *row = &p->rows[i];
        char median[24];
        if (row->threads != threads)
            continue;
        fprintf(p->to, "<g><title>%s, %s%s, x %s, %s, tokens %d: %s, %.1f GB/s, %.1f GFLOP/s, %.1f%% of %s</title>",
                row->shape->name, row->layer ? "whole layer, " : "", row->format->name, row->activations->name,
                row->mode->name, (int)row->tokens, bench_time_text(row->median_s, median), bench_gbytes_s(row),
                bench_gflop_s(row), row->ceiling_share * 100, row->ceiling);
        draw_mark(p, row->activations->dtype, x_at(p, intensity(row)), y_at(p, bench_gflop_s(row)),
                  colors[format_number(p, row) % COLOR_COUNT]);
        fprintf(p->to, "</g>\n");
    }
}

/* Formats by colour, then activations by shape. */
static void draw_legend(const plot *p)
{
    double x = p->left + 8, y = TOP + 6;
    size_t shown = 0;

    fprintf(p->to, "<text x=\"%.1f\" y=\"%.1f\" class=\"title\">weights</text>\n", x, y - 20);
    for (size_t i = 0; i < p->count; i++)
        if (format_number(p, &p->rows[i]) == shown) {
            draw_mark(p, GMM_BF16, x + 4, y - 4, colors[shown++ % COLOR_COUNT]);
            fprintf(p->to, "<text x=\"%.1f\" y=\"%.1f\">%s</text>\n", x + 16, y, p->rows[i].format->name);
            y += LINE;
        }
    y += 2 * LINE;
    fprintf(p->to, "<text x=\"%.1f\" y=\"%.1f\" class=\"title\">activations</text>\n", x, y - 20);
    for (size_t i = 0; i < p->count; i++) {
        bool seen = false;
        for (size_t j = 0; j < i; j++)
            seen |= p->rows[j].activations == p->rows[i].activations;
        if (seen)
            continue;
        draw_mark(p, p->rows[i].activations->dtype, x + 4, y - 4, "#555555");
        fprintf(p->to, "<text x=\"%.1f\" y=\"%.1f\">%s</text>\n", x + 16, y, p->rows[i].activations->name);
        y += LINE;
    }
}

void bench_plot(FILE *to, const bench_row *rows, size_t count, const bench_ceilings *ceilings, size_t thread_count)
{
    plot p = {.to = to, .rows = rows, .count = count};
    int width = (int)thread_count * PANEL_WIDTH + LEGEND_WIDTH;

    find_range(&p, ceilings, thread_count);
    fprintf(to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n"
            "<style>.grid{stroke:#eee}.decade{stroke:#ccc}.roof{stroke:#000;stroke-width:1.5;fill:none}"
            ".title{font-weight:bold;font-size:13px}.halo{paint-order:stroke;stroke:#fff;stroke-width:4px}</style>\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            width, PANEL_HEIGHT, width, PANEL_HEIGHT);
    for (size_t t = 0; t < thread_count; t++, p.left += PANEL_WIDTH) {
        draw_axes(&p, ceilings[t].threads);
        draw_roofs(&p, &ceilings[t]);
        draw_points(&p, ceilings[t].threads);
    }
    draw_legend(&p);
    fprintf(to, "</svg>\n");
}
