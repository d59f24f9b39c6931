/* stop.c - see stop.h. */
/* SPDX-License-Identifier: MIT */
#include "stop.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void stop(int exit_status, const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fputs("tinymoe: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(exit_status);
}

void must(gmm_status status, const char *what)
{
    if (status != GMM_OK)
        stop(EXIT_BROKEN, "%s: %s: %s", what, gmm_status_text(status), gmm_error_detail());
}

void *allocate(int64_t count, size_t size)
{
    void *memory = count < 0 ? NULL : calloc((size_t)count + 1, size); /* + 1: empty is not a failure */

    if (!memory)
        stop(EXIT_BROKEN, "no memory for %" PRId64 " elements of %zu bytes", count, size);
    return memory;
}
