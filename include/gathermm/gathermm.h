/* gathermm.h - gathered (mixture-of-experts) matrix products on CPUs: products, weight formats, contexts.
 * SPDX-License-Identifier: MIT
 *
 *     out[p] = lhs[lhs_indices[p]] @ rhs[rhs_indices[p]]
 *
 * A result is a function of its operands alone: not of what the output held, of alignment, of earlier calls, of the
 * number of threads, of the other rows in the batch, of the order of the indices. docs/numerics.md states the sum and
 * its bound.
 *
 * Every function may be called from several threads at once. None prints, aborts, exits or changes the floating-point
 * environment. The environment variable GMM_CPU_MASK is the only one read (see gmm_context_create).
 */
#ifndef GMM_GATHERMM_H
#define GMM_GATHERMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GMM_VERSION_MAJOR 0
#define GMM_VERSION_MINOR 1
#define GMM_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define GMM_API __attribute__((visibility("default")))
#else
#define GMM_API
#endif

/** "MAJOR.MINOR.PATCH" of the library that runs, which may be newer than this header. */
GMM_API const char *gmm_version(void);

/* ---- status ------------------------------------------------------------------------------------------------------ */

/** What a call answers. Values are pinned: new ones are appended, none is reused. */
typedef enum gmm_status {
    GMM_OK = 0,
    GMM_ERR_NULL = 1,       /**< a required pointer is NULL */
    GMM_ERR_SHAPE = 2,      /**< ranks, sizes or strides do not fit together */
    GMM_ERR_DTYPE = 3,      /**< an element type that this operand may not have */
    GMM_ERR_INDEX = 4,      /**< a gather index outside [0, number of matrices) */
    GMM_ERR_FORMAT = 5,     /**< unknown mode, or a group_size or bits that the mode does not have */
    GMM_ERR_OVERLAP = 6,    /**< the output shares memory with an operand or with itself */
    GMM_ERR_SIZE = 7,       /**< a size or an offset that does not fit in 64 bits */
    GMM_ERR_MEMORY = 8,     /**< no memory for scratch */
    GMM_ERR_ARGUMENT = 9,   /**< an option, flag or name with no meaning here */
    GMM_ERR_CPU = 10,       /**< GMM_CPU_MASK or cpu_mask holds an unknown word */
    GMM_ERR_FILE = 11,      /**< the system refused to open, read, write or rename a file */
    GMM_ERR_MALFORMED = 12, /**< a file's contents break its format */
    GMM_ERR_BLAS = 13,      /**< a BLAS that cannot be loaded, has no sgemm, or breaks its contract */
    GMM_ERR_CANCELLED = 14  /**< a progress function said so */
} gmm_status;

/** One English line for a status; never NULL, also for values that do not exist. */
GMM_API const char *gmm_status_text(gmm_status status);

/**
 * The numbers behind the last failure of a call on this thread, e.g. "rhs_indices[17] is 9; there are 8 matrices".
 * Set only on failure; "" before the first. Valid until the thread's next failure.
 */
GMM_API const char *gmm_error_detail(void);

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

/** Element types. Values are pinned. The last group exists in files only: no product takes it. */
typedef enum gmm_dtype {
    GMM_BOOL = 1,
    GMM_U8 = 2,
    GMM_I8 = 3,
    GMM_U16 = 4,
    GMM_I16 = 5,
    GMM_U32 = 6,
    GMM_I32 = 7,
    GMM_U64 = 8,
    GMM_I64 = 9,
    GMM_F16 = 10,  /**< IEEE binary16 */
    GMM_BF16 = 11, /**< the upper half of an IEEE binary32 */
    GMM_F32 = 12,
    GMM_F64 = 13,
    GMM_C64 = 14, /**< two f32 */
    GMM_F8_E4M3 = 20,
    GMM_F8_E5M2 = 21,
    GMM_F8_E8M0 = 22,
    GMM_F8_E4M3FNUZ = 23,
    GMM_F8_E5M2FNUZ = 24,
    GMM_F6_E2M3 = 25,
    GMM_F6_E3M2 = 26,
    GMM_F4 = 27 /**< E2M1, two to a byte, the even element in the low half */
} gmm_dtype;

/** The name that safetensors files use: "F32", "BF16", "F8_E4M3", ...; NULL for a value that does not exist. */
GMM_API const char *gmm_dtype_name(gmm_dtype dtype);

/** Bits of one element (1 byte for BOOL); 0 for a value that does not exist. */
GMM_API int gmm_dtype_bits(gmm_dtype dtype);

/** The largest rank that any array may have. */
#define GMM_MAX_NDIM 64

