/* checkpoint_reference.h - the models of make_models.py, and what their layers hold, as doubles. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CHECKPOINT_REFERENCE_H
#define GMM_CHECKPOINT_REFERENCE_H

#include "gathermm/checkpoint.h"
#include "gathermm/io.h"

/* The path of a model, of its reference, or of a file in it; valid until the fourth next call. */
const char *model_path(const char *model);
const char *model_file(const char *model, const char *file);

/* Open a model, which must be possible. */
gmm_checkpoint *open_model(const char *path);

/* Decode a projection of a loaded layer, (count, rows, cols) row-major; to be freed. */
double *decode_weights(const gmm_checkpoint_weights *weights);

/* Its linear biases, (count, rows); NULL: none; to be freed. */
double *decode_biases(const gmm_checkpoint_weights *weights);

/* The elements of a dense array as doubles; to be freed. */
double *decode_array(const gmm_array *array, int64_t *count);

/* What make_models.py says of a model. */
gmm_safetensors *open_reference(const char *model);

/* N.part of the reference equals the values, bit for bit but for the signs of zeros; without values there is no such
 * part. */
void check_part(const gmm_safetensors *reference, int64_t number, const char *part, const double *values,
                int64_t count);

/* All arrays of a loaded layer are those of the reference. */
void check_loaded(const gmm_safetensors *reference, const gmm_checkpoint_layer *layer);

/* Each expert of layer i, loaded alone, is the part of the whole layer, with the memory of one. */
void check_experts(const gmm_checkpoint *checkpoint, size_t i, const gmm_checkpoint_layer *whole);

#endif
