/* activation.h - the functions between the projections of an expert. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_ACTIVATION_H
#define GMM_ACTIVATION_H

#include <stdint.h>

#include "gathermm/moe.h"

enum {
    GMM_ACTIVATION_BLOCK = 64 /* the most elements of a call */
};

/* out[i] = f(gate[i], up[i]); see gmm_activation. Where there is no gate, give what has no gate as `gate` and ones as
 * `up`. The three may not overlap. */
void gmm_activate(gmm_activation activation, float alpha, float limit, const float *gate, const float *up, float *out,
                  int64_t count);

#endif