/**
 * A view of memory; the library never owns or frees it. The fields are DLPack's: element i of shape s lies at
 * data + byte_offset + sum(i[d] * strides[d]) * element size.
 */
typedef struct gmm_array {
    void *data; /**< written only where the array is an output; may be NULL when the array has no elements */
    gmm_dtype dtype;
    int32_t ndim;           /**< 0 to GMM_MAX_NDIM */
    const int64_t *shape;   /**< ndim sizes, each >= 0 */
    const int64_t *strides; /**< ndim strides in elements, 0 and negative ones included; NULL: row-major */
    uint64_t byte_offset;
} gmm_array;

/** What an output must look like: filled in by gmm_result_spec and gmm_quantize_spec. */
typedef struct gmm_array_spec {
    gmm_dtype dtype;
    int32_t ndim;
    int64_t shape[GMM_MAX_NDIM];
} gmm_array_spec;

/* ---- contexts ---------------------------------------------------------------------------------------------------- */

/** Threads, instruction sets and arithmetic for calls. Opaque, immutable after creation, shareable between threads. */
typedef struct gmm_context gmm_context;

/**
 * A host's own parallel loop: call body(arg, i) once for every i in [0, count), in any order, on any threads, and
 * return when all are done. It need not be concurrent.
 */
typedef void gmm_parallel_for(void *user, int64_t count, void (*body)(void *arg, int64_t i), void *arg);

/** The arithmetic of products with a context. Values are pinned. docs/numerics.md has each as a contract. */
typedef enum gmm_arithmetic {
    GMM_ARITHMETIC_DEFAULT = 0, /**< GMM_ARITHMETIC_F32 */
    GMM_ARITHMETIC_F32 = 1,     /**< f32 multiply-adds of activations and decoded weights */
    /**
     * Activations rounded to int8, sums of integers: faster, and less exact. For affine, mxfp4 and nvfp4 weights with
     * transpose true; every other product is as with GMM_ARITHMETIC_F32, and gmm_explain says which. Each row of lhs is
     * rounded in the groups that the weights have: where m = max |x[k]| of a group, to s * q[k] with s = m / 127 and
     * q[k] = x[k] / s rounded to nearest, ties to even. With weights a * c[k] + b, for integers c[k],
     *
     *     out = sum over groups of  s * (a * sum(c[k] q[k]) + b * sum(q[k]))
     *
     * in which the inner sums are exact. So next to exact activations an element is off by at most
     * sum over groups of  m / 254 * sum |w[k]|, and a part of f32's rounding. A NaN or infinity in a row gives NaN in
     * that row's results. Results depend on as little as those in f32, and are the same bits on every CPU.
     */
    GMM_ARITHMETIC_INT8 = 2
} gmm_arithmetic;

/** Options for gmm_context_create; set `size`, leave the rest zero for the defaults. */
typedef struct gmm_context_options {
    size_t size; /**< sizeof(gmm_context_options); the size before a member was added is good too */
    /**
     * At most this many; 0: OpenMP's default (1 with a parallel_for or no OpenMP). A process forked from one that has
     * used several of OpenMP's threads works with one, whatever this says.
     */
    int32_t threads;
    const char *cpu_mask;           /**< features to leave unused, e.g. "avx512,avx2"; NULL: none beyond GMM_CPU_MASK */
    gmm_parallel_for *parallel_for; /**< NULL: OpenMP */
    void *parallel_for_user;
    gmm_arithmetic arithmetic; /**< 0: f32. Never an error where a product has no such sums: those are f32 */
    /**
     * NULL: none. Else a BLAS that multiplies what the outer kernels would of dense products of f32 by f32: groups of
     * more than 8 rows, at least 2 columns. A path, a name for the dynamic loader, or "auto": the first of the names of
     * gmm_blas_at that is good. Never the default, for a result then depends on more than its operands:
     * docs/numerics.md.
     */
    const char *blas;
} gmm_context_options;

/**
 * Make a context; NULL options are all defaults. Everywhere below a NULL context means one with all defaults.
 *
 * The environment variable GMM_CPU_MASK names features to leave unused in the whole process, separated by commas, in
 * the words of gmm_cpu_feature_at ("avx512", "avx2"; "all" leaves portable C). A feature also rules out those that
 * build on it. It is read once. An unknown word in it is reported by every call that needs a CPU feature set, so that a
 * typing error cannot go unnoticed.
 *
 * A BLAS is loaded into this process, for good, and checked here with small calls, in milliseconds: once for each build
 * (by its build-id, else by path, size and time). If it fails, that is GMM_ERR_BLAS and the finding is the detail,
 * unless zeroing C is a proven remedy, which every call does. Each class of calls (layout, sizes, alignment) is checked
 * before its first call, during gmm_run or gmm_explain; a class that fails is left to the native kernels, and
 * gmm_explain says so. So a BLAS is never the reason that a product fails. A library that crashes or exits when it is
 * loaded or called takes the process with it: `gathermm audit` asks in processes of its own.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_ARGUMENT (size, threads < 0, arithmetic); GMM_ERR_CPU; GMM_ERR_MEMORY;
 * GMM_ERR_BLAS. On error *context is not written.
 */
