/* fuzz_file.c - see fuzz_file.h. */
/* SPDX-License-Identifier: MIT */
#include "fuzz_file.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FILES = 4,
    PATH_BYTES = 256
};

/* As they are first asked for. */
static char paths[FILES][PATH_BYTES];

static void remove_files(void)
{
    for (int i = 0; i < FILES; i++)
        if (*paths[i])
            unlink(paths[i]);
}

const char *fuzz_file_path(const char *suffix)
{
    static const char *suffixes[FILES];
    struct stat info;
    int i = 0;

    while (i < FILES && suffixes[i] && strcmp(suffixes[i], suffix) != 0)
        i++;
    FUZZ_REQUIRE(i < FILES, "too many files");
    if (suffixes[i])
        return paths[i];
    if (i == 0)
        atexit(remove_files);
    suffixes[i] = suffix;
    snprintf(paths[i], PATH_BYTES, "%s/gathermm-fuzz-%ld.%s", stat("/dev/shm", &info) == 0 ? "/dev/shm" : "/tmp",
             (long)getpid(), suffix);
    return paths[i];
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
