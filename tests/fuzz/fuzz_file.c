/* fuzz_file.c - see fuzz_file.h. */
/* SPDX-License-Identifier: MIT */
#include "fuzz_file.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void remove_files(void)
{
    unlink(fuzz_file_path("in"));
    unlink(fuzz_file_path("out"));
}

const char *fuzz_file_path(const char *suffix)
{
    static char paths[2][256];
    static bool first = true;
    char *path = paths[strcmp(suffix, "in") != 0];
    struct stat info;

    if (first) {
        first = false;
        atexit(remove_files);
    }
    if (!*path)
        snprintf(path, sizeof paths[0], "%s/gathermm-fuzz-%ld.%s", stat("/dev/shm", &info) == 0 ? "/dev/shm" : "/tmp",
                 (long)getpid(), suffix);
    return path;
}

const char *fuzz_file_write(const char *suffix, const void *head, size_t head_size, const void *rest, size_t rest_size)
{
    const char *path = fuzz_file_path(suffix);
    FILE *file = fopen(path, "wb");

    FUZZ_REQUIRE(file, "cannot write %s", path);
    FUZZ_REQUIRE(head_size == 0 || fwrite(head, 1, head_size, file) == head_size, "cannot write %s", path);
    FUZZ_REQUIRE(rest_size == 0 || fwrite(rest, 1, rest_size, file) == rest_size, "cannot write %s", path);
    FUZZ_REQUIRE(fclose(file) == 0, "cannot write %s", path);
    return path;
}

uint64_t fuzz_file_touch(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint64_t sum = 0;

    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + bytes[i];
    return sum;
}
