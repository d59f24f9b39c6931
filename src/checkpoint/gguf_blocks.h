/* gguf_blocks.h - blocks of GGUF files, in which scales and codes alternate, as formats of the library. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_GGUF_BLOCKS_H
#define GMM_GGUF_BLOCKS_H

#include "gathermm/gathermm.h"
#include "io/gguf.h"

/* What a type of blocks becomes. docs/formats.md says why each is exact. */
typedef struct gmm_block_format {
    const char *type; /* in the files */
    const char *mode; /* here */
    int32_t bits, group_size;
    int32_t zero; /* affine without a minimum of its own: the code that stands for 0, so that bias = -zero * scale */
    int32_t codes_at; /* in a block */
    int32_t high_at;  /* the fifth bits; 0: none */
} gmm_block_format;

/* NULL: the type is not in blocks, or has no equal here. */
const gmm_block_format *gmm_block_format_of(const gmm_gguf_type *type);

/* "Q4_0, Q4_1, ..." */
const char *gmm_block_format_names(char *text, size_t text_size);

/* The type that scales and biases of these blocks need: GMM_F16 unless a bias would overflow it, then GMM_F32; GMM_U8
 * for mxfp4 and nvfp4. */
gmm_dtype gmm_blocks_scales_dtype(const gmm_block_format *format, const gmm_gguf_type *type, const void *blocks,
                                  int64_t count);

/* Repack `count` blocks, which fill rows: codes, scales and, for affine, biases, each without gaps. */
void gmm_blocks_repack(const gmm_block_format *format, const gmm_gguf_type *type, const void *blocks, int64_t count,
                       gmm_dtype scales_dtype, void *codes, void *scales, void *biases);

#endif
