/* routine.c - the table of BLAS routines, and names made and read by it. */
/* SPDX-License-Identifier: MIT */
#include "blas/routine.h"

#include <stdio.h>
#include <string.h>

enum {
    CONJUGATES = 1,
    REAL_ALPHA = 2,
    REAL_BETA = 4,
    COMPLEX_RESULT = 8,
    THREE_PRODUCTS = 16,
    COMPLEX_VALUE = 32
};

#define MATRIX(name, rows, columns, swap)                                                                              \
    {                                                                                                                  \
        name, GMM_FORM_GENERAL, GMM_STORED_FULL, rows, columns, swap, GMM_READ                                         \
    }
#define SQUARE(name, form, storage, size)                                                                              \
    {                                                                                                                  \
        name, GMM_FORM_##form, GMM_STORED_##storage, size, size, 0, GMM_READ                                           \
    }
#define RESULT(name, form, rows, columns)                                                                              \
    {                                                                                                                  \
        name, GMM_FORM_##form, GMM_STORED_FULL, rows, columns, 0, GMM_UPDATE_BETA                                      \
    }
#define UPDATED(name, form, storage, rows, columns)                                                                    \
    {                                                                                                                  \
        name, GMM_FORM_##form, GMM_STORED_##storage, rows, columns, 0, GMM_UPDATE                                      \
    }
#define VECTOR(name, size, access)                                                                                     \
    {                                                                                                                  \
        name, GMM_FORM_VECTOR, GMM_STORED_FULL, size, '1', 0, GMM_##access                                             \
    }

#define FIXED(name, size, access)                                                                                      \
    {                                                                                                                  \
        name, GMM_FORM_VECTOR, GMM_STORED_PACKED, size, '1', 0, GMM_##access                                           \
    }

#define ROUTINE(name, pattern, types, arguments, sum, traits, ...)                                                     \
    {name,                                                                                                             \
     pattern,                                                                                                          \
     types,                                                                                                            \
     arguments,                                                                                                        \
     GMM_SUM_##sum,                                                                                                    \
     {__VA_ARGS__},                                                                                                    \
     ((traits)&CONJUGATES) != 0,                                                                                       \
     ((traits)&REAL_ALPHA) != 0,                                                                                       \
     ((traits)&REAL_BETA) != 0,                                                                                        \
     ((traits)&COMPLEX_RESULT) == 0,                                                                                   \
     ((traits)&THREE_PRODUCTS) != 0,                                                                                   \
     ((traits)&COMPLEX_VALUE) != 0},

static const gmm_blas_routine routines[] = {
#include "blas/routine_list.h"
};

#define ROUTINE_COUNT (sizeof routines / sizeof routines[0])

const gmm_blas_routine *gmm_blas_routine_at(size_t i)
{
    return i < ROUTINE_COUNT ? &routines[i] : NULL;
}

void gmm_blas_routine_name(const gmm_blas_routine *routine, char type, char name[GMM_BLAS_NAME_BYTES])
{
    const char *real = type == 's' ? "s" : type == 'd' ? "d" : type == 'c' ? "sc" : "dz";
    const char *factor = type == 'c' ? "cs" : "zd";
    const char letter[2] = {type, '\0'};
    size_t length = strcspn(routine->pattern, "?%&");
    const char *middle = routine->pattern[length] == '?' ? letter : routine->pattern[length] == '%' ? real : factor;

    snprintf(name, GMM_BLAS_NAME_BYTES, "%.*s%s%s", (int)length, routine->pattern, middle,
             routine->pattern + length + 1);
}

const gmm_blas_routine *gmm_blas_routine_find(const char *name, char *type)
{
    if (!strncmp(name, "cblas_", 6))
        name += 6;
    for (size_t i = 0; i < ROUTINE_COUNT; i++)
        for (const char *t = routines[i].types; *t; t++) {
            char candidate[GMM_BLAS_NAME_BYTES];
            gmm_blas_routine_name(&routines[i], *t, candidate);
            if (!strcmp(name, candidate)) {
                *type = *t;
                return &routines[i];
            }
        }
    return NULL;
}

bool gmm_blas_has_argument(const gmm_blas_routine *routine, char argument)
{
    return strchr(routine->arguments, argument) != NULL;
}

double gmm_blas_bound(const gmm_blas_routine *routine, char type, double length)
{
    double unit = gmm_blas_real_bytes(type) == sizeof(float) ? 0x1p-24 : 0x1p-53;
    bool is_complex = gmm_blas_is_complex(type);
    /* alpha B, then (re + im) of both factors, K additions, two subtractions, C: ten beyond K. Each of the three
     * products is at most |A| |B|, and an imaginary part has all of them, one with twice the terms. */
    double n = length + (routine->three_products ? 10 : is_complex ? 4 : 3);
    double factor = routine->three_products ? 4 : is_complex ? 2.8284271247461903 : 1;

    return factor * (n * unit / (1 - n * unit));
}

int gmm_blas_level(const gmm_blas_routine *routine)
{
    int vectors = 0, matrices = 0;

    for (int i = 0; i < GMM_BLAS_OPERANDS; i++) {
        vectors += routine->operands[i].form == GMM_FORM_VECTOR;
        matrices += routine->operands[i].form > GMM_FORM_VECTOR;
    }
    return !matrices ? 1 : vectors ? 2 : 3;
}

bool gmm_blas_is_complex(char type)
{
    return type == 'c' || type == 'z';
}

size_t gmm_blas_real_bytes(char type)
{
    return type == 's' || type == 'c' ? sizeof(float) : sizeof(double);
}

size_t gmm_blas_element_bytes(char type)
{
    return gmm_blas_real_bytes(type) << gmm_blas_is_complex(type);
}
