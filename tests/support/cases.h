/* cases.h - whole products for tests: a description, the operands made from it, the call, the check. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CASES_H
#define GMM_CASES_H

#include "arrays.h"
#include "gathermm/gathermm.h"
#include "random.h"

#define GMM_CASE_MAX_BATCH 4

/* A kind of weights: every format with every group size and number of bits, f32, f16 and bf16. */
typedef struct gmm_weight_kind {
    const char *name;
    const char *mode; /* NULL: dense */
    int32_t group_size, bits;
    gmm_dtype dtype; /* dense: the elements'; else that of scales, affine: to choose */
    bool has_global_scale;
} gmm_weight_kind;

/* All of them, the dense ones first; name NULL at the end. */
extern const gmm_weight_kind gmm_weight_kinds[];

/* The kind of this name. */
const gmm_weight_kind *gmm_weight_kind_find(const char *name);

/* A shape of batch dimensions or of an index array. */
typedef struct gmm_case_shape {
    int32_t ndim;
    int64_t size[GMM_CASE_MAX_BATCH];
} gmm_case_shape;

typedef enum gmm_index_pattern {
    GMM_INDEX_UNIFORM,
    GMM_INDEX_SORTED,
    GMM_INDEX_CONSTANT,
    GMM_INDEX_CYCLE, /* n - 1, n - 2, ..., 0, n - 1, ... */
    GMM_INDEX_PATTERN_COUNT
} gmm_index_pattern;

/* What numbers the operands hold. */
typedef enum gmm_value_style {
    GMM_VALUES_UNIT,     /* uniform in [-1, 1) */
    GMM_VALUES_WIDE,     /* magnitudes from 2^-9 to 2^9 */
    GMM_VALUES_INTEGERS, /* -8 to 8 */
    GMM_VALUES_SPARSE,   /* mostly zeros */
    GMM_VALUES_TINY,     /* lhs near the smallest normal number: products underflow; f16: subnormal */
    GMM_VALUES_LARGE,    /* lhs near 2^12: f16 results overflow */
    GMM_VALUES_COUNT
} gmm_value_style;

typedef struct gmm_case_spec {
    const gmm_weight_kind *kind;
    gmm_dtype lhs_dtype, rhs_dtype, biases_dtype, out_dtype; /* rhs: dense elements or affine scales */
    bool transpose; /* dense: rhs lies as (N, K) in memory if the layout is plain */
    bool sorted_indices;
    int64_t m, n, k;
    bool lhs_vector, rhs_vector; /* 1-D operands: m or n is 1 */
    gmm_case_shape lhs_batch, rhs_batch, lhs_index, rhs_index;
    gmm_dtype lhs_index_dtype, rhs_index_dtype; /* 0: no such index array */
    gmm_index_pattern pattern;
    gmm_value_style values;
    gmm_layout layout;
    gmm_poison poison; /* of out, and between the elements of the operands */
} gmm_case_spec;

/* A product and its memory. Not to be copied. Operands are read-only memory. */
typedef struct gmm_case {
    gmm_case_spec spec;
    gmm_product product;
    gmm_quantized quantized;
    gmm_built lhs, rhs, scales, biases, global_scale, lhs_indices, rhs_indices, out;
} gmm_case;

/* A description with everything plain: f32 lhs and out, no batches, no indices. n or k is rounded up to whole groups.
 */
gmm_case_spec gmm_case_plain(const gmm_weight_kind *kind, bool transpose, int64_t m, int64_t n, int64_t k);

/* The same for mixtures of experts: `rows` rows, each times one of `experts` matrices: lhs (rows, m, k), rhs_indices
 * (rows). */
gmm_case_spec gmm_case_experts(const gmm_weight_kind *kind, bool transpose, int64_t rows, int64_t experts, int64_t m,
                               int64_t n, int64_t k);

/* A random description of at most about `work` multiplications. */
gmm_case_spec gmm_case_random(gmm_random *random, int64_t work);

void gmm_case_make(gmm_case *made, gmm_random *random, const gmm_case_spec *spec);

void gmm_case_free(gmm_case *made);

/* The arithmetic of all contexts below, and of NULL ones in gmm_case_run and gmm_case_check: f32, or what the
 * environment variable GMM_TEST_ARITHMETIC says, "int8". Tests that make contexts of their own should give it to
 * them. */
gmm_arithmetic gmm_case_arithmetic(void);

/* The context itself, or for NULL one with all defaults but the arithmetic. */
const gmm_context *gmm_case_context(const gmm_context *context);

/* A context of one thread, for the many small calls of tests that are not about threads: waking others costs more than
 * such a call. */
const gmm_context *gmm_case_one_thread(void);

/* A line that says what the case is. */
const char *gmm_case_text(const gmm_case_spec *spec, char *text, size_t text_size);

/* Run it, and fail the test unless out is what the oracle says, and nothing else was written. In int8 the oracle only
 * judges products that have no such sums. */
void gmm_case_check(const gmm_context *context, gmm_case *made);

/* Fill out with a poison, run, and return out's elements in row-major order (malloc'ed). Fails the test on an error
 * status. */
char *gmm_case_run(const gmm_context *context, gmm_case *made, gmm_poison poison);

/* Fail the test unless gmm_case_run gives the bytes `expected`; `what` says under which circumstances. */
void gmm_case_expect(const gmm_context *context, gmm_case *made, gmm_poison poison, const char *expected,
                     const char *what);

/* The arrays of a case, NULL at the end: out first, then the operands that it has. */
#define GMM_CASE_MAX_ARRAYS 9
void gmm_case_arrays(gmm_case *made, gmm_built *arrays[GMM_CASE_MAX_ARRAYS]);

/* Bytes of what gmm_case_run returns. */
size_t gmm_case_bytes(const gmm_case *made);

#endif
