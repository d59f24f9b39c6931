/* shrink.c - see shrink.h. */
/* SPDX-License-Identifier: MIT */
#include "blas/shrink.h"

#include <stddef.h>

/* Failures have their own idea of order (every fourth size, say), so after the smallest numbers come halves and several
 * steps down. */
int64_t gmm_shrink(int64_t now, gmm_shrink_fails *fails, void *context)
{
    bool smaller = true;

    for (int step = 0; step < 40 && smaller; step++) {
        const int64_t choices[] = {
            1, 2, 3, 4, 5, 6, 8, now / 2, now / 2 + 1, now - now / 4, now - 16, now - 8, now - 4, now - 2, now - 1};
        smaller = false;
        for (size_t i = step ? 7 : 0; i < sizeof choices / sizeof choices[0] && !smaller; i++) {
            if (choices[i] >= now || choices[i] < 1)
                continue;
            smaller = fails(context, choices[i]);
            if (smaller)
                now = choices[i];
        }
    }
    return now;
}
