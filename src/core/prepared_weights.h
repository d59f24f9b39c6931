/* prepared_weights.h - weights in the kernels' own order: what they hold, and how calls take them.
 * SPDX-License-Identifier: MIT
 *
 * Quantized weights stay rows of codes, scales and biases, each kind one contiguous array: few rows want them as they
 * are, and for many the panels of codes that a call makes of them cost it a few percent (docs/performance.md).
 *
 * Dense weights become panels of GMM_PANEL columns, in the type that they have. The last panel of a matrix is filled up
 * with zeros. A panel is cut along K into blocks; a block of the dot layout is its classes in the order in which the
 * outer body takes them (gmm_class_in_tree), each of as many elements as the longest, and one element is GMM_PANEL
 * columns. In the outer layout there is one class, so a panel is simply its elements. Either way a product reads its
 * columns of a matrix from the first byte to the last. */
#ifndef GMM_PREPARED_WEIGHTS_H
#define GMM_PREPARED_WEIGHTS_H

#include "core/call.h"
#include "gathermm/prepared.h"
#include "io/io_file.h"

/* One array of the weights: [matrices][rows][columns] elements. */
typedef struct gmm_prepared_part {
    gmm_dtype dtype;
    int64_t rows, columns; /* dense: panels, and the elements of one */
    int64_t matrix_bytes;  /* from one matrix to the next: a multiple of 64 */
    int64_t offset;        /* in bytes, from the beginning of the weights */
} gmm_prepared_part;

struct gmm_prepared {
    gmm_weights weights; /* strides are 1; dense: format and cast are the call's business */
    bool quantized;
    bool dot;
    bool vector; /* a 1-D rhs: the result has no column axis */
    int32_t batch_ndim;
    int64_t batch_shape[GMM_MAX_NDIM];
    int64_t matrices;
    int64_t k, n;
    int64_t block; /* dense */
    int part_count;
    gmm_prepared_part parts[3]; /* dense elements; or codes, scales, biases */
    int64_t raw_bytes, bytes;
    const char *data;
    gmm_view whole; /* all of it, for messages about overlap */

    void *memory; /* NULL: mapped */
    size_t memory_bytes;
    gmm_mapping file;
    char *path;
    uint64_t checksum; /* of the mapped weights, as the header says */
};

/* Elements of a panel. */
static inline int64_t gmm_panel_elements(bool dot, int64_t k)
{
    return (dot ? (k + GMM_CLASSES - 1) / GMM_CLASSES * GMM_CLASSES : k) * GMM_PANEL;
}

/* Work out the parts from everything above them. GMM_ERR_SIZE. */
gmm_status gmm_prepared_lay_out(gmm_prepared *prepared);

/* Set `data`, which the parts lie in. */
void gmm_prepared_place(gmm_prepared *prepared, const char *data);

/* The view of a dense rhs, with an axis put after a 1-D one; *vector says whether. Statuses as gmm_view_make;
 * GMM_ERR_SHAPE for no axes. */
gmm_status gmm_dense_view(const gmm_array *array, gmm_view *rhs, bool *vector);

/* Copy dense weights, or quantized ones, into memory of the parts' size, in parallel. */
void gmm_prepared_fill_dense(const gmm_context *context, const gmm_prepared *prepared, const gmm_view *rhs, char *to);
void gmm_prepared_fill_quantized(const gmm_context *context, const gmm_prepared *prepared, const gmm_view views[3],
                                 char *to);

/* ---- in a call --------------------------------------------------------------------------------------------------- */

/* Give the weights to a call: all that check.c would otherwise find in the product's rhs or quantized. */
void gmm_prepared_take(const gmm_prepared *prepared, gmm_call *call);

/* Floats of scratch for a class of a block that is widened for an item of `rows` rows. */
int64_t gmm_prepared_scratch(const gmm_call *call, const gmm_plan *plan, int64_t rows, int64_t classes);

/* Point an outer call at a block of a panel: outer->k elements from k on of 32 columns from `column` on, of the matrix
 * that begins at offset `matrix`; the item has `left` columns from there. Fills in `codes` and *outer->ahead besides.
 */
void gmm_prepared_block(const gmm_call *call, const gmm_plan *plan, int64_t matrix, int64_t column, int64_t left,
                        int64_t k, gmm_class_codes *codes, gmm_outer *outer);

/* One column of such a matrix, in the dot layout, as floats in the order of K. */
void gmm_prepared_column(const gmm_call *call, const gmm_plan *plan, int64_t matrix, int64_t column, float *to);

#endif
