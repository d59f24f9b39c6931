/* at_level.c - runs a test program at the level of instruction sets that GMM_CPU_MASK leaves, unless that is all that
 * the CPU has: then the same program without a mask is the same test. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <unistd.h>

#include "cpu/cpu.h"

int main(int argc, char **argv)
{
    uint32_t features;

    if (argc < 2 || gmm_cpu_usable(NULL, &features)) {
        fprintf(stderr, "usage: GMM_CPU_MASK=WORDS at_level PROGRAM [ARGUMENT]...\n");
        return 2;
    }
    if (features == gmm_cpu_present()) {
        printf("This CPU has nothing that the mask leaves unused: %s runs without it.\n", argv[1]);
        return 0;
    }
    execv(argv[1], argv + 1);
    perror(argv[1]);
    return 2;
}
