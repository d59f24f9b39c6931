/* blas_invoke.c - make a BLAS call of any routine, in either interface, with integers of either width. */
/* SPDX-License-Identifier: MIT */

/*
 * A BLAS has some 300 functions of some 40 signatures, twice. One call site serves them all, because in the calling
 * conventions of x86-64 (System V) and AArch64 integers and pointers on one side and floating-point numbers on the
 * other are passed in registers of their own, each in order, and what a function does not take does no harm: so
 * integers and pointers go first and the at most two numbers last, whatever their places. tests/unit/test_blas_invoke.c
 * compares it with compiled calls.
 */
#include <string.h>

#include "blas/blas_call.h"

enum {
    MAX_WORDS = 24, /* gemm has 14 arguments; Fortran's have hidden lengths besides */
    MAX_CHARACTERS = 5,
    ROW_MAJOR = 101,
    COLUMN_MAJOR = 102
};

typedef struct words {
    intptr_t word[MAX_WORDS];
    int count;
    double number[2];
    int number_count;
    int integer_bits;
#if defined(__APPLE__) && defined(__aarch64__)
    int stack_bytes; /* there arguments on the stack take their own size, not eight bytes */
#endif
    /* What Fortran's arguments point to. */
    int64_t integer[10];
    int integer_count;
    char character[MAX_CHARACTERS];
    int character_count;
    union {
        float f[2];
        double d[2];
    } factor[2];
} words;

static void push(words *w, intptr_t value, int bytes)
{
#if defined(__APPLE__) && defined(__aarch64__)
    if (w->count >= 8) {
        w->stack_bytes = (w->stack_bytes + bytes - 1) / bytes * bytes;
        memcpy((char *)&w->word[8] + w->stack_bytes, &value, (size_t)bytes);
        w->stack_bytes += bytes;
        return;
    }
#endif
    (void)bytes;
    w->word[w->count++] = value;
}

static void push_pointer(words *w, const void *pointer)
{
    push(w, (intptr_t)pointer, (int)sizeof pointer);
}

static void push_integer(words *w, const gmm_blas_call *call, int64_t value)
{
    if (!call->fortran) {
        push(w, (intptr_t)value, w->integer_bits / 8);
        return;
    }
    int64_t *place = &w->integer[w->integer_count++];
    int32_t narrow = (int32_t)value;
    if (w->integer_bits == 64)
        *place = value;
    else
        memcpy(place, &narrow, sizeof narrow);
    push_pointer(w, place);
}

int gmm_blas_flag_number(char argument, char letter)
{
    static const char flags[] = "tN\x6FtT\x70tC\x71uU\x79uL\x7A"
                                "dN\x83"
                                "dU\x84sL\x8DsR\x8E";

    for (const char *f = flags; *f; f += 3)
        if (f[0] == (argument == 'r' ? 't' : argument) && f[1] == letter)
            return (unsigned char)f[2];
    return letter;
}

static void push_flag(words *w, const gmm_blas_call *call, char argument)
{
    char letter = gmm_blas_flag(call, argument);

    if (!call->fortran) {
        push(w, gmm_blas_flag_number(argument, letter), 4);
        return;
    }
    w->character[w->character_count] = letter;
    push_pointer(w, &w->character[w->character_count++]);
}

static void push_factor(words *w, const gmm_blas_call *call, int which)
{
    const double *value = which ? call->beta : call->alpha;
    bool real = which ? call->routine->real_beta : call->routine->real_alpha;

    if (!call->fortran && (real || !gmm_blas_is_complex(call->type))) {
        w->number[w->number_count++] = value[0];
        return;
    }
    for (int i = 0; i < 2; i++)
        if (gmm_blas_real_bytes(call->type) == sizeof(float))
            w->factor[which].f[i] = (float)value[i];
        else
            w->factor[which].d[i] = value[i];
    push_pointer(w, &w->factor[which]);
}

