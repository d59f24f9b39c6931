/* blas_call.c - the geometry of a call's operands, by the table of routines; a call in words. */
/* SPDX-License-Identifier: MIT */
#include "blas/blas_call.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool column_major(const gmm_blas_call *call)
{
    return call->fortran || !call->row_major;
}

int gmm_blas_operand_count(const gmm_blas_call *call)
{
    int count = 0;

    while (count < GMM_BLAS_OPERANDS && call->routine->operands[count].form)
        count++;
    return count;
}

int64_t gmm_blas_size(const gmm_blas_call *call, char letter)
{
    bool turned = call->transpose_a != 'N';

    switch (letter) {
    case 'M':
        return call->m;
    case 'N':
        return call->n;
    case 'K':
        return call->k;
    case 'S':
        return call->side == 'R' ? call->n : call->m;
    case 'X':
        return turned ? call->m : call->n;
    case 'Y':
        return turned ? call->n : call->m;
    case '5':
        return 5;
    default:
        return 1;
    }
}

void gmm_blas_stored_shape(const gmm_blas_call *call, int operand, int64_t *rows, int64_t *columns)
{
    const gmm_blas_operand_spec *spec = &call->routine->operands[operand];
    char transpose = spec->swap == 't' ? call->transpose_a : spec->swap == 'r' ? call->transpose_b : 'N';
    int64_t r = gmm_blas_size(call, spec->rows), c = gmm_blas_size(call, spec->columns);

    *rows = transpose == 'N' ? r : c;
    *columns = transpose == 'N' ? c : r;
}

/* The bands below and above the diagonal that are stored. */
static void bands(const gmm_blas_call *call, const gmm_blas_operand_spec *spec, int64_t *below, int64_t *above)
{
    bool general = spec->form == GMM_FORM_GENERAL;

    *below = general ? call->kl : call->uplo == 'L' ? call->k : 0;
    *above = general ? call->ku : call->uplo == 'L' ? 0 : call->k;
}

/* Elements of one line of storage: a column, or a row if row-major. */
static int64_t line_length(const gmm_blas_call *call, int operand)
{
    const gmm_blas_operand_spec *spec = &call->routine->operands[operand];
    int64_t rows, columns, below, above;

    if (spec->storage == GMM_STORED_BAND) {
        bands(call, spec, &below, &above);
        return below + above + 1;
    }
    gmm_blas_stored_shape(call, operand, &rows, &columns);
    return column_major(call) ? rows : columns;
}

int64_t gmm_blas_least_step(const gmm_blas_call *call, int operand)
{
    int64_t length = 1;

    if (call->routine->operands[operand].form != GMM_FORM_VECTOR)
        length = line_length(call, operand);
    return length > 1 ? length : 1;
}

int64_t gmm_blas_extent(const gmm_blas_call *call, int operand)
{
    const gmm_blas_operand_spec *spec = &call->routine->operands[operand];
    int64_t rows, columns, step = call->operands[operand].step;

    gmm_blas_stored_shape(call, operand, &rows, &columns);
    if (rows <= 0 || columns <= 0)
        return 0;
    if (spec->form == GMM_FORM_VECTOR)
        return spec->storage == GMM_STORED_PACKED ? rows : (rows - 1) * (step < 0 ? -step : step) + 1;
    if (spec->storage == GMM_STORED_PACKED)
        return rows * (rows + 1) / 2;
    return step * ((column_major(call) ? columns : rows) - 1) + line_length(call, operand);
}

static int64_t packed_place(const gmm_blas_call *call, int64_t n, int64_t row, int64_t column)
{
    /* Row-major storage of one triangle is column-major storage of the other one, transposed. */
    bool upper = (call->uplo == 'U') == column_major(call);
    int64_t i = column_major(call) ? row : column, j = column_major(call) ? column : row;

    return upper ? i + j * (j + 1) / 2 : i + j * (2 * n - j - 1) / 2;
}

static int64_t band_place(const gmm_blas_call *call, int operand, int64_t row, int64_t column)
{
    int64_t below, above, step = call->operands[operand].step;

    bands(call, &call->routine->operands[operand], &below, &above);
    if (row - column > below || column - row > above)
        return -1;
    return column_major(call) ? above + row - column + column * step : below + column - row + row * step;
}

int64_t gmm_blas_where(const gmm_blas_call *call, int operand, int64_t row, int64_t column)
{
    const gmm_blas_operand_spec *spec = &call->routine->operands[operand];
    int64_t step = call->operands[operand].step;

    if (spec->form == GMM_FORM_VECTOR && spec->storage == GMM_STORED_PACKED)
        return row;
    if (spec->form == GMM_FORM_VECTOR)
        return step < 0 ? (row - gmm_blas_size(call, spec->rows) + 1) * step : row * step;
    if (spec->form != GMM_FORM_GENERAL && row != column && (row < column) != (call->uplo == 'U'))
        return -1;
    if (spec->storage == GMM_STORED_PACKED)
        return packed_place(call, gmm_blas_size(call, spec->rows), row, column);
    if (spec->storage == GMM_STORED_BAND)
        return band_place(call, operand, row, column);
    return column_major(call) ? row + column * step : row * step + column;
}

