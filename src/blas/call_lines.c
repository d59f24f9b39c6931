/* call_lines.c - see call_lines.h. */
/* SPDX-License-Identifier: MIT */
#include "blas/call_lines.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "blas/audit_memory.h"

static bool by_column(const gmm_blas_call *call)
{
    return call->fortran || !call->row_major;
}

static int64_t magnitude(int64_t x)
{
    return x < 0 ? -x : x;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t gmm_call_line_count(const gmm_blas_call *call, int operand)
{
    const gmm_blas_operand_spec *spec = &call->routine->operands[operand];
    int64_t rows, columns;

    gmm_blas_stored_shape(call, operand, &rows, &columns);
    if (rows <= 0 || columns <= 0)
        return 0;
    if (spec->form == GMM_FORM_VECTOR)
        return spec->storage == GMM_STORED_PACKED || magnitude(call->operands[operand].step) == 1 ? 1 : rows;
    if (spec->storage == GMM_STORED_PACKED)
        return 1;
    return by_column(call) ? columns : rows;
}

/* Line i of a band: of the column (or row) only what lies within the matrix. */
static gmm_call_line band_line(const gmm_blas_call *call, int operand, int64_t i)
{
    bool general = call->routine->operands[operand].form == GMM_FORM_GENERAL, lower = call->uplo == 'L';
    int64_t below = general ? call->kl : lower ? call->k : 0, above = general ? call->ku : lower ? 0 : call->k;
    int64_t rows, columns;

    gmm_blas_stored_shape(call, operand, &rows, &columns);
    int64_t before = by_column(call) ? above : below, after = by_column(call) ? below : above;
    int64_t length = by_column(call) ? rows : columns;
    int64_t first = i > before ? i - before : 0, last = least(length - 1, i + after);
    return (gmm_call_line){call->operands[operand].step * i + before + first - i, last < first ? 0 : last - first + 1};
}

gmm_call_line gmm_call_line_at(const gmm_blas_call *call, int operand, int64_t i)
{
    const gmm_blas_operand_spec *spec = &call->routine->operands[operand];
    int64_t rows, columns, step = call->operands[operand].step;

    gmm_blas_stored_shape(call, operand, &rows, &columns);
    if (spec->form == GMM_FORM_VECTOR)
        return spec->storage == GMM_STORED_PACKED || magnitude(step) == 1 ? (gmm_call_line){0, rows}
                                                                          : (gmm_call_line){i * magnitude(step), 1};
    if (spec->storage == GMM_STORED_PACKED)
        return (gmm_call_line){0, rows * (rows + 1) / 2};
    if (spec->storage == GMM_STORED_BAND)
        return band_line(call, operand, i);
    if (spec->form == GMM_FORM_GENERAL)
        return (gmm_call_line){i * step, by_column(call) ? rows : columns};
    /* Row-major storage of one triangle is column-major storage of the other. */
    if ((call->uplo == 'U') == by_column(call))
        return (gmm_call_line){i * step, i + 1};
    return (gmm_call_line){i * step + i, rows - i};
}

/* ---- what is legal ----------------------------------------------------------------------------------------------- */

static bool flag_is_legal(const gmm_blas_call *call, char argument)
{
    switch (argument) {
    case 's':
        return call->side == 'L' || call->side == 'R';
    case 'u':
        return call->uplo == 'U' || call->uplo == 'L';
    case 't':
        return call->transpose_a && strchr("NTC", call->transpose_a) != NULL;
    case 'r':
        return call->transpose_b && strchr("NTC", call->transpose_b) != NULL;
    case 'd':
        return call->diag == 'N' || call->diag == 'U';
    default:
        return true;
    }
}

static bool step_is_legal(const gmm_blas_call *call, int operand, char *why, size_t why_size)
{
    const gmm_blas_operand_spec *spec = &call->routine->operands[operand];
    int64_t step = call->operands[operand].step, low = gmm_blas_least_step(call, operand);
    char name = (char)(spec->name - 'A' + 'a');

    if (spec->storage == GMM_STORED_PACKED)
        return true;
    if (spec->form == GMM_FORM_VECTOR) {
        if (step != 0)
            return true;
        snprintf(why, why_size, "inc%c is 0", name);
        return false;
    }
    if (step >= low)
        return true;
    snprintf(why, why_size, "ld%c is %" PRId64 ", at least %" PRId64 " is allowed", name, step, low);
    return false;
}

bool gmm_call_is_legal(const gmm_blas_call *call, char *why, size_t why_size)
{
    const struct {
        char argument;
        const char *name;
        int64_t value;
    } sizes[] = {
        {'M', "m", call->m}, {'N', "n", call->n}, {'K', "k", call->k}, {'L', "kl", call->kl}, {'U', "ku", call->ku}};

    for (const char *a = call->routine->arguments; *a; a++)
        if (!flag_is_legal(call, *a)) {
            snprintf(why, why_size, "the argument for %s has no meaning",
                     *a == 's'   ? "side"
                     : *a == 'u' ? "uplo"
                     : *a == 'd' ? "diag"
                                 : "a transpose");
            return false;
        }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (gmm_blas_has_argument(call->routine, sizes[i].argument) && sizes[i].value < 0) {
            snprintf(why, why_size, "%s is %" PRId64, sizes[i].name, sizes[i].value);
            return false;
        }
    for (int o = 0; o < gmm_blas_operand_count(call); o++)
        if (!step_is_legal(call, o, why, why_size))
            return false;
    return true;
}

bool gmm_call_is_empty(const gmm_blas_call *call)
{
    bool empty = gmm_blas_level(call->routine) > 1; /* level 1 returns numbers for empty vectors */

    for (int o = 0; o < gmm_blas_operand_count(call); o++)
        if (gmm_blas_is_output(call, o) && gmm_call_line_count(call, o) > 0)
            empty = false;
    if (gmm_blas_level(call->routine) == 1)
        empty = gmm_blas_has_argument(call->routine, 'N') && call->n <= 0;
    /* A gemv without columns leaves y alone: Reference-LAPACK#788. */
    if (gmm_blas_has_argument(call->routine, 'M') && (call->m == 0 || call->n == 0))
        empty = true;
    return empty;
}

/* ---- overlap ----------------------------------------------------------------------------------------------------- */

typedef struct span {
    uintptr_t first, end;
} span;

static span line_span(const gmm_blas_call *call, int operand, int64_t i)
{
    gmm_call_line line = gmm_call_line_at(call, operand, i);
    uintptr_t base = (uintptr_t)call->operands[operand].data;
    size_t bytes = gmm_blas_element_bytes(call->type);

    return (span){base + (uintptr_t)line.start * bytes, base + (uintptr_t)(line.start + line.length) * bytes};
}

bool gmm_call_overlap(const gmm_blas_call *call, int a, int b)
{
    int64_t a_count = gmm_call_line_count(call, a), b_count = gmm_call_line_count(call, b), i = 0, j = 0;

    if (a_count == 0 || b_count == 0 || line_span(call, a, a_count - 1).end <= line_span(call, b, 0).first ||
        line_span(call, b, b_count - 1).end <= line_span(call, a, 0).first)
        return false;
    /* Blocks of one matrix lie between each other's lines: walk both in the order of addresses. */
    while (i < a_count && j < b_count) {
        span x = line_span(call, a, i), y = line_span(call, b, j);
        if (x.first < y.end && y.first < x.end)
            return true;
        if (x.end <= y.first)
            i++;
        else
            j++;
    }
    return false;
}

/* ---- finite numbers ---------------------------------------------------------------------------------------------- */

static bool singles_are_finite(const uint32_t *x, size_t count)
{
    uint32_t bad = 0;

    for (size_t i = 0; i < count; i++)
        bad |= (uint32_t)((x[i] & 0x7F800000u) == 0x7F800000u);
    return bad == 0;
}

/* The upper halves tell; without a comparison of 64-bit lanes, which SSE2 does not have. */
static bool doubles_are_finite(const uint32_t *x, size_t count)
{
    uint32_t bad = 0;

    for (size_t i = 0; i < count; i++)
        bad |= (uint32_t)((x[2 * i + 1] & 0x7FF00000u) == 0x7FF00000u);
    return bad == 0;
}

bool gmm_call_is_finite(const gmm_blas_call *call, int operand, const void *base)
{
    int64_t lines = gmm_call_line_count(call, operand);
    size_t bytes = gmm_blas_element_bytes(call->type), numbers = gmm_blas_is_complex(call->type) ? 2 : 1;
    bool single = gmm_blas_real_bytes(call->type) == sizeof(float), finite = true;

    for (int64_t i = 0; i < lines && finite; i++) {
        gmm_call_line line = gmm_call_line_at(call, operand, i);
        const void *at = (const char *)base + (size_t)line.start * bytes;
        size_t count = (size_t)line.length * numbers;
        finite = single ? singles_are_finite(at, count) : doubles_are_finite(at, count);
    }
    return finite;
}

bool gmm_call_inputs_are_finite(const gmm_blas_call *call, const void *const before[GMM_BLAS_OPERANDS])
{
    if (!isfinite(call->alpha[0]) || !isfinite(call->alpha[1]) || !isfinite(call->beta[0]) || !isfinite(call->beta[1]))
        return false;
    for (int o = 0; o < gmm_blas_operand_count(call); o++)
        if (!gmm_audit_is_dead(call, o) && !gmm_audit_is_unread(call, o) && !gmm_call_is_finite(call, o, before[o]))
            return false;
    return true;
}
