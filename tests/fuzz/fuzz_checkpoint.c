/* fuzz_checkpoint.c - fuzz target: any config.json, index and headers as a checkpoint; what opens must load, and every
 * byte that its arrays promise must be there. */
/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz_file.h"
#include "fuzz_layer.h"

enum {
    FILES = 4,
    MOST_DATA = 1 << 20
};

/* Without an index, all that begin with "model" are read; the last of them only if the input has a fourth part. */
static const char *const names[FILES] = {"config.json", "model.safetensors.index.json", "model-1.safetensors",
                                         "model-2.safetensors"};

static const char *folder_path(void)
{
    static char path[300];

    if (!*path) {
        snprintf(path, sizeof path, "%s.d", fuzz_file_path("in"));
        FUZZ_REQUIRE(mkdir(path, 0700) == 0, "cannot make %s", path);
    }
    return path;
}

static const char *file_path(int i)
{
    static char path[400];

    snprintf(path, sizeof path, "%s/%s", folder_path(), names[i]);
    return path;
}

static void remove_folder(void)
{
    for (int i = 0; i < FILES; i++)
        unlink(file_path(i));
    rmdir(folder_path());
}

/* How much data a header speaks of: its largest number that follows a comma, as the end of data_offsets does. */
static size_t data_size(const uint8_t *text, size_t size)
{
    size_t largest = 0;

    for (size_t i = 0; i + 1 < size; i++) {
        size_t value = 0;
        if (text[i] != ',')
            continue;
        for (size_t d = i + 1; d < size && text[d] >= '0' && text[d] <= '9' && value <= MOST_DATA; d++)
            value = value * 10 + text[d] - '0';
        largest = value > largest && value <= MOST_DATA ? value : largest;
    }
    return largest;
}

/* A header with its true size before it, and as much data as it speaks of. */
static void write_part(int part, const uint8_t *text, size_t size)
{
    static unsigned char noise[4096];
    uint64_t header_bytes = size;
    FILE *file = fopen(file_path(part), "wb");

    FUZZ_REQUIRE(file, "cannot write %s", file_path(part));
    if (part >= 2)
        fwrite(&header_bytes, 1, sizeof header_bytes, file);
    fwrite(text, 1, size, file);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (unsigned char)(i * 73 + i / 256);
    for (size_t left = part >= 2 ? data_size(text, size) : 0; left > 0;) {
        size_t piece = left < sizeof noise ? left : sizeof noise;
        fwrite(noise, 1, piece, file);
        left -= piece;
    }
    FUZZ_REQUIRE(fclose(file) == 0, "cannot write %s", file_path(part));
}

/* The input is config.json, the index and the headers of two files, each ended by a 0; an empty part is no file. */
static void write_checkpoint(const uint8_t *data, size_t size)
{
    for (int part = 0; part < FILES; part++) {
        const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
        size_t length = zero ? (size_t)(zero - data) : size;
        unlink(file_path(part));
        if (length > 0)
            write_part(part, data, length);
        data += length + (zero != NULL);
        size -= length + (zero != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool first = true;

    if (first) {
        first = false;
        folder_path();
        atexit(remove_folder);
    }
    write_checkpoint(data, size);
    fuzz_checkpoint_open(folder_path());
    return 0;
}
