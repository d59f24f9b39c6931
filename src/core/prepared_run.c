/* prepared_run.c - the outer body on prepared panels: f32 read in place, other types widened a class at a time. */
/* SPDX-License-Identifier: MIT */
#include "core/prepared_weights.h"

/* Does the outer body read panels of this type as they are? 16 bits if its rows are one tile; for more tiles widening a
 * class once is the cheaper way. */
static bool reads_in_place(const gmm_call *call, const gmm_plan *plan, int64_t rows)
{
    return call->rhs.dtype == GMM_F32 || (gmm_is_float(call->rhs.dtype) && rows <= plan->outer->mr);
}

int64_t gmm_prepared_scratch(const gmm_call *call, const gmm_plan *plan, int64_t rows, int64_t classes)
{
    return reads_in_place(call, plan, rows) ? 0 : gmm_together_floats(call->panel_block, classes);
}

/* Class c of the block that begins at codes->w.first. */
static void widen_class(const gmm_class_codes *codes, int64_t c, float *to)
{
    int64_t place = gmm_class_in_tree(c, codes->classes) * ((codes->k + codes->classes - 1) / codes->classes);
    int64_t panel_bytes = GMM_PANEL * gmm_dtype_bits(codes->weights->dtype) / 8;
    gmm_row row = {.codes = (const char *)codes->w.first.codes + place * panel_bytes};

    codes->decode(codes->weights, row, 0, gmm_class_length(codes->k, codes->classes, c) * GMM_PANEL, to);
}

/* Fetch at the pace at which this block is read, from a little ahead on: what the outer body will read is one run of
 * memory up to the end of the item, `left` columns from here. With one tile of rows memory is the limit, and weights
 * a class ahead come fastest (four classes ahead: 8 rows took 28 % longer); more rows want four classes (one: 4 %
 * longer with 64 rows). A whole block ahead is slower for both. */
static void fetch_from_here(const gmm_call *call, const gmm_kernel *kernel, const char *block, int64_t k, int64_t left,
                            gmm_outer *outer)
{
    int64_t element_bytes = GMM_PANEL * call->rhs.element_bytes, panels = (left + GMM_PANEL - 1) / GMM_PANEL;
    int64_t most = panels * (gmm_panel_elements(call->dot, call->k) / GMM_PANEL) - k;
    int64_t classes_ahead = outer->rows <= kernel->mr ? 1 : 4;
    int64_t distance =
        outer->classes == 1 ? outer->k : (outer->k + outer->classes - 1) / outer->classes * classes_ahead;
    int64_t elements = outer->k < most - distance ? outer->k : most - distance;

    *outer->ahead = (gmm_ahead){.parts[0] = {
                                    .row = block + distance * element_bytes,
                                    .rows = elements > 0,
                                    .lines = elements * element_bytes / 64,
                                }};
    gmm_ahead_begin(outer->ahead, gmm_outer_steps(kernel, outer->rows, outer->k));
}

void gmm_prepared_block(const gmm_call *call, const gmm_plan *plan, int64_t matrix, int64_t column, int64_t left,
                        int64_t k, gmm_class_codes *codes, gmm_outer *outer)
{
    const gmm_view *rhs = &call->rhs;
    int64_t panel = column / GMM_PANEL * gmm_panel_elements(call->dot, call->k);
    const char *block = gmm_view_at(rhs, matrix + panel + k * GMM_PANEL);

    fetch_from_here(call, plan->outer, block, k, left, outer);
    if (reads_in_place(call, plan, outer->rows)) {
        outer->prepared = block;
        outer->prepared_type = call->rhs.dtype;
        return;
    }
    *codes = (gmm_class_codes){
        .weights = &call->weights,
        .w.first.codes = block,
        .columns = GMM_PANEL,
        .k = outer->k,
        .decode = plan->decode,
        .classes = outer->classes,
    };
    outer->codes = codes;
    outer->class_decode = widen_class;
}

void gmm_prepared_column(const gmm_call *call, const gmm_plan *plan, int64_t matrix, int64_t column, float *to)
{
    const gmm_view *rhs = &call->rhs;
    const char *panel = gmm_view_at(rhs, matrix + column / GMM_PANEL * gmm_panel_elements(true, call->k));

    for (int64_t k = 0; k < call->k; k++) {
        int64_t block = k / call->panel_block * call->panel_block;
        int64_t size = call->k - block < call->panel_block ? call->k - block : call->panel_block;
        int64_t at = block +
                     gmm_class_in_tree(k % GMM_CLASSES, GMM_CLASSES) * ((size + GMM_CLASSES - 1) / GMM_CLASSES) +
                     (k - block) / GMM_CLASSES;
        gmm_row row = {.codes = panel + (at * GMM_PANEL + column % GMM_PANEL) * rhs->element_bytes};
        plan->decode(&call->weights, row, 0, 1, to + k);
    }
}
