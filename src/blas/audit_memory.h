/* audit_memory.h - where a case's operands lie: between pages that do not exist, with margins that are watched. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_AUDIT_MEMORY_H
#define GMM_AUDIT_MEMORY_H

#include "blas/audit.h"

/* One operand in a region of its own. */
typedef struct gmm_audit_operand {
    char *region; /* shared with forked children; a page before it and one after it cannot be touched */
    size_t region_bytes;
    char *base; /* the first element */
    int64_t extent;
    size_t bytes;         /* of all elements */
    size_t before, after; /* margins that are filled and watched */
    unsigned char *parts; /* [extent] */
    char *saved;          /* margins and elements as they were before the call */
    char *first;          /* elements after the call under settings[0] */
    size_t parts_room, saved_room, first_room;
} gmm_audit_operand;

typedef struct gmm_audit_memory {
    int count;
    size_t element_bytes;
    gmm_audit_operand operands[GMM_BLAS_OPERANDS];
} gmm_audit_memory;

/* Map the regions; false if there is no memory. */
bool gmm_audit_memory_open(gmm_audit_memory *memory);

void gmm_audit_memory_close(gmm_audit_memory *memory);

/* Whether an operand has no influence on the result (alpha is 0); whether an output is not to be read. */
bool gmm_audit_is_dead(const gmm_blas_call *call, int operand);
bool gmm_audit_is_unread(const gmm_blas_call *call, int operand);

/* Put the operands of a case in place, fill them and save them; sets the data pointers of `call`, a copy of the case's.
 * False if they do not fit. */
bool gmm_audit_place(gmm_audit_memory *memory, const gmm_audit_case *c, const gmm_audit_setting *setting,
                     gmm_blas_call *call);

/* Keep the outputs for a comparison. False without memory. */
bool gmm_audit_keep_first(gmm_audit_memory *memory);

/* The operand and the byte offset from its first element of an address in or near a region; false if it is near none.
 */
bool gmm_audit_locate(const gmm_audit_memory *memory, const void *address, int *operand, int64_t *offset);

/* An element as two numbers, the second 0 for real types; and back, rounded to the type. */
void gmm_audit_load(char type, const char *base, int64_t element, double value[2]);
void gmm_audit_store(char type, char *base, int64_t element, const double value[2]);

/* Fill an element's parts with bits of a kind of number. `which`: GMM_PART_ALL, or GMM_PART_REAL for the imaginary part
 * alone. */
void gmm_audit_fill_element(char type, char *base, int64_t element, gmm_audit_fill fill, int which);

#endif