void gmm_blas_parts(const gmm_blas_call *call, int operand, unsigned char *parts)
{
    const gmm_blas_operand_spec *spec = &call->routine->operands[operand];
    int64_t rows, columns, extent = gmm_blas_extent(call, operand);

    if (extent <= 0)
        return;
    memset(parts, GMM_PART_NONE, (size_t)extent);
    gmm_blas_stored_shape(call, operand, &rows, &columns);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            int64_t at = gmm_blas_where(call, operand, i, j);
            bool diagonal = i == j && spec->form > GMM_FORM_GENERAL;
            if (at < 0 || (diagonal && spec->form == GMM_FORM_TRIANGULAR && call->diag == 'U'))
                continue;
            parts[at] = diagonal && spec->form == GMM_FORM_HERMITIAN ? GMM_PART_REAL : GMM_PART_ALL;
        }
}

bool gmm_blas_is_output(const gmm_blas_call *call, int operand)
{
    return call->routine->operands[operand].form && call->routine->operands[operand].access != GMM_READ;
}

void gmm_blas_symbol(const gmm_blas_call *call, char name[GMM_BLAS_NAME_BYTES])
{
    char base[GMM_BLAS_NAME_BYTES];

    gmm_blas_routine_name(call->routine, call->type, base);
    snprintf(name, GMM_BLAS_NAME_BYTES, "%s%.38s%s", call->fortran ? "" : "cblas_", base, call->fortran ? "_" : "");
}

/* ---- in words ---------------------------------------------------------------------------------------------------- */

typedef struct words {
    char *text;
    size_t size;
    int length;
} words;

__attribute__((format(printf, 2, 3))) static void add(words *w, const char *format, ...)
{
    va_list arguments;
    size_t used = (size_t)w->length < w->size ? (size_t)w->length : w->size;

    va_start(arguments, format);
    w->length += vsnprintf(w->text + used, w->size - used, format, arguments);
    va_end(arguments);
}

static const char *flag_word(char argument, char letter)
{
    static const char *const names[] = {"sLCblasLeft",    "sRCblasRight",     "uUCblasUpper",     "uLCblasLower",
                                        "tNCblasNoTrans", "tTCblasTrans",     "tCCblasConjTrans", "rNCblasNoTrans",
                                        "rTCblasTrans",   "rCCblasConjTrans", "dNCblasNonUnit",   "dUCblasUnit"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i][0] == argument && names[i][1] == letter)
            return names[i] + 2;
    return NULL;
}

char gmm_blas_flag(const gmm_blas_call *call, char argument)
{
    return argument == 's'   ? call->side
           : argument == 'u' ? call->uplo
           : argument == 't' ? call->transpose_a
           : argument == 'r' ? call->transpose_b
                             : call->diag;
}

static void add_flag(words *w, const gmm_blas_call *call, char argument)
{
    char letter = gmm_blas_flag(call, argument);
    const char *word = call->fortran ? NULL : flag_word(argument, letter);

    if (word)
        add(w, "%s", word);
    else if (call->fortran)
        add(w, "\"%c\"", letter);
    else
        add(w, "%d", letter);
}

static void add_factor(words *w, const gmm_blas_call *call, const double *factor, bool real)
{
    if (gmm_blas_is_complex(call->type) && !real)
        add(w, "{%g, %g}", factor[0], factor[1]);
    else
        add(w, "%g", factor[0]);
}

static void add_argument(words *w, const gmm_blas_call *call, char argument, int *operand)
{
    const gmm_blas_routine *r = call->routine;

    switch (argument) {
    case 'o':
        add(w, "%s", call->row_major ? "CblasRowMajor" : "CblasColMajor");
        break;
    case 'M':
    case 'N':
    case 'K':
        add(w, "%" PRId64, gmm_blas_size(call, argument));
        break;
    case 'L':
    case 'U':
        add(w, "%" PRId64, argument == 'L' ? call->kl : call->ku);
        break;
    case '*':
        add_factor(w, call, call->alpha, r->real_alpha);
        break;
    case '+':
        add_factor(w, call, call->beta, r->real_beta);
        break;
    case 'R':
        add(w, "&result");
        break;
    case 'P':
        if (r->operands[*operand].form == GMM_FORM_VECTOR)
            add(w, "%c", r->operands[*operand].name - 'A' + 'a');
        else
            add(w, "ap");
        (*operand)++;
        break;
    case 'A':
    case 'B':
    case 'C':
    case 'X':
    case 'Y':
        add(w, "%c, %" PRId64, argument - 'A' + 'a', call->operands[*operand].step);
        (*operand)++;
        break;
    default:
        add_flag(w, call, argument);
    }
}

int gmm_blas_call_text(const gmm_blas_call *call, char *text, size_t size)
{
    words w = {.text = text, .size = size};
    char name[GMM_BLAS_NAME_BYTES];
    int operand = 0;
    bool first = true;

    gmm_blas_symbol(call, name);
    add(&w, "%s(", name);
    for (const char *a = call->routine->arguments; *a; a++) {
        if (*a == 'o' && call->fortran)
            continue;
        if (!first)
            add(&w, ", ");
        first = false;
        add_argument(&w, call, *a, &operand);
    }
    add(&w, ")");
    return w.length;
}
