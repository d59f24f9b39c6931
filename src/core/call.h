/* call.h - a product on its way through the stages: check fills a gmm_call, plan a gmm_plan, run carries it out. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CALL_H
#define GMM_CALL_H

#include "base/arena.h"
#include "base/array.h"
#include "blas/provider.h"
#include "core/weights.h"
#include "formats/format.h"
#include "kernels/kernel.h"

/* Where the index of a product comes from: an index array, or the numbers 0..n-1 in the shape of an operand's batch.
 * Strides run over the batch shape of the product; 0 along broadcast axes. */
typedef struct gmm_indices {
    const char *name; /* for messages */
    gmm_view view;    /* unused when data is NULL: then an offset is itself the index */
    int64_t strides[GMM_MAX_NDIM];
    int64_t matrices; /* valid indices are [0, matrices) */
} gmm_indices;

/* A product whose arguments are valid. */
typedef struct gmm_call {
    gmm_view lhs; /* as given, or with a row axis put before a 1-D one */
    gmm_view rhs; /* dense matrices, or packed codes */
    gmm_view scales, biases;
    gmm_weights weights;
    gmm_dtype dtype; /* T: the promoted type of the operands */
    bool quantized, prepared;
    bool dot; /* the layout: weights run along K (dot), or along N (outer) */
    /* Dense weights that are prepared: rhs holds panels (core/prepared_weights.h), cut along K every so many elements.
     * 0: rhs is as its strides say. */
    int64_t panel_block;
    int64_t m, n, k;
    int32_t batch_ndim;
    int64_t batch_shape[GMM_MAX_NDIM]; /* P */
    int64_t products;                  /* its size */
    gmm_indices lhs_indices, rhs_indices;
    bool drop_m, drop_n; /* 1-D operands: axes that the result does not have */
} gmm_call;

/* Check all of a product but the values of its indices and the output. Statuses as gmm_run. */
gmm_status gmm_call_check(const gmm_product *product, gmm_call *call);

/* The layout of a dense rhs of two axes or more. */
bool gmm_dense_is_dot(const gmm_view *rhs);

/* The shape and the type of the result. */
void gmm_call_spec(const gmm_call *call, gmm_array_spec *spec);

/* Check the output against a checked call and make its view, with row and column axes in place: ndim is batch_ndim + 2.
 */
gmm_status gmm_call_check_output(const gmm_product *product, const gmm_call *call, const gmm_array *out,
                                 gmm_view *view);

/* The value at an offset of an index array; values that no int64 holds come as -1, which is as invalid. */
int64_t gmm_index_load(const gmm_view *view, int64_t offset);

/* Index of product number `product` of [0, products). */
int64_t gmm_indices_at(const gmm_indices *indices, const gmm_call *call, int64_t product);

/* GMM_ERR_INDEX if any element of the index array is not in [0, matrices). */
gmm_status gmm_indices_check(const gmm_indices *indices);

/* Some rows that are multiplied with the same matrix. */
typedef struct gmm_group_of_rows {
    int64_t matrix; /* flat number in rhs */
    int64_t first;  /* position in gmm_plan.order of the first of its products */
    int64_t rows;   /* products * m */
    bool blas;      /* multiplied by the context's BLAS, and in no item */
} gmm_group_of_rows;

/* A piece of work for one thread: some rows of a group times some columns. If not by the outer body, by dot where
 * weights run along K and by sweep where they run along N. */
typedef struct gmm_item {
    const gmm_group_of_rows *group;
    bool outer;
    int64_t row, rows;
    int64_t column, columns;
} gmm_item;

enum {
    GMM_MOST_FEW_ROWS = 16
};

/* How a call will be carried out. All arrays are the arena's. */
typedef struct gmm_plan {
    const gmm_kernel *dot;
    bool dot_decodes; /* it reads these weights; else they are decoded to f32 for it */
    const gmm_kernel *outer;
    const gmm_kernel *int8;    /* not NULL: int8 sums, and the other kernels are not used */
    const gmm_kernel *tile;    /* not NULL: tile sums; dot and decode serve those that are not finite */
    int32_t parts;             /* bf16 numbers to an element of lhs, for tile */
    bool far;                  /* dot kernels fetch what comes much later */
    const gmm_kernel *decoder; /* NULL: the format's own decode */
    gmm_decode *decode;
    gmm_decode *decode_lhs; /* NULL: rows of lhs are converted by gmm_load_run */
    gmm_weights lhs;        /* how decode_lhs is to take them */
    int64_t *order;         /* products, sorted by matrix, stable */
    int64_t *lhs_offsets;   /* per product: where its lhs matrix begins, in elements */
    gmm_group_of_rows *groups;
    int64_t group_count;
    gmm_item *items;
    int64_t item_count, outer_items;
    int64_t few_rows;   /* groups of more rows go to the outer body; at most GMM_MOST_FEW_ROWS, and 0 for tile */
    int64_t outer_rows; /* the most rows of an outer item */
    int32_t workers;
    gmm_provider *provider; /* NULL: no group is for a BLAS */
    bool blas_transposes;   /* rhs as the BLAS is to take it: stored (n, k), not (k, n) */
    int64_t blas_ld;        /* and the distance of its rows */
    int64_t blas_rows;      /* the most rows of a call */
    int64_t blas_groups;    /* how many groups are multiplied by it */
    int64_t blas_left;      /* and how many were refused for the class of their calls */
} gmm_plan;

/* Check the indices, group the rows by matrix, choose kernels, cut the work. GMM_ERR_INDEX, GMM_ERR_MEMORY,
 * GMM_ERR_CPU. */
gmm_status gmm_plan_make(const gmm_context *context, const gmm_call *call, gmm_arena *arena, gmm_plan *plan);

/* Which groups are for the context's BLAS: blas_route.c. plan->few_rows is known. */
void gmm_plan_blas(const gmm_context *context, const gmm_call *call, gmm_plan *plan);

/* The elements of K that the outer body takes at a time, unless the weights are prepared: a multiple of 128. */
int64_t gmm_block_of(int64_t k, bool dot);

/* Carry out a plan. GMM_ERR_MEMORY, before anything is written. */
gmm_status gmm_plan_run(const gmm_context *context, const gmm_call *call, const gmm_plan *plan, gmm_arena *arena,
                        const gmm_view *out);

/* gmm_run with an arena of the caller's, from which nothing is taken before and after. */
gmm_status gmm_run_in(const gmm_context *context, gmm_arena *arena, const gmm_product *product, gmm_array *out);

/* The next multiple of `step`. */
static inline int64_t gmm_round_up(int64_t value, int64_t step)
{
    return (value + step - 1) / step * step;
}

/* What a kernel can do. */
typedef enum gmm_ability {
    GMM_CAN_DOT,
    GMM_CAN_OUTER,
    GMM_CAN_DECODE,
    GMM_CAN_INT8,
    GMM_CAN_TILE,
    GMM_CAN_ACTIVATE
} gmm_ability;

/* The kernel that does this with a format, with these CPU features: the first of the list that they allow, or NULL. */
const gmm_kernel *gmm_kernel_choose(gmm_ability ability, const char *reads, uint32_t features);

/* Do weights lie as kernels want them: one after the other, and of the type that their format reads? */
bool gmm_weights_plain(const gmm_weights *weights);

/* What decodes such weights: a kernel, or the format's own. */
gmm_decode *gmm_decode_choose(const gmm_weights *weights, uint32_t features);

/* Is this kernel the one of the list that is chosen for anything that it can do? */
bool gmm_kernel_used(const gmm_kernel *kernel, uint32_t features);

#endif
