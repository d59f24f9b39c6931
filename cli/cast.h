/* cast.h - floating elements from one type to another: f32, f16, bf16. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CAST_H
#define GMM_CAST_H

#include <stdbool.h>
#include <stddef.h>

#include "gathermm/gathermm.h"

/* Is it one of the types that are quantized and cast? */
bool is_floating(gmm_dtype dtype);

/* Convert `count` elements, each rounded once to the nearest, ties to even. No alignment is needed; the ranges may not
 * overlap. Returns how many finite elements became infinite. */
size_t cast_elements(const void *from, gmm_dtype from_dtype, void *to, gmm_dtype to_dtype, size_t count);

#endif