GMM_API gmm_status gmm_context_create(const gmm_context_options *options, gmm_context **context);

/** Free a context that no call is using; NULL is allowed. */
GMM_API void gmm_context_destroy(gmm_context *context);

/** The number of threads a large call with this context would use. */
GMM_API int32_t gmm_context_threads(const gmm_context *context);

/* ---- products ---------------------------------------------------------------------------------------------------- */

/**
 * Quantized weights. `w` holds codes packed along its last axis as a little-endian bit stream in GMM_U32 words: code i
 * of a row is bits [i*bits, (i+1)*bits) of the row. Groups of group_size consecutive codes share a scale (and a bias).
 *
 *     mode      group_size (default)   bits (default)        scales            value of code q
 *     affine    32, 64, 128 (64)       2, 3, 4, 5, 6, 8 (4)  f32, f16, bf16    scale * q + bias
 *     mxfp4     32                     4                     u8, E8M0          E2M1(q) * 2^(scale - 127)
 *     mxfp8     32                     8                     u8, E8M0          E4M3(q) * 2^(scale - 127)
 *     nvfp4     16                     4                     u8, E4M3          E2M1(q) * E4M3(scale) [* global_scale /
 * 2688]
 *
 * Shapes: w (..., rows, cols*bits/32), scales and biases (..., rows, cols/group_size). Layout and number formats are
 * MLX's; docs/formats.md gives them bit by bit.
 */
typedef struct gmm_quantized {
    const gmm_array *w;
    const gmm_array *scales;
    const gmm_array *biases;       /**< affine only, shape of scales; NULL otherwise */
    const gmm_array *global_scale; /**< nvfp4 only: one GMM_F32 element; NULL: none */
    const char *mode;              /**< NULL: "affine" */
    int32_t group_size;            /**< 0: the mode's default */
    int32_t bits;                  /**< 0: the mode's default */
} gmm_quantized;

/** Weights in the kernels' own order, made from either kind once: see prepared.h. Opaque. */
typedef struct gmm_prepared gmm_prepared;

/** One gathered product. Set `size`, and exactly one of `rhs`, `quantized` and `prepared`. */
typedef struct gmm_product {
    size_t size;                    /**< sizeof(gmm_product) */
    const gmm_array *lhs;           /**< batch_lhs + (M, K) */
    const gmm_array *rhs;           /**< dense: batch_rhs + (K, N), any strides */
    const gmm_quantized *quantized; /**< packed: batch_rhs + (N, K) if transpose, batch_rhs + (K, N) if not */
    const gmm_prepared *prepared;   /**< either of these, prepared: the same result, to the bit */
    bool transpose;                 /**< for quantized weights only; the others know how they lie */
    const gmm_array *lhs_indices;   /**< any integer type; NULL: 0..n-1 in the shape of batch_lhs */
    const gmm_array *rhs_indices;   /**< any integer type; NULL: 0..n-1 in the shape of batch_rhs */
    bool sorted_indices;            /**< a hint; it never changes a result */
} gmm_product;

/**
 * Compute a gathered product, for every p in the broadcast shape P of the two index arrays:
 *
 *     out[p] = lhs[lhs_indices[p]] @ rhs[rhs_indices[p]]            out: P + (M, N)
 *
 * Indices count matrices in row-major order over the batch dimensions (all but the last two). When both index arrays
 * are NULL the batch dimensions broadcast against each other instead, as in matmul. A 1-D dense rhs is (K, 1) and its
 * axis is dropped from the result; a 1-D lhs is (1, K) likewise (with quantized weights only if both index arrays are
 * NULL).
 *
 * Element types: a dense product has the promoted type T of lhs and rhs (f16 with bf16 gives f32; an integer or bool
 * operand takes the other's type), an affine one that of lhs, scales and biases, the others that of lhs; T must be f32,
 * f16 or bf16. `out` may be f32, f16 or bf16 whatever T is. Operands are converted to T, multiplied and added in f32,
 * and rounded to the type of `out` once; or as the context's arithmetic says.
 *
 * M or N = 0 and empty index arrays give an empty result, K = 0 gives zeros.
 *
 * `out` may have any strides that keep its elements apart, may hold anything, and is never read. Its address range must
 * not meet an operand's.
 *
 * @return GMM_OK; GMM_ERR_NULL, _SHAPE, _DTYPE, _INDEX, _FORMAT, _OVERLAP, _SIZE, _ARGUMENT when the call is not
 *         valid; GMM_ERR_CPU; GMM_ERR_MEMORY. On error nothing is written.
 */
