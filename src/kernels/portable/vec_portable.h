/* vec_portable.h - the vector vocabulary of the shared bodies in C that any CPU runs: sixteen f32 lanes in four quads.
 * SPDX-License-Identifier: MIT
 *
 * There is no fma here: without the instruction it is a slow library call. Multiply and add round separately, so this
 * vocabulary's sums differ from the others' in the last bits, within the same bound. GCC and clang turn a quad into one
 * register of SSE2, NEON, AltiVec or, elsewhere, into four. */
#ifndef GMM_VEC_PORTABLE_H
#define GMM_VEC_PORTABLE_H

#include <stdint.h>
#include <string.h>

#include "formats/numbers.h"

typedef float quad __attribute__((vector_size(16)));

typedef struct {
    quad part[4];
} vf32;

static inline vf32 vf32_zero(void)
{
    return (vf32){{{0}, {0}, {0}, {0}}};
}

static inline vf32 vf32_load(const float *p)
{
    vf32 v;

    memcpy(&v, p, sizeof v);
    return v;
}

/* Sixteen bf16 or f16 numbers. */
static inline vf32 vf32_load_bf16(const uint16_t *p)
{
    float wide[16];

    for (int i = 0; i < 16; i++)
        wide[i] = gmm_bf16_to_f32(p[i]);
    return vf32_load(wide);
}

static inline vf32 vf32_load_f16(const uint16_t *p)
{
    float wide[16];

    for (int i = 0; i < 16; i++)
        wide[i] = gmm_f16_to_f32(p[i]);
    return vf32_load(wide);
}

static inline void vf32_store(float *p, vf32 v)
{
    memcpy(p, &v, sizeof v);
}

static inline vf32 vf32_all(float x)
{
    quad all = {x, x, x, x};

    return (vf32){{all, all, all, all}};
}

static inline vf32 vf32_add(vf32 a, vf32 b)
{
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        a.part[i] = a.part[i] + b.part[i];
    return a;
}

/* a * b + c, rounded twice. */
static inline vf32 vf32_fma(vf32 a, vf32 b, vf32 c)
{
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        c.part[i] = a.part[i] * b.part[i] + c.part[i];
    return c;
}

/* The first `count` elements, 0 in the other lanes. */
static inline vf32 vf32_load_first(int64_t count, const float *p)
{
    float lanes[16] = {0};

    memcpy(lanes, p, (size_t)count * sizeof *p);
    return vf32_load(lanes);
}

/* Stores the first `count` lanes. */
static inline void vf32_store_first(int64_t count, float *p, vf32 v)
{
    memcpy(p, &v, (size_t)count * sizeof *p);
}

/* m[i] lane j = m[j] lane i. */
static inline void vf32_transpose(vf32 m[16])
{
    float from[16][16], to[16][16];

    memcpy(from, m, sizeof from);
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++)
            to[i][j] = from[j][i];
    memcpy(m, to, sizeof to);
}

/* Lane i: the sum of v[i * 16] to v[i * 16 + 15], in the tree +8, +4, +2, +1. */
static inline vf32 vf32_trees(const float *v)
{
    float sums[16];

    for (int i = 0; i < 16; i++, v += 16) {
        quad eight[2], four;
        vf32 all = vf32_load(v);
        float lanes[4];
        eight[0] = all.part[0] + all.part[2];
        eight[1] = all.part[1] + all.part[3];
        four = eight[0] + eight[1];
        memcpy(lanes, &four, sizeof lanes);
        sums[i] = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
    }
    return vf32_load(sums);
}

/* As vf32_fma in the first `count` lanes, from count elements of memory each; c in the others. */
static inline vf32 vf32_fma_first(int64_t count, const float *a, vf32 b, vf32 c)
{
    float lanes[16], factors[16];

    vf32_store(lanes, c);
    vf32_store(factors, b);
    for (int64_t i = 0; i < count; i++)
        lanes[i] = a[i] * factors[i] + lanes[i];
    return vf32_load(lanes);
}

#endif
