/* fuzz_input.h - a fuzzer's bytes as choices, arrays made by such choices, and the promises that hold for every call on
 * them. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_FUZZ_INPUT_H
#define GMM_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "gathermm/gathermm.h"

/* The entry point of every target; libFuzzer and replay_main.c call it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct fuzz_input {
    const uint8_t *data;
    size_t size, at;
    uint64_t noise; /* state of the generator that fills memory */
} fuzz_input;

fuzz_input fuzz_input_make(const uint8_t *data, size_t size);

/* A choice in [0, count), one byte each; 0 when the bytes are used up, so 0 is always the plainest choice. count <=
 * 256. */
uint32_t fuzz_pick(fuzz_input *in, uint32_t count);

/* A size in [0, most]; the plainest is 1. most < 256. */
int64_t fuzz_size(fuzz_input *in, uint32_t most);

/* True for one byte in `one_in`, false when the bytes are used up. */
bool fuzz_chance(fuzz_input *in, uint32_t one_in);

/* Stop here, as a crash that the fuzzer sees, unless the condition holds. */
#define FUZZ_REQUIRE(condition, ...)                                                                                   \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                            \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fprintf(stderr, "\n");                                                                                     \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* An array and its memory: malloc'ed to the byte, so that AddressSanitizer sees every step outside. Not to be copied.
 */
typedef struct fuzz_array {
    gmm_array array;
    int64_t shape[GMM_MAX_NDIM + 2], strides[GMM_MAX_NDIM + 2];
    unsigned char *memory;
    unsigned char *before; /* a copy of memory as it was filled */
    size_t size_bytes;
    bool absent; /* the call gets NULL in its place */
} fuzz_array;

/* What an array is for decides which strides it may get. */
typedef enum fuzz_use {
    FUZZ_INPUT, /* any, elements may share memory */
    FUZZ_OUTPUT /* elements apart */
} fuzz_use;

/* Describe an array; strides are chosen. Nothing is allocated. */
void fuzz_array_make(fuzz_input *in, fuzz_array *array, fuzz_use use, gmm_dtype dtype, int32_t ndim,
                     const int64_t *shape);

/* Sometimes, make it wrong or strange. */
void fuzz_array_spoil(fuzz_input *in, fuzz_array *array);

/* Give it memory, filled with noise. Arrays too large for that get none: data is NULL, which the library must refuse.
 */
void fuzz_array_fill(fuzz_input *in, fuzz_array *array);

/* Set all elements, of an integer type, to choices in [0, count); now and then to one outside. */
void fuzz_array_fill_indices(fuzz_input *in, fuzz_array *array, int64_t count);

void fuzz_array_free(fuzz_array *array);

/* The pointer for a call: NULL if absent. */
gmm_array *fuzz_array_use(fuzz_array *array);

/* A context, chosen: the default one, threads, a host's loop, masks. NULL is one choice. */
gmm_context *fuzz_context_make(fuzz_input *in);

typedef gmm_status fuzz_call(void *arg);

/* Make the call twice with differently poisoned outputs, and require: inputs unchanged; on an error a message, the same
 * status again, outputs untouched; on success every element written, with the same bits, and no byte between them.
 * Arrays end with NULL. */
gmm_status fuzz_check_call(fuzz_call *call, void *arg, fuzz_array *const *inputs, fuzz_array *const *outputs);

#endif