GMM_API gmm_status gmm_run(const gmm_context *context, const gmm_product *product, gmm_array *out);

/** The shape and MLX's element type of a product's result. Checks all but the values of indices and `out`. */
GMM_API gmm_status gmm_result_spec(const gmm_product *product, gmm_array_spec *spec);

/**
 * Say what gmm_run would do, without doing it: sizes, kernels, threads, bytes read; a few lines of text, cut to
 * text_size with a final 0. Returns what gmm_run would for the same product (indices are checked; there is no output to
 * check).
 */
GMM_API gmm_status gmm_explain(const gmm_context *context, const gmm_product *product, char *text, size_t text_size);

/** gmm_run for dense operands: MLX's gather_mm(a, b, lhs_indices, rhs_indices, sorted_indices). */
GMM_API gmm_status gmm_gather_mm(const gmm_context *context, const gmm_array *a, const gmm_array *b,
                                 const gmm_array *lhs_indices, const gmm_array *rhs_indices, bool sorted_indices,
                                 gmm_array *out);

/** gmm_run for quantized weights: MLX's gather_qmm(x, w, ..., lhs_indices, rhs_indices, transpose, ...,
 * sorted_indices). */
GMM_API gmm_status gmm_gather_qmm(const gmm_context *context, const gmm_array *x, const gmm_quantized *w,
                                  const gmm_array *lhs_indices, const gmm_array *rhs_indices, bool transpose,
                                  bool sorted_indices, gmm_array *out);

/**
 * MLX's quantized_matmul(x, w, ..., transpose, ...): gmm_run for quantized weights without indices. x of any rank >= 1
 * with a 2-D w; with a w of higher rank, x has rank > 2 and the batch dimensions broadcast.
 */
GMM_API gmm_status gmm_quantized_matmul(const gmm_context *context, const gmm_array *x, const gmm_quantized *w,
                                        bool transpose, gmm_array *out);

/* ---- quantize, dequantize, fp8 ----------------------------------------------------------------------------------- */

/** How mxfp4 and mxfp8 choose a group's exponent from r = max|w| / 6 (mxfp4) or / 448 (mxfp8). */
typedef enum gmm_exponent_rule {
    GMM_EXPONENT_DEFAULT = 0, /**< as the newest MLX on CPUs: GMM_EXPONENT_UP */
    GMM_EXPONENT_NEAREST = 1, /**< log2(r) rounded to nearest; group maxima may saturate (MLX up to 0.32.2) */
    GMM_EXPONENT_UP = 2       /**< the smallest power of two that is at least r; nothing saturates */
} gmm_exponent_rule;

/** How mxfp4, mxfp8 and nvfp4 round elements and treat special groups. docs/formats.md has both in full. */
typedef enum gmm_tie_rule {
    GMM_TIES_DEFAULT = 0, /**< as the newest MLX on CPUs: GMM_TIES_SMALLER */
    GMM_TIES_SMALLER = 1, /**< MLX on CPUs: E2M1 ties go to the smaller magnitude, |v| <= 0.25 becomes +0 */
    GMM_TIES_EVEN = 2     /**< MLX on GPUs: E2M1 ties go to the even code, the sign of zero is kept */
} gmm_tie_rule;

/** Options for gmm_quantize; set `size`, leave the rest zero for the defaults. */
typedef struct gmm_quantize_options {
    size_t size;                   /**< sizeof(gmm_quantize_options) */
    const char *mode;              /**< NULL: "affine" */
    int32_t group_size;            /**< 0: the mode's default */
    int32_t bits;                  /**< 0: the mode's default */
    const gmm_array *global_scale; /**< nvfp4 only: one GMM_F32 element; NULL: none */
    gmm_exponent_rule exponent_rule;
    gmm_tie_rule tie_rule;
} gmm_quantize_options;

