/* layer_plot.c - error against speed as SVG: tokens a second to the right, error up, a panel for each number of tokens.
 */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "layer.h"

enum {
    PANEL_WIDTH = 460,
    PANEL_HEIGHT = 400,
    LEFT = 70, /* margins of a panel, for its labels */
    RIGHT = 24,
    TOP = 48,
    BOTTOM = 52,
    LEGEND_WIDTH = 130,
    LINE = 17,
    LEAST_APART = 48 /* names of speeds */
};

/* Far apart in hue and lightness (from Paul Tol's schemes); the first is for what is stored. */
static const char *const colors[] = {"#222222", "#4477aa", "#cc6677", "#117733", "#ddaa33", "#882255",
                                     "#66ccee", "#999933", "#aa4499", "#332288", "#44aa99", "#777777"};

#define COLOR_COUNT (sizeof colors / sizeof colors[0])

/* Logarithmic axes; speed has a range of its own in each panel. */
typedef struct plot {
    FILE *to;
    const layer_row *rows;
    size_t count;
    double x_low, x_high, y_low, y_high; /* powers of ten */
    double left;                         /* of the panel at hand */
} plot;

/* No error at all is drawn where nothing that is off by a bit can be. */
static double error_of(const layer_row *row)
{
    return fmax(row->error, 1e-9);
}

static double x_at(const plot *p, double value)
{
    return p->left + LEFT + (log10(value) - p->x_low) / (p->x_high - p->x_low) * (PANEL_WIDTH - LEFT - RIGHT);
}

static double y_at(const plot *p, double value)
{
    return PANEL_HEIGHT - BOTTOM - (log10(value) - p->y_low) / (p->y_high - p->y_low) * (PANEL_HEIGHT - TOP - BOTTOM);
}

/* Whole decades. What is stored is off by f32's rounding alone, decades below all else: next to other formats it stands
 * on the lower edge, and its error in the legend. */
static void find_errors(plot *p)
{
    bool others = false;

    for (size_t i = 0; i < p->count; i++)
        others |= !p->rows[i].stored;
    p->y_low = 0;
    p->y_high = -9;
    for (size_t i = 0; i < p->count; i++) {
        if (others && p->rows[i].stored)
            continue;
        p->y_low = fmin(p->y_low, floor(log10(error_of(&p->rows[i])) - (others ? 0.3 : 0)));
        p->y_high = fmax(p->y_high, ceil(log10(error_of(&p->rows[i])) + 0.05));
    }
    p->y_high = fmax(p->y_high, p->y_low + 1);
}

static double mark_at(const plot *p, const layer_row *row)
{
    return y_at(p, fmax(error_of(row), pow(10, p->y_low)));
}

/* A panel's speeds, with room on both sides: whole decades would leave most of it empty. */
static void find_speeds(plot *p, int32_t tokens)
{
    p->x_low = 300;
    p->x_high = -300;
    for (size_t i = 0; i < p->count; i++) {
        double speed = log10(layer_tokens_s(&p->rows[i]));
        if (p->rows[i].tokens != tokens)
            continue;
        p->x_low = fmin(p->x_low, speed - 0.1);
        p->x_high = fmax(p->x_high, speed + 0.1);
    }
}

/* The number of a format in the order in which they appear; what is stored is 0 in every layer. */
static size_t format_number(const plot *p, const layer_row *row)
{
    size_t number = 1;

    if (row->stored)
        return 0;
    for (size_t i = 0; i < p->count; i++) {
        bool seen = p->rows[i].stored;
        if (!seen && !strcmp(p->rows[i].format, row->format))
            return number;
        for (size_t j = 0; j < i; j++)
            seen |= !p->rows[j].stored && !strcmp(p->rows[j].format, p->rows[i].format);
        number += !seen;
    }
    return number;
}

static void draw_mark(const plot *p, bool stored, double x, double y, const char *color)
{
    if (stored)
        fprintf(p->to, "<rect x=\"%.1f\" y=\"%.1f\" width=\"8\" height=\"8\" fill=\"%s\"/>", x - 4, y - 4, color);
    else
        fprintf(p->to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" fill=\"%s\"/>", x, y, color);
}

