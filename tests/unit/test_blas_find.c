/* test_blas_find.c - the BLAS finder: what is there is found, under its real path; what is broken is not. */
/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmocka_test.h"
#include "gathermm/blas.h"
#include "temp_folder.h"

static const char *program;

/* The entry of this name in the list. */
static gmm_blas_info entry(const char *name)
{
    gmm_blas_info info;

    for (size_t i = 0; gmm_blas_at(i, &info); i++)
        if (strcmp(info.name, name) == 0)
            return info;
    fail_msg("%s is not in the list", name);
    return info;
}

static void entries_make_sense(void **state)
{
    gmm_blas_info info;
    size_t count = 0;

    (void)state;
    for (; gmm_blas_at(count, &info); count++) {
        assert_true(strlen(info.name) > 0);
        if (*info.path) {
            print_message("%s: %s, %s, cblas %d, Fortran %d, %d bits\n", info.name, info.path, info.version,
                          info.has_cblas, info.has_fortran, (int)info.integer_bits);
            assert_true(info.path[0] == '/');
            assert_true(info.integer_bits == 0 || info.integer_bits == 32 || info.integer_bits == 64);
        } else {
            assert_string_equal(info.version, "");
            assert_false(info.has_cblas || info.has_fortran);
            assert_int_equal(info.integer_bits, 0);
        }
    }
    assert_true(count > 5);
    assert_false(gmm_blas_at(count, &info));
    assert_false(gmm_blas_at(SIZE_MAX, &info));
    assert_false(gmm_blas_at(0, NULL));
}

/* Found exactly if a program here could load it. */
static void agrees_with_the_loader(void **state)
{
    gmm_blas_info info;

    (void)state;
    for (size_t i = 0; gmm_blas_at(i, &info); i++) {
        void *library = dlopen(info.name, RTLD_LAZY | RTLD_LOCAL);
        assert_int_equal(library != NULL, *info.path != '\0');
        if (!library)
            continue;
        if (dlsym(library, "cblas_sgemm"))
            assert_true(info.has_cblas);
        if (dlsym(library, "sgemm_"))
            assert_true(info.has_fortran);
        dlclose(library);
    }
}

static void *find_all(void *argument)
{
    gmm_blas_info info;
    size_t *count = argument;

    for (size_t i = 0; gmm_blas_at(i, &info); i++)
        *count += *info.path != '\0';
    return NULL;
}

static void works_in_threads(void **state)
{
    pthread_t threads[4];
    size_t counts[4] = {0};

    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, find_all, &counts[i]), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 1; i < 4; i++)
        assert_int_equal(counts[i], counts[0]);
}

#if defined(__linux__)
/* In a child, whose loader looks into the folder of the test first: a name that is a link to a library without BLAS, a
 * broken library, and an empty one. */
static int child(const char *target)
{
    gmm_blas_info info = entry("libblis64.so.4");

    if (strcmp(info.path, target) != 0 || info.has_cblas || info.has_fortran || info.integer_bits != 64 ||
        *info.version) {
        fprintf(stderr, "%s: %s, not %s\n", info.name, info.path, target);
        return 1;
    }
    return *entry("libgslcblas.so.0").path || *entry("libtatlas.so.3").path;
}

static void follows_links_and_survives_broken_libraries(void **state)
{
    char path[1024], *target;
    void *library = dlopen("libcmocka.so.0", RTLD_LAZY); /* which this program has loaded: it must be there */
    int status;

    (void)state;
    assert_non_null(library);
    dlclose(library);
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    do
        assert_non_null(fgets(path, sizeof path, maps));
    while (!strstr(path, "libcmocka"));
    fclose(maps);
    path[strcspn(path, "\n")] = '\0';
    target = strchr(path, '/');
    assert_non_null(target);

    assert_int_equal(symlink(target, gmm_temp_path("libblis64.so.4")), 0);
    gmm_temp_file("libgslcblas.so.0",
                  "\x7f"
                  "ELF and nothing else",
                  21);
    gmm_temp_file("libtatlas.so.3", "", 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char folder[1024];
        snprintf(folder, sizeof folder, "%s", gmm_temp_path(""));
        setenv("LD_LIBRARY_PATH", folder, 1);
        execl(program, program, "child", target, (char *)NULL);
        _exit(2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}
#endif

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_make_sense),
        cmocka_unit_test(agrees_with_the_loader),
        cmocka_unit_test(works_in_threads),
#if defined(__linux__)
        cmocka_unit_test(follows_links_and_survives_broken_libraries),
#endif
    };

    program = argv[0];
#if defined(__linux__)
    if (argc == 3 && strcmp(argv[1], "child") == 0)
        return child(argv[2]);
#endif
    (void)argc;
    return cmocka_run_group_tests(tests, gmm_temp_folder_make, gmm_temp_folder_remove);
}
