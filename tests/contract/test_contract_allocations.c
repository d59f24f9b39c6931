/* test_contract_allocations.c - a call like an earlier one allocates nothing. */
/* SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "cmocka_test.h"
#include "gathermm/moe.h"

/* The linker sends the allocations of this program, and of the static library in it, here first (--wrap). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static _Atomic int64_t allocations;
static _Atomic bool refused; /* aligned memory, of which arenas are made */

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    allocations++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    allocations++;
    return __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    allocations++;
    return refused ? NULL : __real_aligned_alloc(alignment, size);
}

enum {
    K = 512,
    N = 160,
    EXPERTS = 4,
    MOST_ROWS = 150,
    TOKENS = 600 /* of layers: enough that two workers take pieces of their own */
};

static uint32_t codes[EXPERTS * N * K / 8];
static float scales[EXPERTS * N * K / 64], biases[EXPERTS * N * K / 64], x[MOST_ROWS * K], out[MOST_ROWS * N];
static float dense[EXPERTS * N * K];

/* Products of `rows` rows with matrices that come in no order, with quantized weights, or with dense ones in either
 * layout. */
static void run(const gmm_context *context, int64_t rows, int kind)
{
    static uint32_t experts[MOST_ROWS];
    const int64_t w_shape[] = {EXPERTS, N, K / 8}, scale_shape[] = {EXPERTS, N, K / 64};
    const int64_t x_shape[] = {rows, 1, K}, out_shape[] = {rows, 1, N}, indices_shape[] = {rows};
    const int64_t rhs_shape[] = {EXPERTS, K, N}, along_k[] = {N * K, 1, K};
    gmm_array w = {.data = codes, .dtype = GMM_U32, .ndim = 3, .shape = w_shape};
    gmm_array s = {.data = scales, .dtype = GMM_F32, .ndim = 3, .shape = scale_shape};
    gmm_array b = {.data = biases, .dtype = GMM_F32, .ndim = 3, .shape = scale_shape};
    gmm_array rhs = {.data = dense, .dtype = GMM_F32, .ndim = 3, .shape = rhs_shape};
    gmm_array lhs = {.data = x, .dtype = GMM_F32, .ndim = 3, .shape = x_shape};
    gmm_array result = {.data = out, .dtype = GMM_F32, .ndim = 3, .shape = out_shape};
    gmm_array indices = {.data = experts, .dtype = GMM_U32, .ndim = 1, .shape = indices_shape};
    gmm_quantized quantized = {.w = &w, .scales = &s, .biases = &b};

    for (int64_t i = 0; i < rows; i++)
        experts[i] = (uint32_t)(i * 7 % EXPERTS);
    rhs.strides = kind == 2 ? along_k : NULL;
    if (kind == 0)
        assert_int_equal(gmm_gather_qmm(context, &lhs, &quantized, NULL, &indices, true, false, &result), GMM_OK);
    else
        assert_int_equal(gmm_gather_mm(context, &lhs, &rhs, NULL, &indices, false, &result), GMM_OK);
}

static void check(const gmm_context *context)
{
    static const int64_t rows[] = {1, 9, MOST_ROWS}; /* the dot body, both bodies, the outer body */

    for (int kind = 0; kind < 3; kind++)
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            run(context, rows[i], kind); /* finds out how much memory it needs */
            int64_t before = allocations;
            for (int again = 0; again < 3; again++)
                run(context, rows[i], kind);
            if (GMM_ARENA_KEPT_BYTES > 0)
                assert_int_equal(allocations - before, 0);
            else
                assert_true(allocations > before); /* the address sanitizer's builds keep nothing */
        }
}

static void test_default_context(void **state)
{
    (void)state;
    check(NULL);
}

