/* bar.h - a progress bar on stderr, when that is a terminal. */
/* SPDX-License-Identifier: MIT */
#ifndef TINYMOE_BAR_H
#define TINYMOE_BAR_H

#include <stdint.h>

/* Show `done` of `total` steps of `what`; does nothing when stderr is no terminal. */
void bar_show(const char *what, int64_t done, int64_t total);

/* Remove it, before anything else is printed. */
void bar_clear(void);

#endif
