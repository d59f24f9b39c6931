/* consumer.c - a user's program: one product, and a call into every other part of the library. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include <gathermm/blas.h>
#include <gathermm/gathermm.h>
#include <gathermm/io.h>
#include <gathermm/prepared.h>

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, gmm_error_detail());
    return 1;
}

int main(void)
{
    float a_data[2][3] = {{1, 2, 3}, {4, 5, 6}};
    float b_data[2][3][2] = {{{1, 0}, {0, 1}, {0, 0}}, {{1, 1}, {1, 1}, {1, 1}}};
    uint32_t rhs_data[3] = {1, 0, 1};
    float out_data[3][2][2] = {{{0}}};
    const float want[3][2][2] = {{{6, 6}, {15, 15}}, {{1, 2}, {4, 5}}, {{6, 6}, {15, 15}}};
    const int64_t a_shape[3] = {1, 2, 3}, b_shape[3] = {2, 3, 2}, index_shape[1] = {3}, out_shape[3] = {3, 2, 2};
    uint32_t lhs_data[3] = {0, 0, 0};
    gmm_array a = {.data = a_data, .dtype = GMM_F32, .ndim = 3, .shape = a_shape};
    gmm_array b = {.data = b_data, .dtype = GMM_F32, .ndim = 3, .shape = b_shape};
    gmm_array lhs = {.data = lhs_data, .dtype = GMM_U32, .ndim = 1, .shape = index_shape};
    gmm_array rhs = {.data = rhs_data, .dtype = GMM_U32, .ndim = 1, .shape = index_shape};
    gmm_array out = {.data = out_data, .dtype = GMM_F32, .ndim = 3, .shape = out_shape};
    gmm_safetensors *file;
    gmm_prepared *prepared;
    gmm_blas_info blas;

    if (gmm_gather_mm(NULL, &a, &b, &lhs, &rhs, false, &out) != GMM_OK)
        return fail("gmm_gather_mm");
    if (memcmp(out_data, want, sizeof want) != 0)
        return fail("the product is wrong");
    if (gmm_safetensors_open("/there is/no such file", &file) != GMM_ERR_FILE)
        return fail("gmm_safetensors_open found a file");
    if (gmm_prepared_open("/there is/no such file", &prepared) != GMM_ERR_FILE)
        return fail("gmm_prepared_open found a file");
    if (gmm_blas_at(SIZE_MAX, &blas))
        return fail("gmm_blas_at found too many");
    printf("gathermm %s\n", gmm_version());
    return 0;
}
