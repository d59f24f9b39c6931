/* check_activate.c - activations: to the bit what portable C has, of every length, at every place in a vector. */
/* SPDX-License-Identifier: MIT */
#include "cmocka_test.h"

#include <stdlib.h>

#include "formats/numbers.h"
#include "kernel_check.h"

extern const gmm_kernel gmm_activate_f32_portable;

enum {
    ACTIVATIONS = GMM_ACTIVATION_RELU_SQUARED + 1
};

static gmm_activate call_of(int activation, const float *gate, const float *up, float *out, int64_t count)
{
    return (gmm_activate){.activation = (gmm_activation)activation,
                          .alpha = 1.702f,
                          .limit = 7,
                          .gate = gate,
                          .up = up,
                          .out = out,
                          .count = count};
}

/* All at once by this kernel, one by one by portable C. */
static void check_run(const gmm_kernel *kernel, int activation, int64_t count, const float *gate, const float *up)
{
    gmm_guarded memory;
    float *out = check_floats(&memory, count), *want = check_allocate(count, sizeof *want);
    gmm_activate call = call_of(activation, gate, up, out, count);

    kernel->activate(&call);
    for (int64_t i = 0; i < count; i++) {
        gmm_activate one = call_of(activation, gate + i, up + i, want + i, 1);
        gmm_activate_f32_portable.activate(&one);
    }
    check_all_same(out, want, count, "portable C has");
    if (!gmm_guarded_intact(&memory))
        check_fail("writes before its results");
    gmm_guarded_free(&memory);
    free(want);
}

void check_activate_lengths(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "activate_lengths", &random);

    for (int64_t count = 1; count <= 130; count++)
        for (int activation = 0; activation < ACTIVATIONS; activation++)
            for (int values = CHECK_TAME; values <= CHECK_WILD; values++) {
                gmm_guarded memory[2];
                if (!gmm_test_wanted(&random))
                    continue;
                float *gate = check_floats(&memory[0], count), *up = check_floats(&memory[1], count);
                check_floats_fill(&random, (check_values)values, count, gate);
                check_floats_fill(&random, (check_values)values, count, up);
                check_case("activation %d of %lld elements, %s", activation, (long long)count,
                           check_values_text((check_values)values));
                check_run(kernel, activation, count, gate, up);
                gmm_guarded_free(&memory[0]);
                gmm_guarded_free(&memory[1]);
            }
}

/* Numbers of all exponents as gate: some thousand of each. */
void check_activate_numbers(void **state)
{
    enum {
        COUNT = 1000
    };
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "activate_numbers", &random);
    float *gate = check_allocate(COUNT, sizeof *gate), *up = check_allocate(COUNT, sizeof *up);

    for (uint32_t exponent = 0; exponent < 512; exponent++) /* and the sign */
        for (int activation = 0; activation < ACTIVATIONS; activation++) {
            if (!gmm_test_wanted(&random))
                continue;
            for (int i = 0; i < COUNT; i++)
                gate[i] = gmm_f32_from_bits(exponent << 23 | (uint32_t)(gmm_random_bits(&random) >> 41));
            check_floats_fill(&random, CHECK_TAME, COUNT, up);
            check_case("activation %d of numbers with sign and exponent %u", activation, exponent);
            check_run(kernel, activation, COUNT, gate, up);
        }
    free(gate);
    free(up);
}
