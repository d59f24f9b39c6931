/* test_blas_invoke.c - the one call site of all BLAS routines passes what a compiled call passes: each function here
 * records its arguments, and is called in both ways. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "blas/blas_call.h"
#include "cmocka_test.h"

/* ---- recording --------------------------------------------------------------------------------------------------- */

static char seen[1024];

static void put_integer(long long value)
{
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), " %lld", value);
}

static void put_number(double value)
{
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), " %g", value);
}

static void put_pointer(const void *value)
{
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), " %p", value);
}

static void put_letter(char value)
{
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), " %c", value);
}

/* An argument by its type; numbers behind a pointer, which are Fortran's or complex ones, by what it points to. */
#define PUT(x)                                                                                                         \
    _Generic((x),                                                                                                      \
        int32_t: put_integer,                                                                                          \
        int64_t: put_integer,                                                                                          \
        size_t: put_integer,                                                                                           \
        float: put_number,                                                                                             \
        double: put_number,                                                                                            \
        char: put_letter,                                                                                              \
        const void *: put_pointer,                                                                                     \
        void *: put_pointer)(x)
#define PUT2(x) (PUT((x)[0]), PUT((x)[1]))

/* ---- the arguments of every call --------------------------------------------------------------------------------- */

static double storage[4][4];

/* Sizes and steps that need the whole width and a sign. */
#define SIZES(I)                                                                                                       \
    const bool wide = sizeof(I) == 8;                                                                                  \
    const I m = wide ? (I)-5000000000 : -3, n = wide ? (I)6000000000 : 2000000000, k = wide ? (I)7000000000 : 7;       \
    const I step0 = wide ? (I)8000000000 : 11, step1 = wide ? (I)-9000000000 : -22, step2 = 33;                        \
    const int bits = 8 * (int)sizeof(I);                                                                               \
    void *const p0 = storage[0], *const p1 = storage[1], *const p2 = storage[2], *const p3 = storage[3];               \
    (void)m, (void)n, (void)k, (void)step0, (void)step1, (void)step2, (void)p0, (void)p1, (void)p2, (void)p3

/* Make the call that has just been recorded once more, generically. */
static gmm_blas_result again(const char *name, gmm_blas_any_function *function, bool fortran, int bits)
{
    bool wide = bits == 64;
    gmm_blas_call call = {.fortran = fortran,
                          .row_major = true,
                          .side = 'R',
                          .uplo = 'L',
                          .transpose_a = 'T',
                          .transpose_b = 'C',
                          .diag = 'U',
                          .m = wide ? -5000000000 : -3,
                          .n = wide ? 6000000000 : 2000000000,
                          .k = wide ? 7000000000 : 7,
                          .alpha = {1.5, 2.5},
                          .beta = {3.5, 4.5},
                          .operands = {{.data = storage[0], .step = wide ? 8000000000 : 11},
                                       {.data = storage[1], .step = wide ? -9000000000 : -22},
                                       {.data = storage[2], .step = 33},
                                       {.data = storage[3]}}};
    char compiled[sizeof seen];

    memcpy(compiled, seen, sizeof seen);
    assert_true(strlen(compiled) > 0 && strlen(compiled) < sizeof seen - 1);
    seen[0] = '\0';
    call.routine = gmm_blas_routine_find(name, &call.type);
    assert_non_null(call.routine);
    gmm_blas_result result = gmm_blas_invoke(&call, function, bits);
    if (strcmp(seen, compiled) != 0)
        fail_msg("%s, %s, %d bits:%s, not%s", name, fortran ? "Fortran" : "CBLAS", bits, seen, compiled);
    seen[0] = '\0';
    return result;
}

#define AGAIN(name, function, fortran) again(name, (gmm_blas_any_function *)(function), fortran, bits)

/* ---- CBLAS ------------------------------------------------------------------------------------------------------- */

enum {
    ROW = 101,
    TRANS = 112,
    CONJ_TRANS = 113,
    LOWER = 122,
    UNIT = 132,
    RIGHT = 142
};

