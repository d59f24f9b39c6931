/* moe_route.h - routing: what a gmm_routing means, and the choice of experts. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_MOE_ROUTE_H
#define GMM_MOE_ROUTE_H

#include "base/array.h"
#include "gathermm/moe.h"

/* GMM_OK if the routing has a meaning for so many experts; the router itself is not looked at. Statuses as gmm_route.
 * `correction` becomes the view of the correction bias, ndim -1 if there is none. */
gmm_status gmm_routing_check(const gmm_routing *routing, int64_t experts, gmm_view *correction);

/* Bytes of scratch for gmm_routing_run in at most so many tasks. */
int64_t gmm_routing_scratch(int64_t tasks, int64_t experts);

/* Choose for every row of logits (tokens, experts); `first` is the number of the first one, for messages. GMM_OK;
 * GMM_ERR_ARGUMENT for logits that cannot be used, before anything is written. */
gmm_status gmm_routing_run(const gmm_context *context, const gmm_routing *routing, const gmm_view *correction,
                           const gmm_view *logits, int64_t first, int64_t tasks, void *scratch, const gmm_view *ids,
                           const gmm_view *weights);

#endif
