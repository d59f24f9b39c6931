/* test_blas_route.c - contexts with a BLAS: good ones multiply within the bound, bad ones are refused or worked around.
 */
/* SPDX-License-Identifier: MIT */
#include <fenv.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arrays.h"
#include "cmocka_test.h"
#include "gathermm/blas.h"
#include "oracle.h"
#include "temp_folder.h"

static gmm_random seeded;

static gmm_status open_blas(const char *name, gmm_context **context)
{
    return gmm_context_create(&(gmm_context_options){.size = sizeof(gmm_context_options), .threads = 2, .blas = name},
                              context);
}

static const char *built(const char *name)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s/lib%s.so", FAULTY_FOLDER, name);
    return path;
}

/* One product: (products, m, k) gathered by a few of (matrices, k, n). */
typedef struct work {
    gmm_built lhs, rhs, lhs_indices, rhs_indices, out;
    gmm_product product;
    gmm_oracle oracle;
} work;

typedef struct shape {
    int64_t products, m, n, k, matrices, used;
    bool transposed;
    int64_t gap, shift_bytes;
    gmm_dtype out;
} shape;

static void make_work(work *w, const shape *s)
{
    const int64_t lhs_shape[] = {s->products, s->m, s->k}, rhs_shape[] = {s->matrices, s->k, s->n};
    const int64_t index_shape[] = {s->products}, line = (s->transposed ? s->k : s->n) + s->gap;
    const int64_t strides[] = {line * (s->transposed ? s->n : s->k), s->transposed ? 1 : line,
                               s->transposed ? line : 1};

    memset(w, 0, sizeof *w);
    gmm_built_make(&w->lhs, &seeded, GMM_LAYOUT_ANY, GMM_F32, 3, lhs_shape, GMM_POISON_QUIET_NAN);
    gmm_built_place(&w->rhs, GMM_GUARD_AFTER, (size_t)s->shift_bytes, GMM_F32, 3, rhs_shape, strides,
                    GMM_POISON_QUIET_NAN);
    gmm_built_make(&w->lhs_indices, &seeded, GMM_LAYOUT_PLAIN, GMM_I64, 1, index_shape, GMM_POISON_ZERO);
    gmm_built_make(&w->rhs_indices, &seeded, GMM_LAYOUT_PLAIN, GMM_I64, 1, index_shape, GMM_POISON_ZERO);
    for (int64_t i = 0; i < gmm_built_count(&w->lhs.array); i++)
        gmm_built_put(&w->lhs.array, i, gmm_random_unit(&seeded));
    for (int64_t i = 0; i < gmm_built_count(&w->rhs.array); i++)
        gmm_built_put(&w->rhs.array, i, gmm_random_unit(&seeded));
    for (int64_t i = 0; i < s->products; i++) {
        gmm_built_put(&w->lhs_indices.array, i, (double)(s->products - 1 - i));
        gmm_built_put(&w->rhs_indices.array, i, (double)(i % s->used));
    }
    w->product = (gmm_product){
        .size = sizeof w->product,
        .lhs = &w->lhs.array,
        .rhs = &w->rhs.array,
        .lhs_indices = &w->lhs_indices.array,
        .rhs_indices = &w->rhs_indices.array,
    };
    gmm_oracle_make(&w->product, &w->oracle);
    gmm_built_make(&w->out, &seeded, GMM_LAYOUT_APART, s->out ? s->out : GMM_F32, w->oracle.ndim, w->oracle.shape,
                   GMM_POISON_SIGNALLING_NAN);
}

static void free_work(work *w)
{
    gmm_oracle_free(&w->oracle);
    gmm_built_free(&w->lhs);
    gmm_built_free(&w->rhs);
    gmm_built_free(&w->lhs_indices);
    gmm_built_free(&w->rhs_indices);
    gmm_built_free(&w->out);
}

static void explain(const gmm_context *context, const work *w, char text[4096])
{
    assert_int_equal(gmm_explain(context, &w->product, text, 4096), GMM_OK);
}

