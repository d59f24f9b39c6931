/* guard_decode.c - the arguments of a call as they arrived, read by the table of routines. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "guard/guard_watch.h"

typedef struct reader {
    const gmm_guard_arguments *arguments;
    int word, number;
    int integer_bits;
    bool fortran;
#if defined(__APPLE__) && defined(__aarch64__)
    size_t stack_bytes; /* there arguments on the stack take their own size, not eight bytes: as in blas_invoke.c */
#endif
} reader;

/* The next argument of `bytes` bytes; what lies above them is not to be looked at. */
static intptr_t next_word(reader *r, size_t bytes)
{
#if defined(__APPLE__) && defined(__aarch64__)
    enum {
        REGISTERS = 8
    };
    intptr_t value = 0;

    if (r->word >= REGISTERS) {
        r->stack_bytes = (r->stack_bytes + bytes - 1) / bytes * bytes;
        memcpy(&value, (const char *)&r->arguments->words[REGISTERS] + r->stack_bytes, bytes);
        r->stack_bytes += bytes;
        return value;
    }
#endif
    (void)bytes;
    return r->arguments->words[r->word++];
}

static const void *next_pointer(reader *r)
{
    return (const void *)next_word(r, sizeof(void *));
}

static int64_t next_integer(reader *r)
{
    int64_t wide;
    int32_t narrow;

    if (!r->fortran) {
        wide = next_word(r, (size_t)r->integer_bits / 8);
        return r->integer_bits == 64 ? wide : (int32_t)wide;
    }
    const void *at = next_pointer(r);
    if (r->integer_bits == 64) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    memcpy(&narrow, at, sizeof narrow);
    return narrow;
}

/* Fortran's letter, in upper case, or that of the CBLAS number; 0 for what is neither. */
static char next_flag(reader *r)
{
    static const char letters[] = "\x6FN\x70T\x71"
                                  "C\x79U\x7AL\x83N\x84U\x8DL\x8ER";
    char letter;

    if (r->fortran) {
        letter = *(const char *)next_pointer(r);
        return letter >= 'a' && letter <= 'z' ? (char)(letter - 'a' + 'A') : letter;
    }
    int32_t number = (int32_t)next_word(r, sizeof(int32_t));
    for (const char *l = letters; *l; l += 2)
        if ((unsigned char)l[0] == number)
            return l[1];
    return 0;
}

static void read_factor(const void *at, char type, bool real, double value[2])
{
    int parts = real || !gmm_blas_is_complex(type) ? 1 : 2;
    float single[2];

    value[1] = 0;
    if (gmm_blas_real_bytes(type) == sizeof(double)) {
        memcpy(value, at, (size_t)parts * sizeof *value);
        return;
    }
    memcpy(single, at, (size_t)parts * sizeof *single);
    for (int i = 0; i < parts; i++)
        value[i] = (double)single[i];
}

static void next_factor(reader *r, const gmm_blas_call *call, bool real, double value[2])
{
    bool by_value = !r->fortran && (real || !gmm_blas_is_complex(call->type));

    /* A float lies in the lower half of its register. */
    read_factor(by_value ? (const void *)&r->arguments->numbers[r->number++] : next_pointer(r), call->type, real,
                value);
}

bool gmm_guard_decode(const gmm_guard_slot *slot, const gmm_guard_arguments *arguments, int integer_bits,
                      gmm_blas_complex_return complex_return, gmm_blas_call *call, const void **result_at)
{
    const gmm_blas_routine *routine = gmm_blas_routine_at(slot->routine);
    reader r = {.arguments = arguments, .integer_bits = integer_bits, .fortran = slot->fortran};
    int operand = 0;

    *result_at = NULL;
    *call = (gmm_blas_call){.routine = routine,
                            .type = slot->type,
                            .fortran = slot->fortran,
                            .side = 'L',
                            .uplo = 'U',
                            .transpose_a = 'N',
                            .transpose_b = 'N',
                            .diag = 'N'};
    if (routine->complex_value && complex_return == GMM_COMPLEX_UNKNOWN)
        return false;
    call->hidden_result = routine->complex_value && complex_return == GMM_COMPLEX_HIDDEN;
    if (call->hidden_result)
        *result_at = next_pointer(&r);
    for (const char *a = routine->arguments; *a; a++) {
        int32_t order;
        switch (*a) {
        case 'o':
            order = slot->fortran ? 102 : (int32_t)next_word(&r, sizeof(int32_t));
            if (order != 101 && order != 102)
                return false;
            call->row_major = order == 101;
            break;
        case 's':
            call->side = next_flag(&r);
            break;
        case 'u':
            call->uplo = next_flag(&r);
            break;
        case 't':
            call->transpose_a = next_flag(&r);
            break;
        case 'r':
            call->transpose_b = next_flag(&r);
            break;
        case 'd':
            call->diag = next_flag(&r);
            break;
        case 'M':
            call->m = next_integer(&r);
            break;
        case 'N':
            call->n = next_integer(&r);
            break;
        case 'K':
            call->k = next_integer(&r);
            break;
        case 'L':
            call->kl = next_integer(&r);
            break;
        case 'U':
            call->ku = next_integer(&r);
            break;
        case '*':
            next_factor(&r, call, routine->real_alpha, call->alpha);
            break;
        case '+':
            next_factor(&r, call, routine->real_beta, call->beta);
            break;
        case 'R':
            *result_at = next_pointer(&r);
            break;
        default: {
            const void *data = next_pointer(&r);
            memcpy(&call->operands[operand].data, &data, sizeof data);
            call->operands[operand].offset = (int64_t)((uintptr_t)data % 64);
            if (*a != 'P')
                call->operands[operand].step = next_integer(&r);
            operand++;
        }
        }
    }
    /* A transpose that means "conjugated and not transposed" exists in some libraries. */
    return call->transpose_a != 0 && call->transpose_b != 0;
}
