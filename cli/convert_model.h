/* convert_model.h - a checkpoint folder in the other layout: what is to be written, and whether it was. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CONVERT_MODEL_H
#define GMM_CONVERT_MODEL_H

#include "gathermm/conversion.h"
#include "quantize_plan.h"
#include "quantize_write.h"
#include "shard_set.h"

typedef struct convert_request {
    quantize_request quantize; /* in, out, threads, ...; a mode only with --quantize */
    const char *layout;        /* "hf" or "mlx" */
    uint64_t shard_bytes;      /* no file has more tensors than fill this, but for a larger one alone */
    bool force;
} convert_request;

typedef struct convert_job {
    convert_request *request;
    checkpoint files; /* of IN */
    gmm_checkpoint *source;
    gmm_checkpoint_layer first;
    gmm_conversion *conversion;
    checkpoint made; /* what will be in OUT */
    quantize_plan plan;
    quantize_outcome outcome;
    tensor_maker maker;
} convert_job;

/* Open IN, plan all that is to be written. EXIT_FINE, or another exit status after a complaint; to be closed in any
 * case. */
int convert_open(convert_request *request, convert_job *job);

/* Write OUT, compare it with IN, give it its name. The same statuses; a signal ends the process. */
int convert_write(convert_job *job);

void convert_close(convert_job *job);

#endif