static void test_context(void **state)
{
    (void)state;
    for (gmm_arithmetic arithmetic = GMM_ARITHMETIC_F32; arithmetic <= GMM_ARITHMETIC_INT8; arithmetic++) {
        gmm_context *context = NULL;
        gmm_context_options options = {.size = sizeof options, .threads = 2, .arithmetic = arithmetic};
        assert_int_equal(gmm_context_create(&options, &context), GMM_OK);
        check(context);
        gmm_context_destroy(context);
    }
}

/* ---- whole layers ---- */

/* A plan that is kept, with experts given and with a router; and without a plan, where scratch is the context's. */
static void check_layer(const gmm_context *context, bool planned, bool routed)
{
    const int64_t up_shape[] = {EXPERTS, N, K}, down_shape[] = {EXPERTS, K, N}, router_shape[] = {EXPERTS, K};
    const int64_t bias_shape[] = {EXPERTS, N};
    static float to_hidden[TOKENS * K], weight[TOKENS * 2];
    static int32_t expert[TOKENS * 2];
    gmm_array up = {.data = dense, .dtype = GMM_F32, .ndim = 3, .shape = up_shape};
    gmm_array down = {.data = dense, .dtype = GMM_F32, .ndim = 3, .shape = down_shape};
    gmm_array router = {.data = dense, .dtype = GMM_F32, .ndim = 2, .shape = router_shape};
    gmm_array bias = {.data = dense, .dtype = GMM_F32, .ndim = 2, .shape = bias_shape};
    gmm_routing routing = {.size = sizeof routing, .top_k = 2, .router = {.rhs = &router}};
    gmm_moe_layer layer = {.size = sizeof layer,
                           .experts = {.gate = {.rhs = &up, .bias = &bias}, .up = {.rhs = &up}, .down = {.rhs = &down}},
                           .routing = &routing};
    gmm_moe_plan *plan = NULL;

    for (int64_t i = 0; i < TOKENS * 2; i++)
        expert[i] = (int32_t)(i * 7 % EXPERTS);
    assert_int_equal(gmm_moe_plan_create(context, &layer, TOKENS, 2, &plan), GMM_OK);
    for (int n = 0; n < 3; n++) {
        const int64_t tokens = n == 0 ? 1 : n == 1 ? MOST_ROWS : TOKENS;
        const int64_t x_shape[] = {tokens, K}, x_strides[] = {tokens > MOST_ROWS ? 0 : K, 1}, slots[] = {tokens, 2};
        gmm_array rows = {.data = x, .dtype = GMM_F32, .ndim = 2, .shape = x_shape, .strides = x_strides};
        gmm_array ids = {.data = expert, .dtype = GMM_I32, .ndim = 2, .shape = slots};
        gmm_array weights = {.data = weight, .dtype = GMM_F32, .ndim = 2, .shape = slots};
        gmm_array result = {.data = to_hidden, .dtype = GMM_F32, .ndim = 2, .shape = x_shape};
        int64_t before = 0;
        /* The first finds out how much memory it needs; without a plan the second too, as the layer's scratch and that
         * of its products may change places in the pool. */
        for (int again = 0, warm = planned ? 1 : 2; again < 5; again++) {
            before = again == warm ? allocations : before;
            gmm_status status =
                planned ? gmm_moe_plan_run(plan, &rows, routed ? NULL : &ids, routed ? NULL : &weights, &result)
                        : gmm_moe_run(context, &layer, &rows, routed ? NULL : &ids, routed ? NULL : &weights, &result);
            assert_int_equal(status, GMM_OK);
        }
        if (GMM_ARENA_KEPT_BYTES > 0)
            assert_int_equal(allocations - before, 0);
    }
    gmm_moe_plan_destroy(plan);
}

static void test_layers(void **state)
{
    gmm_context *context = NULL;
    gmm_context_options options = {.size = sizeof options, .threads = 2};

    (void)state;
    assert_int_equal(gmm_context_create(&options, &context), GMM_OK);
    for (int kind = 0; kind < 4; kind++) {
        check_layer(NULL, kind % 2, kind / 2);
        check_layer(context, kind % 2, kind / 2);
    }
    gmm_context_destroy(context);
}

