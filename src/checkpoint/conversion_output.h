/* conversion_output.h - making outputs of a conversion and views of modules. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CONVERSION_OUTPUT_H
#define GMM_CONVERSION_OUTPUT_H

#include "checkpoint/conversion_plan.h"

/* A new output, its shape and pieces still to be filled in. `cols`: elements of a piece's row. NULL without memory;
 * the conversion owns it. */
__attribute__((format(printf, 6, 7))) gmm_output *gmm_output_add(gmm_conversion *c, gmm_conversion_kind kind,
                                                                 gmm_dtype dtype, int64_t cols, size_t pieces,
                                                                 const char *format, ...);

/* Its shape; sizes of 0 at the end are none. Then sizes and rows of the whole are known: GMM_OK or GMM_ERR_SIZE. */
gmm_status gmm_output_shape(gmm_output *output, int32_t ndim, const int64_t *shape);

/* GMM_ERR_MEMORY with the conversion's path. */
gmm_status gmm_conversion_no_memory(const gmm_conversion *c);

/* Tensors of the source that an output has, or that another's values need. */
void gmm_conversion_use(gmm_conversion *c, const gmm_tensor *tensor);
void gmm_conversion_use_module(gmm_conversion *c, const gmm_module *module);

/* Elements [0, cols) of rows, from element `offset` on. */
gmm_matrix_view gmm_view_rows(const gmm_tensor *tensor, int64_t offset, int64_t cols);

/* Matrix number `matrix` of a module: its numbers, decoded if they are fp8 or quantized. */
gmm_matrix_view gmm_view_matrix(const gmm_source *source, const gmm_module *module, int64_t matrix);

/* Every second row of it, from `parity` on; ways 1: the view as it is. */
gmm_matrix_view gmm_view_part(gmm_matrix_view view, int32_t ways, int32_t parity);

/* The view from row `first` on. */
gmm_matrix_view gmm_view_from(gmm_matrix_view view, int64_t first);

/* The type of a module's numbers when decoded. */
gmm_dtype gmm_module_dtype(const gmm_module *module);

/* Is its weight something that is decoded? */
bool gmm_module_is_coded(const gmm_module *module);

/* conversion_experts.c: the experts of one layer that is in the other layout. */
gmm_status gmm_conversion_experts(gmm_conversion *c, const gmm_layer_record *record);

/* conversion_others.c: all tensors that no output has yet. */
gmm_status gmm_conversion_others(gmm_conversion *c);

#endif
