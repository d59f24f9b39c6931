/* kernel_list.c - the table of kernels that the planner, the tests and the command walk. */
/* SPDX-License-Identifier: MIT */
#include <stddef.h>

#include "kernels/kernel.h"

#define KERNEL(name) extern const gmm_kernel name;
#include "kernels/kernel_list.h"
#undef KERNEL

const gmm_kernel *const gmm_kernels[] = {
#define KERNEL(name) &name,
#include "kernels/kernel_list.h"
#undef KERNEL
    NULL,
};
