/* quantize_write.h - the output of 'gathermm quantize', shard after shard, in bounded memory. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_QUANTIZE_WRITE_H
#define GMM_QUANTIZE_WRITE_H

#include "quantize_plan.h"
#include "shard_set.h"

/* What a finished run tells besides its plan. */
typedef struct quantize_outcome {
    double seconds;
    size_t overflows;          /* finite numbers that --dtype made infinite */
    char **copied, **left_out; /* other files of the directory, in the order of their names */
    size_t copied_count, left_out_count;
} quantize_outcome;

/* List the files beside the shards: what will be copied, and what will be left out (directories and the like). Hidden
 * files are in neither list. */
int quantize_list_files(const checkpoint *c, quantize_outcome *outcome);

/* Write everything and give it the name request->out. On any failure, and after a signal, nothing is left; a signal
 * ends the process. */
int quantize_write(const checkpoint *c, const quantize_request *request, const quantize_plan *plan,
                   quantize_outcome *outcome);

void quantize_outcome_free(quantize_outcome *outcome);

#endif
