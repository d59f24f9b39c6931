/* bench_silu.h - the activation as one writes it without gmm_moe. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_BENCH_SILU_H
#define GMM_BENCH_SILU_H

#include <stdint.h>

#include "gathermm/gathermm.h"

/* gate = silu(gate) * up; the two do not overlap. */
typedef void bench_silu(float *gate, const float *up, int64_t count);

/* In vectors as wide as the library's may be. */
bench_silu *bench_silu_for(const gmm_context *context);

#endif