/* The signatures that alpha and beta take part in: F is their type, P puts one. */
#define CBLAS_WITH_FACTORS(I, F, P, S)                                                                                 \
    static void gemm_##S(int o, int t, int r, I m, I n, I k, F alpha, const void *a, I lda, const void *b, I ldb,      \
                         F beta, void *c, I ldc)                                                                       \
    {                                                                                                                  \
        PUT(o), PUT(t), PUT(r), PUT(m), PUT(n), PUT(k), P(alpha), PUT(a), PUT(lda), PUT(b), PUT(ldb), P(beta), PUT(c); \
        PUT(ldc);                                                                                                      \
    }                                                                                                                  \
    static void gemv_##S(int o, int t, I m, I n, F alpha, const void *a, I lda, const void *x, I incx, F beta,         \
                         void *y, I incy)                                                                              \
    {                                                                                                                  \
        PUT(o), PUT(t), PUT(m), PUT(n), P(alpha), PUT(a), PUT(lda), PUT(x), PUT(incx), P(beta), PUT(y), PUT(incy);     \
    }                                                                                                                  \
    static void ger_##S(int o, I m, I n, F alpha, const void *x, I incx, const void *y, I incy, void *a, I lda)        \
    {                                                                                                                  \
        PUT(o), PUT(m), PUT(n), P(alpha), PUT(x), PUT(incx), PUT(y), PUT(incy), PUT(a), PUT(lda);                      \
    }                                                                                                                  \
    static void rank_k_##S(int o, int u, int t, I n, I k, F alpha, const void *a, I lda, F beta, void *c, I ldc)       \
    {                                                                                                                  \
        PUT(o), PUT(u), PUT(t), PUT(n), PUT(k), P(alpha), PUT(a), PUT(lda), P(beta), PUT(c), PUT(ldc);                 \
    }                                                                                                                  \
    static void trsm_##S(int o, int s, int u, int t, int d, I m, I n, F alpha, const void *a, I lda, void *b, I ldb)   \
    {                                                                                                                  \
        PUT(o), PUT(s), PUT(u), PUT(t), PUT(d), PUT(m), PUT(n), P(alpha), PUT(a), PUT(lda), PUT(b), PUT(ldb);          \
    }                                                                                                                  \
    static void axpy_##S(I n, F alpha, const void *x, I incx, void *y, I incy)                                         \
    {                                                                                                                  \
        PUT(n), P(alpha), PUT(x), PUT(incx), PUT(y), PUT(incy);                                                        \
    }

