/* format.h - what a weight format is: one const descriptor, defined in a file of its own and listed in format_list.h.
 */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_FORMAT_H
#define GMM_FORMAT_H

#include "gathermm/gathermm.h"

typedef struct gmm_format gmm_format;

/* What all rows of a stack of weight matrices share. */
typedef struct gmm_weights {
    const gmm_format *format;
    gmm_dtype dtype;        /* dense: the elements' type */
    gmm_dtype cast;         /* dense: the type T that elements are converted to before use */
    gmm_dtype scales_dtype; /* affine: f32, f16 or bf16; others GMM_U8 */
    gmm_dtype biases_dtype; /* affine */
    int32_t group_size, bits;
    float global;        /* nvfp4: (float)(global_scale / 2688), or 1 without a global scale */
    int64_t code_stride; /* along the packed axis: elements (dense) or 32-bit words */
    int64_t scale_stride, bias_stride;
} gmm_weights;

/* One row of a weight matrix along its packed axis (dense: along the axis that is read in sequence). */
typedef struct gmm_row {
    const void *codes; /* dense: element 0; packed: word 0 */
    const void *scales;
    const void *biases;
} gmm_row;

/* Options of the fp quantizers, defaults resolved. */
typedef struct gmm_quantizer {
    int32_t group_size, bits;
    gmm_dtype dtype; /* the input's type: 3.5-style rules round every step to it; affine scales are stored in it */
    gmm_exponent_rule exponent_rule;
    gmm_tie_rule tie_rule;
    bool has_global;
    float global_scale; /* as given */
} gmm_quantizer;

/* A quantized group: codes one a byte (packed by the caller), the scale and bias as stored (low bits). */
typedef struct gmm_group {
    uint8_t codes[128];
    uint32_t scale, bias; /* bit patterns in the scales' type */
} gmm_group;

/* out[i] = value of element begin + i, for i < count, in f32: exact for all but affine and nvfp4 with a global scale,
 * which are rounded once. begin is a multiple of 32; begin + count <= the row's length; a count that is no multiple of
 * 32 ends the row. */
typedef void gmm_decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out);

struct gmm_format {
    const char *name;
    bool quantized;
    bool has_biases;
    bool has_global_scale;
    const int32_t *group_sizes; /* 0-terminated, the default first; NULL for dense */
    const int32_t *bits;        /* 0-terminated, the default first; NULL for dense */
    gmm_dtype dtype;            /* dense: the type read; quantized: 0 */

    gmm_decode *decode;

    /* Quantize group_size values; NULL for dense. */
    void (*quantize)(const gmm_quantizer *quantizer, const float *values, gmm_group *group);
};

/* Every format, NULL at the end; built from format_list.h. */
extern const gmm_format *const gmm_formats[];

/* Each by name: a format that is not in the list does not compile under clang's -Wmissing-variable-declarations. */
#define FORMAT(name) extern const gmm_format name;
#include "formats/format_list.h"
#undef FORMAT

/* The quantized format of this mode, or NULL. */
const gmm_format *gmm_format_find(const char *mode);

/* The dense format that reads this type; NULL for types with no format of their own (integers, bool). */
const gmm_format *gmm_format_dense(gmm_dtype dtype);

/* Resolve mode and defaults: the format and the (group_size, bits) in use. GMM_ERR_FORMAT with the numbers if there is
 * no such pair. */
gmm_status gmm_format_resolve(const char *mode, int32_t group_size, int32_t bits, const gmm_format **format,
                              int32_t *group_size_used, int32_t *bits_used);

#endif