/* Run it, over whatever the output holds, and hold it against the oracle; only its elements are written. */
static void expect_right(const gmm_context *context, work *w)
{
    char text[1024];

    gmm_built_keep(&w->out);
    assert_int_equal(gmm_run(context, &w->product, &w->out.array), GMM_OK);
    if (!gmm_oracle_check(&w->oracle, &w->out.array, text, sizeof text))
        fail_msg("%s", text);
    assert_true(gmm_built_kept(&w->out, false));
}

static const shape good_shapes[] = {
    {.products = 4, .m = 9, .n = 2, .k = 1, .matrices = 3, .used = 1},
    {.products = 9, .m = 1, .n = 40, .k = 70, .matrices = 2, .used = 1},
    {.products = 9, .m = 5, .n = 33, .k = 17, .matrices = 5, .used = 3, .gap = 3, .shift_bytes = 20},
    {.products = 9, .m = 5, .n = 33, .k = 17, .matrices = 5, .used = 3, .transposed = true, .gap = 3, .shift_bytes = 4},
    {.products = 2, .m = 101, .n = 120, .k = 130, .matrices = 2, .used = 2, .transposed = true, .out = GMM_BF16},
    {.products = 1, .m = 200, .n = 600, .k = 40, .matrices = 1, .used = 1, .shift_bytes = 36, .out = GMM_F16},
    {.products = 3, .m = 30, .n = 40, .k = 530, .matrices = 1, .used = 1, .transposed = true},
};

/* Every good shape goes to it, and comes back right. */
static void expect_good(const char *name, const char *symbol)
{
    gmm_context *context;
    gmm_provider_info info;
    char text[4096];

    if (open_blas(name, &context))
        fail_msg("%s: %s", name, gmm_error_detail());
    assert_true(gmm_context_provider(context, &info));
    print_message("%s: %s of %s, %s, build %s, %d bits\n", name, info.symbol, info.library.path, info.library.version,
                  info.build_id, (int)info.library.integer_bits);
    if (symbol)
        assert_string_equal(info.symbol, symbol);
    for (size_t i = 0; i < sizeof good_shapes / sizeof good_shapes[0]; i++) {
        work w;
        make_work(&w, &good_shapes[i]);
        explain(context, &w, text);
        assert_non_null(strstr(text, "BLAS: "));
        assert_null(strstr(text, "BLAS: none"));
        assert_non_null(strstr(text, info.library.path));
        assert_null(strstr(text, "refused"));
        char count[96];
        snprintf(count, sizeof count, "%s for %d matrices", info.symbol, (int)good_shapes[i].used);
        assert_non_null(strstr(text, count));
        expect_right(context, &w);
        free_work(&w);
    }
    assert_true(gmm_context_provider(context, &info));
    assert_int_equal(info.state, GMM_PROVIDER_STATE_GOOD);
    assert_string_equal(info.finding, "");
    assert_true(info.classes_checked >= 6);
    assert_int_equal(info.classes_refused + info.classes_remedied, 0);
    gmm_context_destroy(context);
}

static void right_libraries_multiply(void **state)
{
    (void)state;
    expect_good(built("faulty_none"), "cblas_sgemm");
    expect_good(built("route_none"), "sgemm_");
    expect_good(built("route_wide"), "sgemm_64_");
    expect_good(built("route_newest"), "sgemm$NEWLAPACK$ILP64"); /* beside a dcopy with 32-bit integers */
}

/* Those of this machine: the ones that its own names find. Not MKL, which exits when a part of it is missing. */
static void libraries_of_the_machine_multiply(void **state)
{
    gmm_blas_info info;

    /* Where Debian keeps those that its alternatives hide. */
    static const char *const paths[] = {
        "/usr/lib/x86_64-linux-gnu/blas/libblas.so.3", "/usr/lib/x86_64-linux-gnu/blis-openmp/libblas.so.3",
        "/usr/lib/x86_64-linux-gnu/openblas-pthread/libblas.so.3", "/usr/lib/x86_64-linux-gnu/atlas/libblas.so.3"};

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (access(paths[i], R_OK) == 0)
            expect_good(paths[i], NULL);
    for (size_t i = 0; gmm_blas_at(i, &info); i++)
        if (*info.path && !strstr(info.name, "mkl") && (info.has_cblas || info.has_fortran))
            expect_good(info.name, NULL);
}

