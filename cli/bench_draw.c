/* bench_draw.c - experts drawn as a router would, from weights that no cache holds.
 * SPDX-License-Identifier: MIT
 *
 * A token takes top_k experts one after the other, without repetition, each with a probability proportional to its
 * popularity among those left: 1 / sqrt(r + 1) for the expert of rank r. With 128 experts the first is 6 times as
 * popular as the mean and the last half as popular; with 8 experts, 1.8 times and two thirds.
 *
 * Which matrix has which rank changes with each draw: the ranks that a draw touches are the matrices of the next stack
 * that have been left alone the longest. So it is in a model, where all other layers are read before the same expert is
 * read again; and so a product of one token does not find its weights in a cache, however popular they are. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "output.h"

/* SplitMix64: https://prng.di.unimi.it/splitmix64.c */
uint64_t bench_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

/* In [0, 1). */
static double uniform(uint64_t *state)
{
    return (double)(bench_random(state) >> 11) * 0x1p-53;
}

static void shuffle(uint64_t *state, int32_t *values, int32_t count)
{
    for (int32_t i = count - 1; i > 0; i--) {
        int32_t j = (int32_t)(bench_random(state) % (uint64_t)(i + 1)), kept = values[i];
        values[i] = values[j];
        values[j] = kept;
    }
}

void bench_draw_start(bench_draw *draw, uint64_t seed, const bench_weights *weights, int32_t top_k, bool in_cache)
{
    /* The number of stacks, which hangs on the format, must not change what is drawn. */
    uint64_t shuffling = ~seed;

    *draw = (bench_draw){
        .state = seed,
        .experts = (int32_t)weights->experts,
        .top_k = top_k,
        .stacks = weights->stacks,
        .stack = weights->stacks - 1,
        .in_cache = in_cache,
    };
    draw->popularity = must_allocate((size_t)draw->experts, sizeof *draw->popularity);
    draw->decks = must_allocate((size_t)(draw->stacks * draw->experts), sizeof *draw->decks);
    draw->tops = must_allocate((size_t)draw->stacks, sizeof *draw->tops);
    draw->places = must_allocate((size_t)draw->experts, sizeof *draw->places);
    for (int32_t r = 0; r < draw->experts; r++)
        draw->popularity[r] = 1 / sqrt(r + 1);
    for (int64_t stack = 0; stack < draw->stacks; stack++) {
        int32_t *deck = draw->decks + stack * draw->experts;
        for (int32_t e = 0; e < draw->experts; e++)
            deck[e] = e;
        shuffle(&shuffling, deck, draw->experts);
    }
}

/* One rank, with a probability proportional to what is left of the popularities. */
static int32_t draw_rank(bench_draw *draw, const double *left, double sum)
{
    double at = uniform(&draw->state) * sum;
    int32_t last = 0;

    for (int32_t r = 0; r < draw->experts; r++) {
        if (left[r] == 0)
            continue;
        last = r; /* rounding may leave a little of `at` after the last */
        if (at < left[r])
            break;
        at -= left[r];
    }
    return last;
}

int64_t bench_draw_next(bench_draw *draw, int32_t tokens, int32_t *indices)
{
    double *left = must_allocate((size_t)draw->experts, sizeof *left);
    int32_t touched = 0;

    draw->stack = (draw->stack + 1) % draw->stacks;
    const int32_t *deck = draw->decks + draw->stack * draw->experts;
    int32_t *top = draw->tops + draw->stack;
    for (int32_t r = 0; r < draw->experts; r++)
        draw->places[r] = -1;
    for (int32_t token = 0; token < tokens; token++) {
        memcpy(left, draw->popularity, (size_t)draw->experts * sizeof *left);
        for (int32_t i = 0; i < draw->top_k; i++) {
            double sum = 0;
            for (int32_t r = 0; r < draw->experts; r++)
                sum += left[r];
            int32_t rank = draw_rank(draw, left, sum);
            left[rank] = 0;
            if (draw->places[rank] < 0)
                draw->places[rank] = (*top + touched++) % draw->experts;
            *indices++ = deck[draw->in_cache ? rank : draw->places[rank]];
        }
    }
    *top = (*top + touched) % draw->experts;
    free(left);
    return touched;
}

void bench_draw_end(bench_draw *draw)
{
    free(draw->popularity);
    free(draw->decks);
    free(draw->tops);
    free(draw->places);
}
