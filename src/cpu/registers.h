/* registers.h - dirty the vector registers, as any earlier computation may leave them. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_REGISTERS_H
#define GMM_REGISTERS_H

#include <stdint.h>

/* Fill every vector register that a called function may use without saving it with copies of `pattern`. They keep it
 * until something computes: call what is to meet them right after. Nothing happens on CPUs that are not known here. */
void gmm_registers_fill(uint64_t pattern);

#endif