static void auto_takes_the_first(void **state)
{
    gmm_context *context;
    gmm_provider_info info;
    gmm_blas_info first = {.name = NULL};
    gmm_status status = open_blas("auto", &context);

    (void)state;
    for (size_t i = 0; gmm_blas_at(i, &first); i++)
        if (*first.path && !strstr(first.name, "mkl"))
            break;
    if (status) {
        assert_int_equal(status, GMM_ERR_BLAS);
        assert_non_null(strstr(gmm_error_detail(), "auto: no BLAS to use: "));
        return;
    }
    assert_true(gmm_context_provider(context, &info));
    assert_string_equal(info.library.path, first.path);
    gmm_context_destroy(context);
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

typedef struct fault {
    const char *library;
    gmm_provider_state state;
    const char *finding; /* words of it; NULL: the fault is in what products never call */
} fault;

static const fault faults[] = {
    {"faulty_stale_row", GMM_PROVIDER_STATE_GOOD, NULL}, /* one row: never asked for */
    {"faulty_stale_large", GMM_PROVIDER_STATE_REMEDIED, "reads C although beta is 0"},
    {"faulty_dead_stack", GMM_PROVIDER_STATE_REFUSED, "lets what stack or registers held into the result"},
    {"faulty_scratch_left", GMM_PROVIDER_STATE_GOOD, NULL},  /* dsymv */
    {"faulty_dead_register", GMM_PROVIDER_STATE_GOOD, NULL}, /* dgemm */
    {"faulty_over_read", GMM_PROVIDER_STATE_GOOD, NULL},     /* ddot */
    {"faulty_over_write", GMM_PROVIDER_STATE_GOOD, NULL},    /* dcopy */
    {"faulty_padding_write", GMM_PROVIDER_STATE_REFUSED, "writes outside the elements of C"},
    {"faulty_lost_tail", GMM_PROVIDER_STATE_GOOD, NULL},     /* one row */
    {"faulty_alpha_ignored", GMM_PROVIDER_STATE_GOOD, NULL}, /* alpha is 1 */
    {"faulty_other_triangle", GMM_PROVIDER_STATE_GOOD, NULL},
    {"faulty_inaccurate", GMM_PROVIDER_STATE_REFUSED, "is wrong"},
    {"faulty_backwards", GMM_PROVIDER_STATE_GOOD, NULL},
    {"faulty_bad_ignored", GMM_PROVIDER_STATE_GOOD, NULL},
    {"faulty_hangs", GMM_PROVIDER_STATE_GOOD, NULL}, /* gemv */
    {"faulty_exits", GMM_PROVIDER_STATE_GOOD, NULL}, /* gemv */
    {"faulty_unaligned_bits", GMM_PROVIDER_STATE_GOOD, NULL},
    {"faulty_fork_forgets", GMM_PROVIDER_STATE_GOOD, NULL},
    {"route_rounds_up", GMM_PROVIDER_STATE_REFUSED, "changes the floating-point environment"},
    {"route_misplaced", GMM_PROVIDER_STATE_REFUSED, "is wrong when operands are off a 64-byte boundary"},
    {"route_padded", GMM_PROVIDER_STATE_REFUSED, "lets the padding of A or B into the result"},
    {"route_unsteady", GMM_PROVIDER_STATE_REFUSED, "gives the same operands other bits the second time"},
    {"route_narrow", GMM_PROVIDER_STATE_REFUSED, "is less accurate than f32"},
    {"route_earlier", GMM_PROVIDER_STATE_REFUSED, "lets what an earlier call saw into the result"},
    {"route_clobbers", GMM_PROVIDER_STATE_REFUSED, "writes to A or B"},
};

static void expect_fault(const fault *f)
{
    gmm_context *context = NULL;
    gmm_provider_info info;
    gmm_status status = open_blas(built(f->library), &context);
    int rounding = fegetround();

    if (f->state == GMM_PROVIDER_STATE_REFUSED) {
        print_message("%s\n", status ? gmm_error_detail() : "accepted");
        assert_int_equal(status, GMM_ERR_BLAS);
        assert_null(context);
        assert_non_null(strstr(gmm_error_detail(), f->finding));
        assert_non_null(strstr(gmm_error_detail(), f->library));
        assert_int_equal(open_blas(built(f->library), &context), GMM_ERR_BLAS); /* from memory */
        assert_non_null(strstr(gmm_error_detail(), f->finding));
        assert_int_equal(rounding, FE_TONEAREST);
        return;
    }
    if (status)
        fail_msg("%s: %s", f->library, gmm_error_detail());
    for (size_t i = 0; i < sizeof good_shapes / sizeof good_shapes[0]; i++) {
        work w;
        make_work(&w, &good_shapes[i]);
        expect_right(context, &w);
        free_work(&w);
    }
    assert_true(gmm_context_provider(context, &info));
    assert_int_equal(info.state, f->state);
    assert_int_equal(info.classes_refused, 0);
    assert_string_equal(info.finding, f->finding ? info.finding : "");
    if (f->finding) {
        print_message("%s\n", info.finding);
        assert_non_null(strstr(info.finding, f->finding));
        assert_true(info.classes_remedied > 0);
    }
    gmm_context_destroy(context);
}

static void faults_are_found_or_cannot_matter(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        expect_fault(&faults[i]);
}

static const shape small = {.products = 1, .m = 20, .n = 30, .k = 40, .matrices = 1, .used = 1};
static const shape large = {.products = 1, .m = 150, .n = 170, .k = 300, .matrices = 1, .used = 1};

/* Faults that only large calls have: the class goes to the native kernels, to the bit, the others do not. */
static void classes_are_refused_alone(void **state)
{
    gmm_context *context;
    gmm_provider_info info;
    char text[4096], *native;
    work w;

    (void)state;
    assert_int_equal(open_blas(built("route_late"), &context), GMM_OK);
    make_work(&w, &small);
    explain(context, &w, text);
    assert_non_null(strstr(text, "sgemm_ for 1 matrices"));
    expect_right(context, &w);
    free_work(&w);

    make_work(&w, &large);
    explain(context, &w, text);
    print_message("%s", text);
    assert_non_null(strstr(text, "sgemm_ for 0 matrices"));
    assert_non_null(strstr(text, "refused for 1; sgemm_ is wrong: 150 x 300 by 300 x 170"));
    expect_right(context, &w);
    native = gmm_built_collect(&w.out.array, NULL);
    expect_right(NULL, &w);
    char *again = gmm_built_collect(&w.out.array, NULL);
    assert_memory_equal(native, again, (size_t)gmm_built_count(&w.out.array) * sizeof(float));
    free(native);
    free(again);
    assert_true(gmm_context_provider(context, &info));
    assert_int_equal(info.state, GMM_PROVIDER_STATE_GOOD);
    assert_int_equal(info.classes_checked, 2);
    assert_int_equal(info.classes_refused, 1);
    free_work(&w);
    gmm_context_destroy(context);
}

/* C is read by large calls only: they are used, over zeros, and are right whatever lies about. */
static void stale_classes_are_remedied(void **state)
{
    gmm_context *context;
    gmm_provider_info info;
    char text[4096];
    work w;

    (void)state;
    assert_int_equal(open_blas(built("route_stale"), &context), GMM_OK);
    assert_true(gmm_context_provider(context, &info));
    assert_int_equal(info.state, GMM_PROVIDER_STATE_GOOD);
    make_work(&w, &large);
    explain(context, &w, text);
    assert_non_null(strstr(text, "sgemm_ for 1 matrices"));
    assert_non_null(strstr(text, "C zeroed as a remedy; sgemm_ reads C although beta is 0"));
    for (int i = 0; i < 3; i++)
        expect_right(context, &w);
    assert_true(gmm_context_provider(context, &info));
    assert_int_equal(info.state, GMM_PROVIDER_STATE_REMEDIED);
    assert_int_equal(info.classes_remedied, 1);
    free_work(&w);
    gmm_context_destroy(context);
}

/* ---- what does not go to it -------------------------------------------------------------------------------------- */

/* Few rows, one column, other types and strides: the same bits with and without it. The BLAS is the reversed one of the
 * Fortran kind: it would round otherwise. */
static void other_products_stay_native(void **state)
{
    static const shape shapes[] = {
        {.products = 1, .m = 1, .n = 512, .k = 544, .matrices = 1, .used = 1},
        {.products = 1, .m = 1, .n = 512, .k = 544, .matrices = 1, .used = 1, .transposed = true},
        {.products = 8, .m = 1, .n = 512, .k = 544, .matrices = 8, .used = 8},
        {.products = 8, .m = 1, .n = 65, .k = 301, .matrices = 8, .used = 1, .transposed = true},
        {.products = 1, .m = 60, .n = 1, .k = 301, .matrices = 1, .used = 1},
        {.products = 1, .m = 60, .n = 9, .k = 301, .matrices = 1, .used = 1, .shift_bytes = 2},
    };
    gmm_context *context, *plain;

    (void)state;
    assert_int_equal(open_blas(built("route_none"), &context), GMM_OK);
    assert_int_equal(open_blas(NULL, &plain), GMM_OK);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        char text[4096], *with, *without;
        work w;
        make_work(&w, &shapes[i]);
        explain(context, &w, text);
        assert_non_null(strstr(text, "sgemm_ for 0 matrices"));
        explain(plain, &w, text);
        assert_null(strstr(text, "BLAS"));
        expect_right(context, &w);
        with = gmm_built_collect(&w.out.array, NULL);
        expect_right(plain, &w);
        without = gmm_built_collect(&w.out.array, NULL);
        assert_memory_equal(with, without, (size_t)gmm_built_count(&w.out.array) * sizeof(float));
        free(with);
        free(without);
        free_work(&w);
    }
    assert_false(gmm_context_provider(plain, &(gmm_provider_info){.symbol = ""}));
    assert_false(gmm_context_provider(NULL, &(gmm_provider_info){.symbol = ""}));
    assert_false(gmm_context_provider(context, NULL));
    gmm_context_destroy(context);
    gmm_context_destroy(plain);
}