/* Named lines across, the more in a decade the fewer decades; powers of ten up, named, and their parts. */
static void draw_axes(const plot *p, int32_t tokens)
{
    static const double few[] = {1, 2, 5}, many[] = {1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9};
    const bool wide = p->x_high - p->x_low > 1;
    const double *steps = wide ? few : many;
    const size_t step_count = wide ? sizeof few / sizeof few[0] : sizeof many / sizeof many[0];
    double last = -100;
    const double top = TOP, bottom = PANEL_HEIGHT - BOTTOM, left = p->left + LEFT,
                 right = p->left + PANEL_WIDTH - RIGHT;

    for (double decade = floor(p->x_low); decade <= p->x_high; decade++)
        for (size_t i = 0; i < step_count; i++) {
            double value = steps[i] * pow(10, decade), x = x_at(p, value);
            if (x < left || x > right)
                continue;
            fprintf(p->to, "<path d=\"M%.1f %.1fV%.1f\" class=\"decade\"/>\n", x, bottom, top);
            if (x - last < LEAST_APART)
                continue;
            fprintf(p->to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.6g</text>\n", x, bottom + 16, value);
            last = x;
        }
    for (double decade = p->y_low; decade <= p->y_high; decade++) {
        fprintf(p->to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", left - 6,
                y_at(p, pow(10, decade)) + 4, pow(10, decade));
        for (int i = 1; i < 10 && (i == 1 || decade < p->y_high); i++)
            fprintf(p->to, "<path d=\"M%.1f %.1fH%.1f\" class=\"%s\"/>\n", left, y_at(p, i * pow(10, decade)), right,
                    i == 1 ? "decade" : "grid");
    }
    fprintf(p->to, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">tokens a second through a layer</text>\n",
            (left + right) / 2, PANEL_HEIGHT - 14);
    fprintf(p->to,
            "<text transform=\"translate(%.1f %.1f) rotate(-90)\" text-anchor=\"middle\">error, share of the "
            "output</text>\n",
            p->left + 16, (top + bottom) / 2);
    fprintf(p->to, "<text x=\"%.1f\" y=\"%d\" class=\"title\">%d token%s in a run</text>\n", left, TOP - 14,
            (int)tokens, tokens == 1 ? "" : "s");
}

static void draw_points(const plot *p, int32_t tokens)
{
    for (size_t i = 0; i < p->count; i++) {
        const layer_row *row = &p->rows[i];
        char median[24];
        if (row->tokens != tokens)
            continue;
        fprintf(p->to,
                "<g><title>layer %" PRId64 ", %s%s, tokens %d: %s, %.0f tokens/s, error %.1e, %.1f%% of %s</title>",
                row->facts->layer->number, row->format, row->stored ? " as stored" : "", (int)tokens,
                bench_time_text(row->median_s, median), layer_tokens_s(row), row->error, row->ceiling_share * 100,
                row->ceiling ? row->ceiling : "no ceiling");
        draw_mark(p, row->stored, x_at(p, layer_tokens_s(row)), mark_at(p, row),
                  colors[format_number(p, row) % COLOR_COUNT]);
        fprintf(p->to, "</g>\n");
    }
}

static void draw_legend(const plot *p)
{
    double x = p->left + 8, y = TOP + 6;
    size_t shown = 0;

    fprintf(p->to, "<text x=\"%.1f\" y=\"%.1f\" class=\"title\">experts</text>\n", x, y - 20);
    for (size_t i = 0; i < p->count; i++) {
        const layer_row *row = &p->rows[i];
        if (format_number(p, row) != shown)
            continue;
        draw_mark(p, row->stored, x + 4, y - 4, colors[shown++ % COLOR_COUNT]);
        fprintf(p->to, "<text x=\"%.1f\" y=\"%.1f\">%s%s</text>\n", x + 16, y, row->format,
                row->stored ? ", stored" : "");
        if (row->stored && row->facts->checked)
            fprintf(p->to, "<text x=\"%.1f\" y=\"%.1f\" fill=\"#666\">error %.0e</text>\n", x + 16, y += LINE,
                    row->error);
        y += LINE;
    }
}

void layer_plot(FILE *to, const layer_row *rows, size_t count, const int32_t *tokens, size_t token_count)
{
    plot p = {.to = to, .rows = rows, .count = count};
    int width = (int)token_count * PANEL_WIDTH + LEGEND_WIDTH;

    find_errors(&p);
    fprintf(to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n"
            "<style>.grid{stroke:#eee}.decade{stroke:#ccc}.title{font-weight:bold;font-size:13px}</style>\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            width, PANEL_HEIGHT, width, PANEL_HEIGHT);
    for (size_t t = 0; t < token_count; t++, p.left += PANEL_WIDTH) {
        find_speeds(&p, tokens[t]);
        draw_axes(&p, tokens[t]);
        draw_points(&p, tokens[t]);
    }
    draw_legend(&p);
    fprintf(to, "</svg>\n");
}