static void push_argument(words *w, const gmm_blas_call *call, char argument, int *operand, void *result)
{
    switch (argument) {
    case 'o':
        if (!call->fortran)
            push(w, call->row_major ? ROW_MAJOR : COLUMN_MAJOR, 4);
        break;
    case 'M':
    case 'N':
    case 'K':
        push_integer(w, call, gmm_blas_size(call, argument));
        break;
    case 'L':
        push_integer(w, call, call->kl);
        break;
    case 'U':
        push_integer(w, call, call->ku);
        break;
    case '*':
    case '+':
        push_factor(w, call, argument == '+');
        break;
    case 'R':
        push_pointer(w, result);
        break;
    case 'P':
        push_pointer(w, call->operands[(*operand)++].data);
        break;
    case 'A':
    case 'B':
    case 'C':
    case 'X':
    case 'Y':
        push_pointer(w, call->operands[*operand].data);
        push_integer(w, call, call->operands[(*operand)++].step);
        break;
    default:
        push_flag(w, call, argument);
    }
}

#define W(i) w->word[i]
#define WORDS                                                                                                          \
    W(0), W(1), W(2), W(3), W(4), W(5), W(6), W(7), W(8), W(9), W(10), W(11), W(12), W(13), W(14), W(15), W(16),       \
        W(17), W(18), W(19), W(20), W(21), W(22), W(23)
#define WORD_TYPES                                                                                                     \
    intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t,      \
        intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t,  \
        intptr_t, intptr_t

typedef intptr_t with_floats(WORD_TYPES, float, float);
typedef intptr_t with_doubles(WORD_TYPES, double, double);
typedef float gives_float(WORD_TYPES);
typedef double gives_double(WORD_TYPES);
typedef float _Complex gives_complex_float(WORD_TYPES);
typedef double _Complex gives_complex_double(WORD_TYPES);

static double call_for_number(const words *w, gmm_blas_any_function *function, bool single)
{
    return single ? (double)((gives_float *)function)(WORDS) : ((gives_double *)function)(WORDS);
}

static intptr_t call_plain(const words *w, gmm_blas_any_function *function, bool single)
{
    return single ? ((with_floats *)function)(WORDS, (float)w->number[0], (float)w->number[1])
                  : ((with_doubles *)function)(WORDS, w->number[0], w->number[1]);
}

static void call_for_complex(const words *w, gmm_blas_any_function *function, bool single, void *result)
{
    if (single) {
        float _Complex value = ((gives_complex_float *)function)(WORDS);
        memcpy(result, &value, sizeof value);
    } else {
        double _Complex value = ((gives_complex_double *)function)(WORDS);
        memcpy(result, &value, sizeof value);
    }
}

gmm_blas_result gmm_blas_invoke(const gmm_blas_call *call, gmm_blas_any_function *function, int integer_bits)
{
    union {
        float f[2];
        double d[2];
    } complex_result = {.d = {0, 0}};
    gmm_blas_result result = {{0, 0}, -1};
    words w = {.integer_bits = integer_bits};
    bool single = gmm_blas_real_bytes(call->type) == sizeof(float);
    gmm_blas_sum sum = call->routine->sum;
    int operand = 0;

    bool hidden = call->routine->complex_value && call->fortran && call->hidden_result;

    if (hidden)
        push_pointer(&w, &complex_result);
    for (const char *a = call->routine->arguments; *a; a++)
        push_argument(&w, call, *a, &operand, &complex_result);
    for (int i = 0; i < w.character_count; i++)
        push(&w, 1, 8);
    if (sum == GMM_SUM_IAMAX) {
        intptr_t index = call_plain(&w, function, single);
        result.index = (integer_bits == 64 ? (int64_t)index : (int64_t)(int32_t)index) - (call->fortran ? 1 : 0);
    } else if (sum == GMM_SUM_NRM2 || sum == GMM_SUM_ASUM || (sum == GMM_SUM_DOT && !gmm_blas_is_complex(call->type))) {
        result.value[0] = call_for_number(&w, function, single);
    } else {
        if (call->routine->complex_value && !hidden)
            call_for_complex(&w, function, single, &complex_result);
        else
            call_plain(&w, function, single);
        for (int i = 0; i < 2 && sum == GMM_SUM_DOT; i++)
            result.value[i] = single ? (double)complex_result.f[i] : complex_result.d[i];
    }
    return result;
}
