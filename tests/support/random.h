/* random.h - seeded random numbers for tests, the same on every machine. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_RANDOM_H
#define GMM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

/* xoshiro256** by Blackman and Vigna, its state filled by splitmix64: https://prng.di.unimi.it/ */
typedef struct gmm_random {
    uint64_t state[4];
} gmm_random;

/* Seed from the environment variable GMM_TEST_SEED, or from the clock, mixed with the test's name; prints the line to
 * repeat it. */
void gmm_random_start(gmm_random *random, const char *test);

void gmm_random_seed(gmm_random *random, uint64_t seed);

uint64_t gmm_random_bits(gmm_random *random);

/* Uniform in [lowest, highest]. */
int64_t gmm_random_between(gmm_random *random, int64_t lowest, int64_t highest);

/* True in `percent` of 100 calls. */
bool gmm_random_chance(gmm_random *random, int percent);

/* Uniform in [-1, 1), a multiple of 2^-23: exact in f32. */
double gmm_random_unit(gmm_random *random);

/* How often to repeat: `rounds` times the environment variable GMM_TEST_SCALE (default 1), at least once. */
int64_t gmm_test_rounds(int64_t rounds);

/* Whether to run one item of a fixed list: always, or at random in the part that a GMM_TEST_SCALE below 1 says. */
bool gmm_test_wanted(gmm_random *random);

#endif