/* Some matrices with one row, some with many, in one call; K = 0 beside them. */
static void mixed_groups(void **state)
{
    static const int64_t matrices[] = {2, 0, 2, 1, 2, 2, 2, 0, 2, 2, 2, 2, 2, 2, 2};
    gmm_context *context;
    char text[4096];
    work w;

    (void)state;
    assert_int_equal(open_blas(built("route_none"), &context), GMM_OK);
    make_work(&w, &(shape){.products = 15, .m = 1, .n = 50, .k = 60, .matrices = 4, .used = 1, .transposed = true});
    for (int64_t i = 0; i < 15; i++)
        gmm_built_put(&w.rhs_indices.array, i, (double)matrices[i]);
    gmm_oracle_free(&w.oracle);
    gmm_oracle_make(&w.product, &w.oracle);
    explain(context, &w, text);
    assert_non_null(strstr(text, "sgemm_ for 1 matrices"));
    assert_non_null(strstr(text, " for 2 matrices, "));
    expect_right(context, &w);
    free_work(&w);
    make_work(&w, &(shape){.products = 1, .m = 20, .n = 5, .k = 0, .matrices = 1, .used = 1});
    expect_right(context, &w);
    free_work(&w);
    gmm_context_destroy(context);
}

/* ---- refusals, threads ------------------------------------------------------------------------------------------- */

