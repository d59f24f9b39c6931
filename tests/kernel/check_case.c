/* check_case.c - the case in hand: which kernel, which shape; what is said of it when it fails or dies. */
/* SPDX-License-Identifier: MIT */
#include "cmocka_test.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/cpu.h"
#include "kernel_check.h"

static const gmm_kernel *current;
static char text[256];

/* A read or write beyond an operand, or an instruction that `needs` does not name. */
static void died(int signal_number)
{
    const char *parts[] = {current->name, ": ", text, signal_number == SIGILL ? ": no such instruction" : ": touched",
                           signal_number == SIGILL ? "\n" : " memory that is no operand's\n"};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0)
            break;
    _exit(1);
}

const gmm_kernel *check_begin(void **state, const char *check, gmm_random *random)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL};
    char name[128];

    current = *state;
    text[0] = '\0';
    snprintf(name, sizeof name, "%s %s", current->name, check);
    gmm_random_start(random, name);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        signal(signals[i], died); /* cmocka's own, which it restores after the test, would not know the case */
    return current;
}

void check_case(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
}

void check_fail(const char *format, ...)
{
    char message[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    fail_msg("%s: %s: %s", current->name, text, message);
}

bool check_usable(const gmm_kernel *kernel)
{
    uint32_t features;

    if (gmm_cpu_usable(NULL, &features)) {
        fprintf(stderr, "kernel_check: %s\n", gmm_error_detail());
        exit(2);
    }
    return !(kernel->needs & ~features);
}

const gmm_kernel *check_sibling(const gmm_kernel *kernel, const char *body)
{
    const gmm_kernel *alike = NULL;

    for (size_t i = 0; gmm_kernels[i]; i++) {
        const gmm_kernel *other = gmm_kernels[i];
        if (strcmp(other->body, body) != 0 || strcmp(other->reads, "f32") != 0 || !check_usable(other) ||
            !other->needs != !kernel->needs)
            continue;
        if (!alike || !strcmp(strrchr(other->name, '_'), strrchr(kernel->name, '_')))
            alike = other;
    }
    if (!alike)
        check_fail("there is no kernel with body %s to compare it with", body);
    return alike;
}

bool check_same(float a, float b)
{
    return isnan(a) ? isnan(b) : memcmp(&a, &b, sizeof a) == 0;
}

void check_all_same(const float *got, const float *want, int64_t count, const char *what)
{
    for (int64_t i = 0; i < count; i++)
        if (!check_same(got[i], want[i]))
            check_fail("number %lld is %.9g, not %.9g as %s", (long long)i, (double)got[i], (double)want[i], what);
}

void *check_allocate(int64_t count, size_t size)
{
    void *memory = calloc(count > 0 ? (size_t)count : 1, size);

    if (!memory) {
        fprintf(stderr, "kernel_check: no memory\n");
        exit(1);
    }
    return memory;
}

float check_contract_sum(bool fma, int64_t classes, int64_t k, const float *x, const float *w)
{
    float sums[GMM_CLASSES] = {0};

    for (int64_t i = 0; i < k; i++) {
        float *sum = &sums[i % classes];
        *sum = fma ? fmaf(x[i], w[i], *sum) : x[i] * w[i] + *sum;
    }
    for (int64_t half = classes / 2; half > 0; half /= 2)
        for (int64_t i = 0; i < half; i++)
            sums[i] = sums[i] + sums[i + half];
    return sums[0];
}

void check_bound(int64_t k, const float *x, const float *w, float got)
{
    double exact = 0, magnitude = 0, n = ((double)k + 5) * 0x1p-24;

    for (int64_t i = 0; i < k; i++) {
        exact += (double)x[i] * (double)w[i];
        magnitude += fabs((double)x[i] * (double)w[i]);
    }
    /* gamma(k + 5) * sum |x w| + (k + 2) * 2^-149, as docs/numerics.md has it for weights that are exact */
    double bound = n / (1 - n) * magnitude + ((double)k + 2) * 0x1p-149;
    if (!(fabs((double)got - exact) <= bound))
        check_fail("%.9g is %.3g from %.9g; the bound is %.3g", (double)got, fabs((double)got - exact), exact, bound);
}
