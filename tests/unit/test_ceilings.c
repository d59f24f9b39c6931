/* test_ceilings.c - the list of ceilings under every mask, what measuring one gives, and what it refuses. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "cmocka_test.h"
#include "gathermm/ceilings.h"
#include "kernels/ceiling.h"

static gmm_context *make_context(const gmm_context_options *options)
{
    gmm_context *context;

    assert_int_equal(gmm_context_create(options, &context), GMM_OK);
    return context;
}

static void test_the_list_has_every_name_once(void **state)
{
    static const char *const names[] = {"read", "fma_f32", "dot_bf16", "dot_int8"};
    gmm_ceiling_info info, other;
    size_t count = 0;

    (void)state;
    for (; gmm_ceiling_at(NULL, count, &info); count++) {
        assert_string_equal(info.name, names[count]);
        assert_true(*info.unit && *info.about);
        assert_int_equal(info.usable, info.kernel != NULL);
        for (size_t j = 0; j < count; j++) {
            assert_true(gmm_ceiling_at(NULL, j, &other));
            assert_string_not_equal(info.name, other.name);
        }
    }
    assert_int_equal(count, sizeof names / sizeof names[0]);
    assert_false(gmm_ceiling_at(NULL, SIZE_MAX, &info));
}

/* Every loop measures something that is listed, by steps of which a block has a whole number. */
static void test_every_loop_is_reachable(void **state)
{
    (void)state;
    for (size_t i = 0; gmm_ceilings[i]; i++) {
        gmm_ceiling_info info;
        bool listed = false;
        for (size_t j = 0; gmm_ceiling_at(NULL, j, &info); j++)
            listed |= !strcmp(info.name, gmm_ceilings[i]->what);
        assert_true(listed);
        assert_true(gmm_ceilings[i]->step_work > 0);
        if (!strcmp(gmm_ceilings[i]->what, "read"))
            assert_int_equal((1 << 20) % gmm_ceilings[i]->step_work, 0);
    }
}

static void test_masks_leave_what_is_portable(void **state)
{
    gmm_context *context = make_context(&(gmm_context_options){.size = sizeof(gmm_context_options), .cpu_mask = "all"});
    gmm_ceiling_result result;
    gmm_ceiling_info info;

    (void)state;
    for (size_t i = 0; gmm_ceiling_at(context, i, &info); i++) {
        bool portable = !strcmp(info.name, "read") || !strcmp(info.name, "fma_f32");
        assert_int_equal(info.usable, portable);
        if (portable)
            assert_non_null(strstr(info.kernel, "_portable"));
        else {
            assert_int_equal(gmm_ceiling_measure(context, info.name, 1, 0.001, &result), GMM_ERR_ARGUMENT);
            assert_non_null(strstr(gmm_error_detail(), info.name));
        }
    }
    gmm_context_destroy(context);
}

static void test_measuring_gives_rates(void **state)
{
    gmm_ceiling_result result;
    gmm_ceiling_info info;

    (void)state;
    for (size_t i = 0; gmm_ceiling_at(NULL, i, &info); i++) {
        if (!info.usable)
            continue;
        assert_int_equal(gmm_ceiling_measure(NULL, info.name, 1, 0.001, &result), GMM_OK);
        assert_int_equal(result.windows, 3);
        assert_true(isfinite(result.best) && result.median > 0 && result.best >= result.median);
        assert_int_equal(gmm_ceiling_measure(NULL, info.name, 0, 0.05, &result), GMM_OK);
        assert_int_equal(result.windows, 5);
    }
}

static void one_by_one(void *user, int64_t count, void (*body)(void *arg, int64_t i), void *arg)
{
    (void)user;
    for (int64_t i = 0; i < count; i++)
        body(arg, i);
}

/* Threads that wait for one another on a loop that has one thread: an error, not a deadlock. */
static void test_a_serial_loop_is_found_out(void **state)
{
    gmm_context *context =
        make_context(&(gmm_context_options){.size = sizeof(gmm_context_options), .parallel_for = one_by_one});
    gmm_ceiling_result result = {.best = -1};

    (void)state;
    assert_int_equal(gmm_ceiling_measure(context, "fma_f32", 2, 0.001, &result), GMM_ERR_ARGUMENT);
    assert_non_null(strstr(gmm_error_detail(), "threads is 2"));
    assert_true(result.best == -1);
    assert_int_equal(gmm_ceiling_measure(context, "fma_f32", 0, 0.001, &result), GMM_OK);
    gmm_context_destroy(context);
}

static void test_refusals(void **state)
{
    gmm_ceiling_result result = {.best = -1};

    (void)state;
    assert_int_equal(gmm_ceiling_measure(NULL, NULL, 1, 1, &result), GMM_ERR_NULL);
    assert_int_equal(gmm_ceiling_measure(NULL, "read", 1, 1, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_ceiling_measure(NULL, "speed", 1, 1, &result), GMM_ERR_ARGUMENT);
    assert_non_null(strstr(gmm_error_detail(), "\"speed\""));
    assert_int_equal(gmm_ceiling_measure(NULL, "fma_f32", -1, 1, &result), GMM_ERR_ARGUMENT);
    assert_non_null(strstr(gmm_error_detail(), "-1"));
    const double seconds[] = {0, -1, 3601, INFINITY, NAN};
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++)
        assert_int_equal(gmm_ceiling_measure(NULL, "fma_f32", 1, seconds[i], &result), GMM_ERR_ARGUMENT);
    assert_true(result.best == -1);
}

static void test_caches_have_a_size(void **state)
{
    (void)state;
    assert_true(gmm_cache_bytes() >= 1 << 16);
    assert_true(gmm_cache_bytes() == gmm_cache_bytes());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_list_has_every_name_once), cmocka_unit_test(test_every_loop_is_reachable),
        cmocka_unit_test(test_masks_leave_what_is_portable), cmocka_unit_test(test_measuring_gives_rates),
        cmocka_unit_test(test_a_serial_loop_is_found_out),   cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_caches_have_a_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