static void expect_refusal(const char *name, const char *words)
{
    gmm_context *context = NULL;

    assert_int_equal(open_blas(name, &context), GMM_ERR_BLAS);
    assert_null(context);
    if (!strstr(gmm_error_detail(), words))
        fail_msg("%s: %s", name, gmm_error_detail());
}

static void what_is_no_blas_is_refused(void **state)
{
    gmm_context *context;

    (void)state;
    expect_refusal("/no/such/libblas.so", "no BLAS to use: /no/such/libblas.so: cannot open shared object file");
    expect_refusal("", "no BLAS to use: ");
    expect_refusal("libm.so.6", "no BLAS to use: libm.so.6 has no BLAS routine under any known name");
    expect_refusal(gmm_temp_file("text.so", "not a library at all", 20), "no BLAS to use: ");
    expect_refusal(built("route_no_sgemm"), "has no sgemm under any known name");
    /* Programs that were compiled before there was such a member say so by the size. */
    gmm_context_options old = {.size = offsetof(gmm_context_options, blas), .blas = "/no/such/libblas.so"};
    assert_int_equal(gmm_context_create(&old, &context), GMM_OK);
    assert_false(gmm_context_provider(context, &(gmm_provider_info){.symbol = ""}));
    gmm_context_destroy(context);
}

