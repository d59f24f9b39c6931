/* oracle.h - what a gathered product must be: a sum in double precision, and an a-priori bound for each element. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_ORACLE_H
#define GMM_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gathermm/gathermm.h"

/*
 * The bound, for an element  s = sum over k < K of x[k] * w[k].
 *
 * Let u = 2^-24 (half a unit in the last place of f32) and eta = 2^-150 (half its smallest number). In f32 a product is
 * x w (1 + d) + e and a sum (a + b)(1 + d), |d| <= u, |e| <= eta; a fused multiply-add is better than the two. In
 * whatever order the K products are added, each of them meets at most one rounding of its own and K - 1 of additions;
 * starting from +0 and padding with zeros add none. Up to 5 more are allowed for, so that a sum in classes and a tree
 * needs no case of its own. The weights that the library multiplies with may carry roundings too, r of them:
 *
 *     dense, mxfp4, mxfp8, nvfp4    r = 0  the value is a number of f32
 *     affine                        r = 1  w = fl(scale * q + bias); exact below 2^-126, as all three are multiples of
 * 2^-149 nvfp4 with global_scale       r = 2  w = fl(element * scale * fl(global / 2688)); each rounding may underflow
 * by eta, so w is off by up to a = (|element * scale| + 1) eta besides
 *
 * With n = K + 5 + r, gamma = n u / (1 - n u) and S = sum |x[k] w[k]|, as long as S (1 + gamma) is below the largest
 * f32:
 *
 *     |computed - s| <= B = gamma S + (1 + gamma) (sum |x[k]| a[k] + K eta) + n 2^-52 S
 *
 * Dense bf16 weights along K may be multiplied by tiles, whose operations flush subnormal operands and results to zero.
 * A weight below 2^-126 then loses at most |x| 2^-126 of a product, and an element of lhs, which is cut into up to
 * three parts, |w| 2^-126, as all parts from the first subnormal one on are less than that together. Each of the three
 * sums of parts flushes K products and 2 ceil(K / 32) additions at most, of which those that meet a zero are exact: 2 K
 * each. So (6 K + sum |x[k]| + sum |w[k]|) 2^-126 comes to K eta for such weights. The additions of a product's chain,
 * block and parts are fewer than K + 5 again.
 *
 * So may bf16 elements of lhs by mxfp4, mxfp8 and nvfp4 weights, whose products are summed unscaled. A subnormal
 * element then loses at most |w| 2^-126; a product that is no zero has a code of 1/2 or more, so the scale is 2 |w| at
 * most, and with it what is flushed when the product is added: 3 sum |w[k]| 2^-126 comes to K eta. The additions of a
 * product's group and of the groups are fewer than K + 5. mxfp8 ones may be multiplied as dense ones
 * are, decoded to bf16, instead: of both terms the larger one holds.
 *
 * And so may bf16 elements of lhs by affine weights along K, which are cut in two: w = m + scale (q - c), with c the
 * mean of the least code and the greatest, and m = bias + c scale, rounded once. |m| + |scale (q - c)| is at most the
 * reach of the group, r = max(|bias|, |bias + (2^bits - 1) scale|), which therefore stands for |w| in S and in what is
 * flushed: |q - c| is 1/2 or more. m multiplies the sum of the group's x, of no more roundings than a chain has.
 *
 * The last term is the oracle's own error: its products are exact in double, its weights and sums are not. Conversion
 * of operands to the product's type T is part of the definition and done exactly here. The result is rounded once to
 * out's type; rounding is monotone, so the element must lie between the rounded s - B and the rounded s + B: overflow
 * to infinity and subnormal results need no rule of their own. An s that is infinite or NaN, which only infinite or NaN
 * operands give, must come out as just that.
 */
typedef struct gmm_oracle {
    gmm_dtype dtype; /* the product's type T */
    int32_t ndim;    /* of the result: the spec that gmm_result_spec must give */
    int64_t shape[GMM_MAX_NDIM];
    int64_t count;
    double *value; /* s, in row-major order */
    double *bound; /* B; infinite where S may overflow f32 */
} gmm_oracle;

/* Compute a product, which must be a valid one. Slow, single-threaded. Fails the test if memory is short. */
void gmm_oracle_make(const gmm_product *product, gmm_oracle *oracle);

void gmm_oracle_free(gmm_oracle *oracle);

/* Type and shape alone: value and bound are NULL, no element is read. */
void gmm_oracle_make_spec(const gmm_product *product, gmm_oracle *oracle);

/* Is every element of out (of any float type and strides) within its bound? Else text says which is not, and by how
 * much. An infinite bound is a fault of the test's operands and never passes. */
bool gmm_oracle_check(const gmm_oracle *oracle, const gmm_array *out, char *text, size_t text_size);

/* Dequantized weight (row, column) of flat matrix `matrix`: its exact value (beyond f32's range: infinite). *reach,
 * unless NULL, is its r above. */
double gmm_oracle_weight(const gmm_quantized *quantized, int64_t matrix, int64_t row, int64_t column, double *reach);

/* The address of element number `flat`, in row-major order, of an array. */
char *gmm_oracle_address(const gmm_array *array, int64_t flat);

/* The bits of element number `flat`. */
uint64_t gmm_oracle_bits(const gmm_array *array, int64_t flat);

#endif
