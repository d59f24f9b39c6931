/* bar.c - see bar.h. */
/* SPDX-License-Identifier: MIT */
#include "bar.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define WIDTH 30

static const char clear_line[] = "\r\033[K";

void bar_show(const char *what, int64_t done, int64_t total)
{
    int filled = total > 0 ? (int)(done * WIDTH / total) : WIDTH;

    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "%s%-24s [", clear_line, what);
    for (int i = 0; i < WIDTH; i++)
        fputc(i < filled ? '#' : '.', stderr);
    fprintf(stderr, "] %" PRId64 " of %" PRId64, done, total);
    fflush(stderr);
}

void bar_clear(void)
{
    if (isatty(STDERR_FILENO)) {
        fputs(clear_line, stderr);
        fflush(stderr);
    }
}
