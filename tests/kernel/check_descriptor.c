/* check_descriptor.c - every kernel says all that the planner needs. */
/* SPDX-License-Identifier: MIT */
#include "cmocka_test.h"

#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"
#include "kernel_check.h"
#include "kernels/int8.h"
#include "kernels/tile.h"

/* Is there a kernel that runs everywhere and does this with such weights? */
static bool portable(const char *body, const char *reads)
{
    for (size_t i = 0; gmm_kernels[i]; i++)
        if (!strcmp(gmm_kernels[i]->body, body) && !strcmp(gmm_kernels[i]->reads, reads) && !gmm_kernels[i]->needs)
            return true;
    return false;
}

void check_descriptor(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "descriptor", &random);
    bool dot = !strcmp(kernel->body, "dot"), outer = !strcmp(kernel->body, "outer");
    bool decode = !strcmp(kernel->body, "decode"), int8 = !strcmp(kernel->body, "int8");
    bool tile = !strcmp(kernel->body, "tile"), activate = !strcmp(kernel->body, "activate");
    gmm_weights weights;
    char name[128];

    check_case("descriptor");
    snprintf(name, sizeof name, "%s_%s_", kernel->body, kernel->reads);
    if (strncmp(kernel->name, name, strlen(name)) != 0)
        check_fail("its name does not begin with %s", name);
    for (size_t i = 0; gmm_kernels[i]; i++)
        if (gmm_kernels[i] != kernel && !strcmp(gmm_kernels[i]->name, kernel->name))
            check_fail("another kernel has this name");
    if (dot + outer + decode + int8 + tile + activate != 1)
        check_fail("its body is %s", kernel->body);
    if (dot != (kernel->dot != NULL) || outer != (kernel->outer != NULL) || outer != (kernel->pack != NULL) ||
        outer != (kernel->sweep != NULL) || int8 != (kernel->int8 != NULL) || tile != (kernel->tile != NULL) ||
        activate != (kernel->activate != NULL) || ((int8 || tile || activate) && kernel->decode) ||
        (decode && !kernel->decode) || (outer && kernel->decode) || (!dot && kernel->arrange))
        check_fail("it lacks what its body does, or does what its body does not");
    if (!kernel->class_decode != !kernel->class_fill || !kernel->class_decode != !kernel->class_bytes ||
        (kernel->class_decode && !kernel->decode))
        check_fail("it decodes classes, but not all that belongs to it");
    if (!check_weights_at(kernel, 0, &weights) || ((outer || activate) && strcmp(kernel->reads, "f32") != 0))
        check_fail("it reads %s", kernel->reads);
    if (kernel->needs >> GMM_CPU_COUNT)
        check_fail("it needs features that no CPU has");
    if (kernel->mr < 1 || kernel->mr > GMM_MAX_MR || kernel->nr < 1 || kernel->nr > GMM_PANEL)
        check_fail("it holds %d rows and %d columns", (int)kernel->mr, (int)kernel->nr);
    if (int8 && (!kernel->int8->quantize || !kernel->int8->pack || !kernel->int8->dot || !kernel->int8->fill ||
                 !kernel->int8->outer || kernel->int8->dot_rows < 1 || kernel->int8->dot_rows > GMM_INT8_MOST_DOT_ROWS))
        check_fail("it lacks a part of int8 sums");
    if (tile && (!kernel->tile->pack || !kernel->tile->scratch_bytes || !kernel->tile->multiply))
        check_fail("it lacks a part of tile sums");
    if (!portable("dot", "f32") || !portable("outer", "f32") || !portable("activate", "f32") ||
        (int8 && !portable("int8", kernel->reads)))
        check_fail("nothing would be left on a CPU without it");
}
