/* conversion_plan.h - the tensors of a new layout, each as pieces of what the files have. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CONVERSION_PLAN_H
#define GMM_CONVERSION_PLAN_H

#include "checkpoint/checkpoint_open.h"
#include "formats/format.h"
#include "gathermm/conversion.h"

typedef enum gmm_view_kind {
    GMM_VIEW_PLAIN, /* elements that are copied */
    GMM_VIEW_FP8,   /* decoded to bf16 */
    GMM_VIEW_PACKED /* decoded to the output's type */
} gmm_view_kind;

/* A matrix in the files; strides in bytes. */
typedef struct gmm_matrix_view {
    gmm_view_kind kind;
    const char *data;
    int64_t row_stride, element_stride; /* of packed ones: the row's */
    const char *scales, *biases;
    int64_t scale_row_stride, bias_row_stride; /* fp8: of a row of blocks */
    gmm_dtype scales_dtype;
    int64_t block[2];    /* fp8 */
    int64_t first_row;   /* fp8: in the matrix that has the blocks */
    gmm_weights weights; /* packed */
} gmm_matrix_view;

/* So many rows of an output. Row r is row r / ways of view r % ways; if transposed, it is column r of those rows, of
 * which there are as many as the output has columns. */
typedef struct gmm_piece {
    int64_t rows;
    int32_t ways;
    bool transposed;
    gmm_matrix_view views[2];
} gmm_piece;

typedef struct gmm_output {
    gmm_converted info;
    char *name;
    int64_t shape[GMM_MAX_NDIM];
    int64_t cols; /* elements of a piece's row; a row of the tensor may be several of them */
    int64_t element_bytes;
    gmm_piece *pieces;
    size_t piece_count;
} gmm_output;

struct gmm_conversion {
    const gmm_checkpoint *checkpoint;
    bool to_mlx, decode_fp8;
    gmm_output **outputs;
    size_t count, capacity;
    const char **left_out; /* as many as the source has tensors, NULL at the end */
    size_t left_out_count;
    bool *used; /* for each tensor of the source: an output has it already */
};

#endif
