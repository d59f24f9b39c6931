/* progress.c - see progress.h. */
/* SPDX-License-Identifier: MIT */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "output.h"

#define BAR 20

double monotonic_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Asked anew for each drawing: the window may be resized. The last column stays free, or some terminals wrap. */
static size_t line_width(void)
{
    struct winsize window;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1)
        return (size_t)window.ws_col - 1;
    return 79;
}

void progress_start(progress *p, uint64_t total, const char *unit, bool quiet)
{
    const char *terminal = getenv("TERM");

    *p = (progress){.total = total, .unit = unit, .begin = monotonic_seconds()};
    p->shown = !quiet && isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb");
}

/* Write text, cut or padded to the line: the padding wipes what stood there before. */
static void draw_line(const char *text)
{
    size_t columns = line_width(), used = 0;

    fputc('\r', stderr);
    for (; *text; text++) {
        bool starts = ((unsigned char)*text & 0xC0) != 0x80;
        if (starts && used == columns)
            break;
        used += starts;
        fputc(*text, stderr);
    }
    for (; used < columns; used++)
        fputc(' ', stderr);
    fputc('\r', stderr);
    fflush(stderr);
}

/* "3.5 MiB of 14.9 MiB", "12 of 48 rows". */
static char *counts(const progress *p)
{
    char done[24], total[24];

    if (p->unit)
        return must_format("%" PRIu64 " of %" PRIu64 " %s", p->done, p->total, p->unit);
    return must_format("%s of %s", bytes_text(p->done, done), bytes_text(p->total, total));
}

void progress_add(progress *p, uint64_t more, const char *doing)
{
    double now = monotonic_seconds(), share;
    char bar[BAR + 1], left[32] = "";

    p->done += more;
    if (!p->shown || (now - p->drawn < 0.1 && p->done < p->total))
        return;
    p->drawn = now;
    share = p->total ? (double)p->done / (double)p->total : 1;
    memset(bar, '.', BAR);
    memset(bar, '#', (size_t)(share * BAR));
    bar[BAR] = '\0';
    if (share > 0 && now - p->begin > 1) {
        double seconds = (now - p->begin) * (1 - share) / share;
        if (seconds < 360000)
            snprintf(left, sizeof left, "  %d:%02d left", (int)seconds / 60, (int)seconds % 60);
    }
    char *name = escape_text(doing), *count = counts(p);
    char *line = must_format("[%s] %3d%%  %s%s  %s", bar, (int)(share * 100), count, left, name);
    draw_line(line);
    free(line);
    free(count);
    free(name);
}

void progress_wipe(progress *p)
{
    if (p->shown)
        draw_line("");
    p->drawn = 0;
}

void progress_end(progress *p)
{
    progress_wipe(p);
    p->shown = false;
}
