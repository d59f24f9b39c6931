/* ceiling_read_portable.c - the streaming read in portable C. */
/* SPDX-License-Identifier: MIT */
#include "kernels/ceiling.h"
#include "kernels/portable/vec_portable.h"

#define READ_SUMS 2
#include "kernels/bodies/ceiling_read_body.h"

extern const gmm_ceiling gmm_ceiling_read_portable;
const gmm_ceiling gmm_ceiling_read_portable = {
    .name = "ceiling_read_portable",
    .what = "read",
    .needs = 0,
    .step_work = READ_STEP_BYTES,
    .run = ceiling_read,
};
