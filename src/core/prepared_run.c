/* prepared_run.c - the outer body on prepared panels: f32 read in place, other types widened a class at a time. */
/* SPDX-License-Identifier: MIT */
#include "core/prepared_weights.h"

static bool reads_in_place(const gmm_call *call)
{
    return call->rhs.dtype == GMM_F32;
}

int64_t gmm_prepared_scratch(const gmm_call *call, int64_t classes)
{
    return reads_in_place(call) ? 0 : call->panel_block / classes * GMM_PANEL;
}

/* Class c of the block that begins at codes->w.first. */
static void widen_class(const gmm_class_codes *codes, int64_t c, float *to)
{
    int64_t place = gmm_class_in_tree(c, codes->classes) * ((codes->k + codes->classes - 1) / codes->classes);
    int64_t panel_bytes = GMM_PANEL * gmm_dtype_bits(codes->weights->dtype) / 8;
    gmm_row row = {.codes = (const char *)codes->w.first.codes + place * panel_bytes};

    codes->decode(codes->weights, row, 0, gmm_class_length(codes->k, codes->classes, c) * GMM_PANEL, to);
}

void gmm_prepared_block(const gmm_call *call, const gmm_plan *plan, int64_t matrix, int64_t column, int64_t k,
                        gmm_class_codes *codes, gmm_outer *outer)
{
    const gmm_view *rhs = &call->rhs;
    int64_t panel = column / GMM_PANEL * gmm_panel_elements(call->dot, call->k);
    const char *block = gmm_view_at(rhs, matrix + panel + k * GMM_PANEL);

    *outer->ahead = (gmm_ahead){0};
    gmm_ahead_row(outer->ahead);
    if (reads_in_place(call)) {
        outer->prepared = (const float *)(const void *)block;
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
