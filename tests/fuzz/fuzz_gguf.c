/* fuzz_gguf.c - fuzz target: any bytes as a GGUF file; what opens must load, and every byte of its arrays be there. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "fuzz_file.h"
#include "fuzz_layer.h"

enum {
    UNIT = 64,
    MOST = 2 + 4096 * UNIT
};

/* The first two bytes say how much data follows the rest, which is the file up to the end of its tensors' entries: so
 * that inputs are short. Scales among the data are whatever they are. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char noise[MOST];
    size_t units = size >= 2 ? ((size_t)data[0] | (size_t)data[1] << 8) % 4096 : 0;

    if (noise[1] == 0)
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (unsigned char)(i * 73 + i / 251);
    fuzz_checkpoint_open(
        fuzz_file_write("in.gguf", size >= 2 ? data + 2 : NULL, size >= 2 ? size - 2 : 0, noise, units * UNIT));
    return 0;
}