/**
 * Quantize groups of consecutive elements of w's last axis; see gmm_quantized for the formats.
 *
 * @param w      f32, f16 or bf16, rank >= 2, any strides, last axis a multiple of group_size.
 * @param w_q    GMM_U32, shape of w with cols*bits/32 as last size.
 * @param scales shape of w with cols/group_size as last size: w's type for affine, GMM_U8 otherwise.
 * @param biases as scales for affine; NULL otherwise.
 * Outputs may have any strides that keep their elements apart. Byte for byte what MLX on CPUs gives under the default
 * rules, except where docs/formats.md lists a defect that is not copied.
 * @return GMM_OK; GMM_ERR_NULL, _SHAPE, _DTYPE, _FORMAT, _OVERLAP, _SIZE, _ARGUMENT; GMM_ERR_MEMORY; GMM_ERR_CPU. On
 * error nothing is written.
 */
GMM_API gmm_status gmm_quantize(const gmm_context *context, const gmm_array *w, const gmm_quantize_options *options,
                                gmm_array *w_q, gmm_array *scales, gmm_array *biases);

/** The shapes and types of gmm_quantize's outputs; biases->ndim is -1 for modes without biases. */
GMM_API gmm_status gmm_quantize_spec(const gmm_array *w, const gmm_quantize_options *options, gmm_array_spec *w_q,
                                     gmm_array_spec *scales, gmm_array_spec *biases);

/**
 * Decode quantized weights: out[..., r, c] = value of code c of row r, computed in f32 and rounded once to out's type
 * (f32, f16 or bf16). out has w's shape with cols as last size. In f32 these are the very numbers that gmm_run
 * multiplies with.
 * @return as gmm_quantize.
 */
GMM_API gmm_status gmm_dequantize(const gmm_context *context, const gmm_quantized *w, gmm_array *out);

/** The shape of gmm_dequantize's output, and MLX's default type for it (affine: that of scales and biases; else bf16).
 */
GMM_API gmm_status gmm_dequantize_spec(const gmm_quantized *w, gmm_array_spec *out);

/**
 * out[i] = the E4M3 code (GMM_U8) nearest to x[i] (f32, f16, bf16), ties to the even code; |x| >= 448, infinities and
 * NaN give 0x7E with x's sign. Same shapes, any strides.
 * @return GMM_OK; GMM_ERR_NULL, _SHAPE, _DTYPE, _OVERLAP, _SIZE. On error nothing is written.
 */
GMM_API gmm_status gmm_to_fp8(const gmm_array *x, gmm_array *out);

/**
 * out[i] (f32, f16, bf16) = the value of E4M3 code x[i] (GMM_U8). 0x7F and 0xFF are NaN (+-480 in MLX up to 0.32.2).
 * @return as gmm_to_fp8.
 */
GMM_API gmm_status gmm_from_fp8(const gmm_array *x, gmm_array *out);

/* ---- what there is ----------------------------------------------------------------------------------------------- */

/** A CPU feature that kernels may need. */
typedef struct gmm_cpu_feature_info {
    const char *name; /**< the word for masks: "avx2", "avx512", ... */
    bool present;     /**< this CPU and this system have it */
    bool masked;      /**< GMM_CPU_MASK or the context's mask leaves it unused */
} gmm_cpu_feature_info;

/** Feature number i, in the order of the list; false past its end. */
GMM_API bool gmm_cpu_feature_at(const gmm_context *context, size_t i, gmm_cpu_feature_info *info);

/** A micro-kernel. */
typedef struct gmm_kernel_info {
    const char *name;  /**< also the name of its source file */
    const char *body;  /**< "dot", "outer", "decode", "int8", "tile" or "activate": docs/architecture.md */
    const char *reads; /**< the weight format that it reads; others are decoded for it */
    int32_t mr, nr;    /**< rows and columns of its tile */
    bool usable;       /**< the CPU has what it needs and no mask forbids it */
    bool used;         /**< the planner's choice for its body and format */
} gmm_kernel_info;

/** Kernel number i, best first; false past the end of the list. */
GMM_API bool gmm_kernel_at(const gmm_context *context, size_t i, gmm_kernel_info *info);

/** A weight format. */
typedef struct gmm_format_info {
    const char *mode; /**< "f32", "f16", "bf16", or a quantized mode */
    bool quantized;   /**< has codes and scales: usable as `mode` */
    bool has_biases;
    const int32_t *group_sizes; /**< 0-terminated, the default first; NULL for dense formats */
    const int32_t *bits;        /**< 0-terminated, the default first; NULL for dense formats */
} gmm_format_info;

/** Format number i; false past the end of the list. */
GMM_API bool gmm_format_at(size_t i, gmm_format_info *info);

/** The compiler that built the library and the flags that matter, one line. */
GMM_API const char *gmm_build_info(void);

#ifdef __cplusplus
}
#endif

#endif
