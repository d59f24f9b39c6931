/* temp_folder.c - see temp_folder.h. */
/* SPDX-License-Identifier: MIT */
#include "temp_folder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmocka_test.h"

static char folder[256];

int gmm_temp_folder_make(void **state)
{
    const char *parent = getenv("TMPDIR");

    (void)state;
    snprintf(folder, sizeof folder, "%s/gathermm-test-XXXXXX", parent ? parent : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

/* Call `visit` for each entry but "." and ".."; returns their number. */
static int each_entry(void (*visit)(const char *path))
{
    DIR *directory = opendir(folder);
    const struct dirent *entry;
    int count = 0;

    while (directory && (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        count++;
        if (visit)
            visit(gmm_temp_path(entry->d_name));
    }
    if (directory)
        closedir(directory);
    return count;
}

static void delete (const char *path)
{
    if (unlink(path) != 0)
        rmdir(path);
}

int gmm_temp_folder_remove(void **state)
{
    (void)state;
    each_entry(delete);
    return rmdir(folder);
}

int gmm_temp_count(void)
{
    return each_entry(NULL);
}

const char *gmm_temp_path(const char *name)
{
    static char paths[8][1024];
    static unsigned next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

const char *gmm_temp_file(const char *name, const void *bytes, size_t size)
{
    const char *path = gmm_temp_path(name);
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

unsigned char *gmm_temp_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");

    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}
