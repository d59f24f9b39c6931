/* stop.h - stop with a message and an exit status. */
/* SPDX-License-Identifier: MIT */
#ifndef TINYMOE_STOP_H
#define TINYMOE_STOP_H

#include <stddef.h>

#include "gathermm/gathermm.h"

#if defined(__GNUC__)
#define LIKE_PRINTF __attribute__((format(printf, 2, 3)))
#else
#define LIKE_PRINTF
#endif

/* Exit statuses, as the gathermm command has them. */
enum {
    EXIT_FINE = 0,
    EXIT_WRONG = 1, /* a result is not what it must be */
    EXIT_USAGE = 2,
    EXIT_BROKEN = 3 /* could not run: files, memory */
};

/* Print "tinymoe: ..." on stderr and exit. */
_Noreturn void stop(int exit_status, const char *format, ...) LIKE_PRINTF;

/* Stop with EXIT_BROKEN, gathermm's words and its detail unless status is GMM_OK. */
void must(gmm_status status, const char *what);

/* malloc of count * size bytes, zeroed, that stops with EXIT_BROKEN rather than return NULL. */
void *allocate(int64_t count, size_t size);

#endif
