/* random.c - see random.h. */
/* SPDX-License-Identifier: MIT */
#include "random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void gmm_random_seed(gmm_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        random->state[i] = splitmix(&seed);
}

/* One seed for the whole program, so that one value of GMM_TEST_SEED repeats all of its tests. */
static uint64_t program_seed(void)
{
    static uint64_t seed;
    static bool known;

    if (!known) {
        const char *text = getenv("GMM_TEST_SEED");
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        seed = ((uint64_t)now.tv_sec << 20 ^ (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 40) & 0xFFFFFFFFFFFFu;
        if (text)
            seed = strtoull(text, NULL, 0);
        known = true;
    }
    return seed;
}

void gmm_random_start(gmm_random *random, const char *test)
{
    uint64_t hash = 0xCBF29CE484222325u; /* FNV-1a */

    for (const char *c = test; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001B3u;
    gmm_random_seed(random, program_seed() ^ hash);
    printf("%s: GMM_TEST_SEED=%" PRIu64 "\n", test, program_seed());
    fflush(stdout);
}

uint64_t gmm_random_bits(gmm_random *random)
{
    uint64_t *s = random->state;
    uint64_t product = s[1] * 5, result = (product << 7 | product >> 57) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return result;
}

int64_t gmm_random_between(gmm_random *random, int64_t lowest, int64_t highest)
{
    return lowest + (int64_t)(gmm_random_bits(random) % ((uint64_t)(highest - lowest) + 1));
}

bool gmm_random_chance(gmm_random *random, int percent)
{
    return gmm_random_between(random, 0, 99) < percent;
}

double gmm_random_unit(gmm_random *random)
{
    return (double)gmm_random_between(random, -(1 << 23), (1 << 23) - 1) / (1 << 23);
}

static double scale(void)
{
    const char *text = getenv("GMM_TEST_SCALE");

    return text ? strtod(text, NULL) : 1;
}

int64_t gmm_test_rounds(int64_t rounds)
{
    double scaled = (double)rounds * scale();

    return scaled < 1 ? 1 : (int64_t)scaled;
}

bool gmm_test_wanted(gmm_random *random)
{
    return (double)gmm_random_between(random, 0, 999) < 1000 * scale();
}