#define CALL_CBLAS_WITH_FACTORS(letter, S, alpha, beta, ger_name)                                                      \
    gemm_##S(ROW, TRANS, CONJ_TRANS, m, n, k, alpha, p0, step0, p1, step1, beta, p2, step2);                           \
    AGAIN(letter "gemm", gemm_##S, false);                                                                             \
    gemv_##S(ROW, TRANS, m, n, alpha, p0, step0, p1, step1, beta, p2, step2);                                          \
    AGAIN(letter "gemv", gemv_##S, false);                                                                             \
    ger_##S(ROW, m, n, alpha, p0, step0, p1, step1, p2, step2);                                                        \
    AGAIN(letter ger_name, ger_##S, false);                                                                            \
    rank_k_##S(ROW, LOWER, TRANS, n, k, alpha, p0, step0, beta, p1, step1);                                            \
    AGAIN(letter "syrk", rank_k_##S, false);                                                                           \
    trsm_##S(ROW, RIGHT, LOWER, TRANS, UNIT, m, n, alpha, p0, step0, p1, step1);                                       \
    AGAIN(letter "trsm", trsm_##S, false);                                                                             \
    axpy_##S(n, alpha, p0, step0, p1, step1);                                                                          \
    AGAIN(letter "axpy", axpy_##S, false)

/* All of one precision: real and complex type, and the functions that return something. */
#define CBLAS_TEST(I, T, S, REAL, COMPLEX, REAL_PREFIX)                                                                \
    CBLAS_WITH_FACTORS(I, T, PUT, real_##S)                                                                            \
    CBLAS_WITH_FACTORS(I, const T *, PUT2, complex_##S)                                                                \
    static void rotm_##S(I n, void *x, I incx, void *y, I incy, const void *p)                                         \
    {                                                                                                                  \
        PUT(n), PUT(x), PUT(incx), PUT(y), PUT(incy), PUT(p);                                                          \
    }                                                                                                                  \
    static void rotg_##S(void *a, void *b, void *c, void *s)                                                           \
    {                                                                                                                  \
        PUT(a), PUT(b), PUT(c), PUT(s);                                                                                \
    }                                                                                                                  \
    static void rotmg_##S(void *d1, void *d2, void *x1, T y1, void *p)                                                 \
    {                                                                                                                  \
        PUT(d1), PUT(d2), PUT(x1), PUT(y1), PUT(p);                                                                    \
    }                                                                                                                  \
    static void rot_##S(I n, void *x, I incx, void *y, I incy, T c, T s)                                               \
    {                                                                                                                  \
        PUT(n), PUT(x), PUT(incx), PUT(y), PUT(incy), PUT(c), PUT(s);                                                  \
    }                                                                                                                  \
    static T dot_##S(I n, const void *x, I incx, const void *y, I incy)                                                \
    {                                                                                                                  \
        PUT(n), PUT(x), PUT(incx), PUT(y), PUT(incy);                                                                  \
        return (T)5.5;                                                                                                 \
    }                                                                                                                  \
    static void dotc_##S(I n, const void *x, I incx, const void *y, I incy, T *result)                                 \
    {                                                                                                                  \
        PUT(n), PUT(x), PUT(incx), PUT(y), PUT(incy);                                                                  \
        result[0] = (T)6.5;                                                                                            \
        result[1] = (T)7.5;                                                                                            \
    }                                                                                                                  \
    static T _Complex value_##S(I n, const void *x, I incx, const void *y, I incy)                                     \
    {                                                                                                                  \
        const T pair[2] = {(T)6.5, (T)7.5};                                                                            \
        T _Complex value;                                                                                              \
        PUT(n), PUT(x), PUT(incx), PUT(y), PUT(incy);                                                                  \
        memcpy(&value, pair, sizeof value);                                                                            \
        return value;                                                                                                  \
    }                                                                                                                  \
    static T norm_##S(I n, const void *x, I incx)                                                                      \
    {                                                                                                                  \
        PUT(n), PUT(x), PUT(incx);                                                                                     \
        return (T)8.5;                                                                                                 \
    }                                                                                                                  \
    static I iamax_##S(I n, const void *x, I incx)                                                                     \
    {                                                                                                                  \
        PUT(n), PUT(x), PUT(incx);                                                                                     \
        return n - 1;                                                                                                  \
    }                                                                                                                  \
    static void cblas_##S(void **state)                                                                                \
    {                                                                                                                  \
        const T alpha[2] = {(T)1.5, (T)2.5}, beta[2] = {(T)3.5, (T)4.5};                                               \
        T pair[2];                                                                                                     \
        gmm_blas_result result;                                                                                        \
        SIZES(I);                                                                                                      \
        (void)state;                                                                                                   \
        CALL_CBLAS_WITH_FACTORS(REAL, real_##S, alpha[0], beta[0], "ger");                                             \
        CALL_CBLAS_WITH_FACTORS(COMPLEX, complex_##S, alpha, beta, "gerc");                                            \
        rank_k_real_##S(ROW, LOWER, TRANS, n, k, alpha[0], p0, step0, beta[0], p1, step1);                             \
        AGAIN(COMPLEX "herk", rank_k_real_##S, false);                                                                 \
        rot_##S(n, p0, step0, p1, step1, alpha[0], beta[0]);                                                           \
        AGAIN(REAL "rot", rot_##S, false);                                                                             \
        rotm_##S(n, p0, step0, p1, step1, p2);                                                                         \
        AGAIN(REAL "rotm", rotm_##S, false);                                                                           \
        rotg_##S(p0, p1, p2, p3);                                                                                      \
        AGAIN(REAL "rotg", rotg_##S, false);                                                                           \
        rotmg_##S(p0, p1, p2, alpha[0], p3);                                                                           \
        AGAIN(REAL "rotmg", rotmg_##S, false);                                                                         \
        rot_##S(n, p0, step0, p1, step1, alpha[0], beta[0]);                                                           \
        AGAIN(COMPLEX REAL "rot", rot_##S, false);                                                                     \
        value_##S(n, p0, step0, p1, step1);                                                                            \
        result = AGAIN(COMPLEX "dotc", value_##S, false);                                                              \
        assert_true(result.value[0] == 6.5 && result.value[1] == 7.5);                                                 \
        dot_##S(n, p0, step0, p1, step1);                                                                              \
        assert_true(AGAIN(REAL "dot", dot_##S, false).value[0] == 5.5);                                                \
        dotc_##S(n, p0, step0, p1, step1, pair);                                                                       \
        result = AGAIN(COMPLEX "dotc_sub", dotc_##S, false);                                                           \
        assert_true(result.value[0] == 6.5 && result.value[1] == 7.5);                                                 \
        norm_##S(n, p0, step0);                                                                                        \
        assert_true(AGAIN(REAL "nrm2", norm_##S, false).value[0] == 8.5);                                              \
        norm_##S(n, p0, step0);                                                                                        \
        assert_true(AGAIN(REAL_PREFIX "asum", norm_##S, false).value[0] == 8.5);                                       \
        iamax_##S(n, p0, step0);                                                                                       \
        assert_int_equal(AGAIN("i" REAL "amax", iamax_##S, false).index, n - 1);                                       \
    }

CBLAS_TEST(int32_t, float, single_32, "s", "c", "sc")
CBLAS_TEST(int32_t, double, double_32, "d", "z", "dz")
CBLAS_TEST(int64_t, float, single_64, "s", "c", "sc")
CBLAS_TEST(int64_t, double, double_64, "d", "z", "dz")

/* ---- Fortran: all by address, and the lengths of characters at the end ------------------------------------------- */

/* P puts a factor of the routines that may have complex ones. */
#define FORTRAN_WITH_FACTORS(I, T, P, S)                                                                               \
    static void fgemm_##S(const char *t, const char *r, const I *m, const I *n, const I *k, const T *alpha,            \
                          const void *a, const I *lda, const void *b, const I *ldb, const T *beta, void *c,            \
                          const I *ldc, size_t length_t, size_t length_r)                                              \
    {                                                                                                                  \
        PUT(*t), PUT(*r), PUT(*m), PUT(*n), PUT(*k), P(alpha), PUT(a), PUT(*lda), PUT(b), PUT(*ldb), P(beta), PUT(c);  \
        PUT(*ldc), PUT(length_t), PUT(length_r);                                                                       \
    }                                                                                                                  \
    static void fgemv_##S(const char *t, const I *m, const I *n, const T *alpha, const void *a, const I *lda,          \
                          const void *x, const I *incx, const T *beta, void *y, const I *incy, size_t length_t)        \
    {                                                                                                                  \
        PUT(*t), PUT(*m), PUT(*n), P(alpha), PUT(a), PUT(*lda), PUT(x), PUT(*incx), P(beta), PUT(y), PUT(*incy);       \
        PUT(length_t);                                                                                                 \
    }                                                                                                                  \
    static void frank_k_##S(const char *u, const char *t, const I *n, const I *k, const T *alpha, const void *a,       \
                            const I *lda, const T *beta, void *c, const I *ldc, size_t length_u, size_t length_t)      \
    {                                                                                                                  \
        PUT(*u), PUT(*t), PUT(*n), PUT(*k), P(alpha), PUT(a), PUT(*lda), P(beta), PUT(c), PUT(*ldc), PUT(length_u);    \
        PUT(length_t);                                                                                                 \
    }                                                                                                                  \
    static void ftrsm_##S(const char *s, const char *u, const char *t, const char *d, const I *m, const I *n,          \
                          const T *alpha, const void *a, const I *lda, void *b, const I *ldb, size_t length_s,         \
                          size_t length_u, size_t length_t, size_t length_d)                                           \
    {                                                                                                                  \
        PUT(*s), PUT(*u), PUT(*t), PUT(*d), PUT(*m), PUT(*n), P(alpha), PUT(a), PUT(*lda), PUT(b), PUT(*ldb);          \
        PUT(length_s), PUT(length_u), PUT(length_t), PUT(length_d);                                                    \
    }

#define CALL_FORTRAN_WITH_FACTORS(letter, S)                                                                           \
    fgemm_##S("T", "C", &m, &n, &k, alpha, p0, &step0, p1, &step1, beta, p2, &step2, 1, 1);                            \
    AGAIN(letter "gemm", fgemm_##S, true);                                                                             \
    fgemv_##S("T", &m, &n, alpha, p0, &step0, p1, &step1, beta, p2, &step2, 1);                                        \
    AGAIN(letter "gemv", fgemv_##S, true);                                                                             \
    frank_k_##S("L", "T", &n, &k, alpha, p0, &step0, beta, p1, &step1, 1, 1);                                          \
    AGAIN(letter "syrk", frank_k_##S, true);                                                                           \
    ftrsm_##S("R", "L", "T", "U", &m, &n, alpha, p0, &step0, p1, &step1, 1, 1, 1, 1);                                  \
    AGAIN(letter "trsm", ftrsm_##S, true)

#define FORTRAN_TEST(I, T, S, REAL, COMPLEX)                                                                           \
    FORTRAN_WITH_FACTORS(I, T, PUT_FIRST, real_##S)                                                                    \
    FORTRAN_WITH_FACTORS(I, T, PUT2, complex_##S)                                                                      \
    static void fger_##S(const I *m, const I *n, const T *alpha, const void *x, const I *incx, const void *y,          \
                         const I *incy, void *a, const I *lda)                                                         \
    {                                                                                                                  \
        PUT(*m), PUT(*n), PUT(*alpha), PUT(x), PUT(*incx), PUT(y), PUT(*incy), PUT(a), PUT(*lda);                      \
    }                                                                                                                  \
    static void faxpy_##S(const I *n, const T *alpha, const void *x, const I *incx, void *y, const I *incy)            \
    {                                                                                                                  \
        PUT(*n), PUT(*alpha), PUT(x), PUT(*incx), PUT(y), PUT(*incy);                                                  \
    }                                                                                                                  \
    static void frotmg_##S(void *d1, void *d2, void *x1, const T *y1, void *p)                                         \
    {                                                                                                                  \
        PUT(d1), PUT(d2), PUT(x1), PUT(*y1), PUT(p);                                                                   \
    }                                                                                                                  \
    static void frot_##S(const I *n, void *x, const I *incx, void *y, const I *incy, const T *c, const T *s)           \
    {                                                                                                                  \
        PUT(*n), PUT(x), PUT(*incx), PUT(y), PUT(*incy), PUT(*c), PUT(*s);                                             \
    }                                                                                                                  \
    static T fdot_##S(const I *n, const void *x, const I *incx, const void *y, const I *incy)                          \
    {                                                                                                                  \
        PUT(*n), PUT(x), PUT(*incx), PUT(y), PUT(*incy);                                                               \
        return (T)5.5;                                                                                                 \
    }                                                                                                                  \
    static T fnorm_##S(const I *n, const void *x, const I *incx)                                                       \
    {                                                                                                                  \
        PUT(*n), PUT(x), PUT(*incx);                                                                                   \
        return (T)8.5;                                                                                                 \
    }                                                                                                                  \
    static I fiamax_##S(const I *n, const void *x, const I *incx)                                                      \
    {                                                                                                                  \
        PUT(*n), PUT(x), PUT(*incx);                                                                                   \
        return *n;                                                                                                     \
    }                                                                                                                  \
    static void fortran_##S(void **state)                                                                              \
    {                                                                                                                  \
        const T alpha[2] = {(T)1.5, (T)2.5}, beta[2] = {(T)3.5, (T)4.5};                                               \
        SIZES(I);                                                                                                      \
        (void)state;                                                                                                   \
        CALL_FORTRAN_WITH_FACTORS(REAL, real_##S);                                                                     \
        CALL_FORTRAN_WITH_FACTORS(COMPLEX, complex_##S);                                                               \
        frank_k_real_##S("L", "T", &n, &k, alpha, p0, &step0, beta, p1, &step1, 1, 1);                                 \
        AGAIN(COMPLEX "herk", frank_k_real_##S, true);                                                                 \
        fger_##S(&m, &n, alpha, p0, &step0, p1, &step1, p2, &step2);                                                   \
        AGAIN(REAL "ger", fger_##S, true);                                                                             \
        faxpy_##S(&n, alpha, p0, &step0, p1, &step1);                                                                  \
        AGAIN(REAL "axpy", faxpy_##S, true);                                                                           \
        frot_##S(&n, p0, &step0, p1, &step1, alpha, beta);                                                             \
        AGAIN(REAL "rot", frot_##S, true);                                                                             \
        rotg_##S(p0, p1, p2, p3);                                                                                      \
        AGAIN(REAL "rotg", rotg_##S, true);                                                                            \
        frotmg_##S(p0, p1, p2, alpha, p3);                                                                             \
        AGAIN(REAL "rotmg", frotmg_##S, true);                                                                         \
        fdot_##S(&n, p0, &step0, p1, &step1);                                                                          \
        assert_true(AGAIN(REAL "dot", fdot_##S, true).value[0] == 5.5);                                                \
        fnorm_##S(&n, p0, &step0);                                                                                     \
        assert_true(AGAIN(REAL "nrm2", fnorm_##S, true).value[0] == 8.5);                                              \
        fnorm_##S(&n, p0, &step0);                                                                                     \
        assert_true(AGAIN(REAL "asum", fnorm_##S, true).value[0] == 8.5);                                              \
        fiamax_##S(&n, p0, &step0);                                                                                    \
        assert_int_equal(AGAIN("i" REAL "amax", fiamax_##S, true).index, n - 1);                                       \
    }
#define PUT_FIRST(x) PUT(*(x))

FORTRAN_TEST(int32_t, float, single_32, "s", "c")
FORTRAN_TEST(int32_t, double, double_32, "d", "z")
FORTRAN_TEST(int64_t, float, single_64, "s", "c")
FORTRAN_TEST(int64_t, double, double_64, "d", "z")

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cblas_single_32),   cmocka_unit_test(cblas_double_32),   cmocka_unit_test(cblas_single_64),
        cmocka_unit_test(cblas_double_64),   cmocka_unit_test(fortran_single_32), cmocka_unit_test(fortran_double_32),
        cmocka_unit_test(fortran_single_64), cmocka_unit_test(fortran_double_64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
