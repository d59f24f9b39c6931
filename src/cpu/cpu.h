/* cpu.h - what this CPU can do, less what masks forbid. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CPU_H
#define GMM_CPU_H

#include <stdint.h>

#include "gathermm/gathermm.h"

enum gmm_cpu_number {
#define FEATURE(name, word, base, test) GMM_CPU_NUMBER_##name,
#include "cpu/cpu_list.h"
#undef FEATURE
    GMM_CPU_COUNT
};

enum gmm_cpu {
    GMM_CPU_NONE = 0,
#define FEATURE(name, word, base, test) GMM_CPU_##name = 1 << GMM_CPU_NUMBER_##name,
#include "cpu/cpu_list.h"
#undef FEATURE
};

/* The words for masks, GMM_CPU_COUNT of them. */
extern const char *const gmm_cpu_words[];

/* Features that this CPU has and this system lets programs use. */
uint32_t gmm_cpu_present(void);

/* The bits named by "word,word,..." ("all": every bit; NULL or "": none). GMM_ERR_CPU for an unknown word; `source`
 * says in the message where the text came from. */
gmm_status gmm_cpu_parse_mask(const char *words, const char *source, uint32_t *mask);

/* Features that a call with this context (NULL: the default one) may use. GMM_ERR_CPU when GMM_CPU_MASK is not valid.
 */
gmm_status gmm_cpu_usable(const gmm_context *context, uint32_t *features);

#endif