static void *create_and_run(void *argument)
{
    static char no_context[] = "no context", no_result[] = "no result", wrong_result[] = "wrong result";
    const char *name = argument;
    gmm_context *context;

    if (open_blas(name, &context))
        return no_context;
    for (int i = 0; i < 20; i++) {
        float lhs[2][20][30], rhs[2][30][40], out[2][20][40];
        const int64_t lhs_shape[] = {2, 20, 30}, rhs_shape[] = {2, 30, 40}, out_shape[] = {2, 20, 40};
        for (size_t x = 0; x < sizeof lhs / sizeof(float); x++)
            (&lhs[0][0][0])[x] = 1.0f;
        for (size_t x = 0; x < sizeof rhs / sizeof(float); x++)
            (&rhs[0][0][0])[x] = (float)(i + 1);
        const gmm_array a = {.data = lhs, .dtype = GMM_F32, .ndim = 3, .shape = lhs_shape};
        const gmm_array b = {.data = rhs, .dtype = GMM_F32, .ndim = 3, .shape = rhs_shape};
        gmm_array c = {.data = out, .dtype = GMM_F32, .ndim = 3, .shape = out_shape};
        memset(out, 0xFF, sizeof out);
        if (gmm_gather_mm(context, &a, &b, NULL, NULL, false, &c))
            return no_result;
        for (size_t x = 0; x < sizeof out / sizeof(float); x++)
            if ((&out[0][0][0])[x] != (float)(30 * (i + 1)))
                return wrong_result;
    }
    gmm_context_destroy(context);
    return NULL;
}

static void many_threads_share_one(void **state)
{
    static char name[4096];
    pthread_t threads[4];
    void *failure;

    (void)state;
    snprintf(name, sizeof name, "%s", built("route_none"));
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, create_and_run, name), 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], &failure), 0);
        if (failure)
            fail_msg("%s", (const char *)failure);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_libraries_multiply),   cmocka_unit_test(libraries_of_the_machine_multiply),
        cmocka_unit_test(auto_takes_the_first),       cmocka_unit_test(faults_are_found_or_cannot_matter),
        cmocka_unit_test(classes_are_refused_alone),  cmocka_unit_test(stale_classes_are_remedied),
        cmocka_unit_test(other_products_stay_native), cmocka_unit_test(mixed_groups),
        cmocka_unit_test(what_is_no_blas_is_refused), cmocka_unit_test(many_threads_share_one),
    };

    gmm_random_start(&seeded, "test_blas_route");
    return cmocka_run_group_tests(tests, gmm_temp_folder_make, gmm_temp_folder_remove);
}