/* Workers that find no memory for their products: an error, out as it was, and all well when there is some again. */
static void test_workers_without_memory(void **state)
{
    const int64_t up_shape[] = {EXPERTS, N, K}, down_shape[] = {EXPERTS, K, N}, x_shape[] = {TOKENS, K}, no[] = {0, 1};
    const int64_t slots[] = {TOKENS, 2};
    static float weight[TOKENS * 2], to_hidden[TOKENS * K];
    static int32_t expert[TOKENS * 2];
    gmm_array up = {.data = dense, .dtype = GMM_F32, .ndim = 3, .shape = up_shape};
    gmm_array down = {.data = dense, .dtype = GMM_F32, .ndim = 3, .shape = down_shape};
    gmm_array rows = {.data = x, .dtype = GMM_F32, .ndim = 2, .shape = x_shape, .strides = no};
    gmm_array ids = {.data = expert, .dtype = GMM_I32, .ndim = 2, .shape = slots};
    gmm_array weights = {.data = weight, .dtype = GMM_F32, .ndim = 2, .shape = slots};
    gmm_array result = {.data = to_hidden, .dtype = GMM_F32, .ndim = 2, .shape = x_shape};
    gmm_moe_layer layer = {.size = sizeof layer, .experts = {.up = {.rhs = &up}, .down = {.rhs = &down}}};
    gmm_context_options options = {.size = sizeof options, .threads = 2};
    gmm_context *context = NULL;
    gmm_moe_plan *plan = NULL;

    (void)state;
    assert_int_equal(gmm_context_create(&options, &context), GMM_OK);
    assert_int_equal(gmm_moe_plan_create(context, &layer, TOKENS, 2, &plan), GMM_OK);
    to_hidden[0] = to_hidden[TOKENS * K - 1] = 7;
    refused = true;
    gmm_status status = gmm_moe_plan_run(plan, &rows, &ids, &weights, &result);
    refused = false;
    assert_int_equal(status, GMM_ERR_MEMORY);
    assert_string_equal(gmm_error_detail(), "no memory for products of 128 rows by 2 workers");
    assert_true(to_hidden[0] == 7 && to_hidden[TOKENS * K - 1] == 7);
    assert_int_equal(gmm_moe_plan_run(plan, &rows, &ids, &weights, &result), GMM_OK);
    assert_true(to_hidden[0] == 0);
    gmm_moe_plan_destroy(plan);
    gmm_context_destroy(context);
}

/* An arena's pieces are apart, aligned, and of one block when it is taken again. */
static void test_arena(void **state)
{
    static gmm_pool pool;

    (void)state;
    for (int round = 0; round < 2; round++) {
        gmm_arena *arena = gmm_arena_begin(&pool);
        char *piece[3];
        assert_non_null(arena);
        for (int i = 0; i < 3; i++) {
            piece[i] = gmm_arena_take(arena, 100 * i, 3);
            assert_non_null(piece[i]);
            assert_int_equal((uintptr_t)piece[i] % 64, 0);
            memset(piece[i], i, (size_t)(300 * i));
        }
        for (int i = 0; i < 3; i++)
            for (int at = 0; at < 300 * i; at++)
                assert_int_equal(piece[i][at], i);
        assert_null(gmm_arena_take(arena, -1, 1));
        assert_null(gmm_arena_take(arena, INT64_MAX, 8));
        if (round == 1 && GMM_ARENA_KEPT_BYTES > 0)
            assert_true(piece[1] > piece[0] && piece[2] > piece[1]);
        gmm_arena_end(&pool, arena);
    }
    gmm_pool_clear(&pool);
    gmm_arena_end(&pool, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_context),        cmocka_unit_test(test_context), cmocka_unit_test(test_layers),
        cmocka_unit_test(test_workers_without_memory), cmocka_unit_test(test_arena),
    };

    return cmocka_run_group_tests_name("allocations", tests, NULL, NULL);
}
