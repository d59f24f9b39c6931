/* kernel_check.h - what the checks of kernel_check share: the case in hand, rows between guard pages, weights. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_KERNEL_CHECK_H
#define GMM_KERNEL_CHECK_H

#include "guarded.h"
#include "kernels/kernel.h"
#include "random.h"

/* ---- the checks: cmocka tests of one kernel, which is *state ---- */

void check_descriptor(void **state);
void check_dot_lengths(void **state);
void check_dot_shapes(void **state);
void check_dot_scales(void **state);
void check_dot_shifts(void **state);
void check_outer_lengths(void **state);
void check_outer_rows(void **state);
void check_prepared(void **state);
void check_pack(void **state);
void check_sweep(void **state);
void check_decode_runs(void **state);
void check_decode_codes(void **state);
void check_decode_classes(void **state);
void check_int8_lengths(void **state);
void check_int8_shapes(void **state);
void check_int8_scales(void **state);
void check_int8_largest(void **state);
void check_tile_lengths(void **state);
void check_tile_shapes(void **state);
void check_activate_lengths(void **state);
void check_activate_numbers(void **state);

/* ---- the case in hand ---- */

/* Start a check of *state: seeds `random`, and from now on a fault of the processor names the case. */
const gmm_kernel *check_begin(void **state, const char *check, gmm_random *random);

/* Say which case comes, for messages. */
__attribute__((format(printf, 1, 2))) void check_case(const char *format, ...);

/* Fail the test; the message begins with the kernel and the case. */
__attribute__((format(printf, 1, 2))) void check_fail(const char *format, ...);

/* Do this CPU and GMM_CPU_MASK let the kernel run? */
bool check_usable(const gmm_kernel *kernel);

/* The kernel with this body for f32 that is to give the same sums: of the same instruction set if that has one, else
 * one that, like `kernel`, rounds products or does not. */
const gmm_kernel *check_sibling(const gmm_kernel *kernel, const char *body);

/* The same bits? A NaN is a NaN: its bits depend on which of several came first. */
bool check_same(float a, float b);

/* Fail unless got[i] is want[i]; `what` says what it was compared with. */
void check_all_same(const float *got, const float *want, int64_t count, const char *what);

/* Memory that is never there: exits. */
void *check_allocate(int64_t count, size_t size);

/* ---- rows between guard pages ---- */

typedef struct check_rows {
    char *map;
    size_t map_bytes;
    char *first;  /* row 0 */
    int64_t step; /* bytes from one row to the next; may be negative */
} check_rows;

/* `count` rows of `bytes`, each in pages of its own between two that may not be touched, at `shift` bytes from the one
 * of that side; in a random order, up or down. Fails the test if there is no memory. */
void check_rows_make(check_rows *rows, gmm_random *random, int64_t count, int64_t bytes, gmm_guard_side side,
                     size_t shift);

static inline char *check_rows_at(const check_rows *rows, int64_t i)
{
    return rows->first + i * rows->step;
}

void check_rows_free(check_rows *rows);

/* `count` floats of NaN up to a guard page, so that a read of them shows, and a read or write past them dies. */
float *check_floats(gmm_guarded *memory, int64_t count);

/* ---- weights and numbers ---- */

/* What numbers an operand holds. */
typedef enum check_values {
    CHECK_TAME, /* magnitudes whose sums are finite and normal: the bound holds */
    CHECK_WILD, /* and among them infinities, NaN, subnormal numbers and the largest */
    CHECK_TINY  /* dense: all products underflow to -0, and so do all sums */
} check_values;

/* "tame", "wild" or "tiny" */
const char *check_values_text(check_values values);

/* Variation number i of the weights that a kernel reads: bits, groups, types of scales. False past the last. */
bool check_weights_at(const gmm_kernel *kernel, int i, gmm_weights *weights);

/* Whether to take one more case of variation i: always, but for the many pairs of scales' and biases' types of affine a
 * quarter of the cases; and less where GMM_TEST_SCALE says so. */
bool check_weights_wanted(gmm_random *random, int i);

/* "affine, 4 bits, groups of 32 ..." */
const char *check_weights_text(const gmm_weights *weights, char *text, size_t text_size);

/* Lengths of rows are multiples of this. */
int64_t check_weights_step(const gmm_weights *weights);

/* Bytes of the codes, scales and biases of k elements. */
int64_t check_code_bytes(const gmm_weights *weights, int64_t k);
int64_t check_scale_bytes(const gmm_weights *weights, int64_t k);
int64_t check_bias_bytes(const gmm_weights *weights, int64_t k);

/* Random codes, scales and biases of k elements. */
void check_weights_fill(gmm_random *random, const gmm_weights *weights, check_values values, int64_t k, gmm_row row);

/* Random f32 elements of lhs. */
void check_floats_fill(gmm_random *random, check_values values, int64_t count, float *to);

/* ---- sums ---- */

/* The sum of docs/numerics.md, operation by operation: `classes` running sums, then the tree. */
float check_contract_sum(bool fma, int64_t classes, int64_t k, const float *x, const float *w);

/* Fail unless a sum is as near to the exact one as any order of adding is. */
void check_bound(int64_t k, const float *x, const float *w, float got);

/* Some rows times a panel of columns, by an outer kernel. */
typedef struct check_outer {
    const gmm_kernel *kernel;
    int64_t classes, k, rows, columns;
    const float *const *x, *const *w; /* rows of f32 */
    const gmm_kernel *decoder;        /* NULL: w is packed. Else its codes are decoded a class at a time: */
    const gmm_weights *weights;
    gmm_rows codes;
    gmm_dtype prepared_type; /* 0: none. Else w is prepared in this type, which holds it exactly */
} check_outer;

/* Blocks of K end at ends[0], ends[1], ..., k. out: [rows][GMM_PANEL]. `random` chooses what is fetched ahead, and how
 * operands are cut while they are packed. */
void check_outer_run(const check_outer *of, gmm_random *random, const int64_t *ends, float *out);

/* Elements [begin, end) of rows of f32 as one block of prepared weights (core/prepared_weights.h), in a type that holds
 * them exactly; what is in no row is NaN. */
void check_prepare_block(gmm_dtype type, int64_t classes, int64_t begin, int64_t end, const float *const *w,
                         int64_t columns, char *block);

/* Random ends of blocks, multiples of `step`, the last one k; ends has room for 4. */
void check_outer_cut(gmm_random *random, int64_t k, int64_t step, int64_t ends[4]);

/* Memory for a panel of codes, as large as the decoder wants it, between poison and a guard page; filled. */
void check_class_fill(const gmm_kernel *decoder, gmm_class_codes *codes, gmm_guarded *panel);

#endif
