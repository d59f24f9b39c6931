/* call_cost.c - microseconds of one small call from C, dense and quantized, the best of some rounds: for call_cost.py.
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <time.h>

#include "gathermm/gathermm.h"

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The mean of as many calls, in the best of many short rounds; negative if a call fails. */
static double best(const gmm_product *product, gmm_array *out, int calls)
{
    enum {
        ROUNDS = 200
    };
    double least = -1;
    for (int round = 0; round < ROUNDS; round++) {
        double start = seconds();
        for (int i = 0; i < calls; i++)
            if (gmm_run(NULL, product, out) != GMM_OK)
                return -1;
        double each = (seconds() - start) / calls;
        if (least < 0 || each < least)
            least = each;
    }
    return 1e6 * least;
}

int main(void)
{
    enum {
        CALLS = 1000
    };
    static float x[64], b[8 * 8], y[32], scale[32], bias[32];
    static uint32_t codes[32 * 8];
    int64_t zero = 0;
    gmm_array index = {.data = &zero, .dtype = GMM_I64, .ndim = 1, .shape = (int64_t[]){1}};

    gmm_array lhs = {.data = x, .dtype = GMM_F32, .ndim = 3, .shape = (int64_t[]){1, 1, 8}};
    gmm_array rhs = {.data = b, .dtype = GMM_F32, .ndim = 3, .shape = (int64_t[]){1, 8, 8}};
    gmm_array out = {.data = y, .dtype = GMM_F32, .ndim = 3, .shape = (int64_t[]){1, 1, 8}};
    gmm_product dense = {.size = sizeof dense, .lhs = &lhs, .rhs = &rhs, .rhs_indices = &index};

    gmm_array wide = {.data = x, .dtype = GMM_F32, .ndim = 3, .shape = (int64_t[]){1, 1, 64}};
    gmm_array w = {.data = codes, .dtype = GMM_U32, .ndim = 3, .shape = (int64_t[]){1, 32, 8}};
    gmm_array scales = {.data = scale, .dtype = GMM_F32, .ndim = 3, .shape = (int64_t[]){1, 32, 1}};
    gmm_array biases = {.data = bias, .dtype = GMM_F32, .ndim = 3, .shape = (int64_t[]){1, 32, 1}};
    gmm_array row = {.data = y, .dtype = GMM_F32, .ndim = 3, .shape = (int64_t[]){1, 1, 32}};
    gmm_quantized packed = {.w = &w, .scales = &scales, .biases = &biases, .group_size = 64, .bits = 4};
    gmm_product quantized = {
        .size = sizeof quantized, .lhs = &wide, .quantized = &packed, .transpose = true, .rhs_indices = &index};

    double of_dense = best(&dense, &out, CALLS), of_quantized = best(&quantized, &row, CALLS);
    printf("%f %f\n", of_dense, of_quantized);
    return of_dense < 0 || of_quantized < 0;
}
