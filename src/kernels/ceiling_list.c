/* ceiling_list.c - the table of loops that measure ceilings. */
/* SPDX-License-Identifier: MIT */
#include <stddef.h>

#include "kernels/ceiling.h"

#define CEILING(name) extern const gmm_ceiling name;
#include "kernels/ceiling_list.h"
#undef CEILING

const gmm_ceiling *const gmm_ceilings[] = {
#define CEILING(name) &name,
#include "kernels/ceiling_list.h"
#undef CEILING
    NULL,
};
