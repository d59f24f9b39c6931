/* cache.c - the size of the last-level caches, as Linux tells it. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gathermm/ceilings.h"

enum {
    MAX_CACHES = 16,  /* of one CPU */
    UNKNOWN_MIB = 32, /* where the system does not say: no less than most desktops have */
};

/* One word of /sys about cache number `index` of a CPU into text; false if there is none. */
static bool read_word(long cpu, int index, const char *about, char text[64])
{
    char path[128];

    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%ld/cache/index%d/%s", cpu, index, about);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    bool found = fscanf(file, "%63s", text) == 1;
    fclose(file);
    return found;
}

/* Bytes of the CPU's last cache, if it is the first of the CPUs that share it; else 0. */
static int64_t last_cache(long cpu)
{
    int64_t bytes = 0;
    int level = 0;

    for (int index = 0; index < MAX_CACHES; index++) {
        char text[64];
        int this_level;
        long first_cpu;
        int64_t kib;
        if (!read_word(cpu, index, "level", text) || sscanf(text, "%d", &this_level) != 1)
            break;
        if (this_level <= level)
            continue;
        level = this_level;
        bytes = 0;
        if (read_word(cpu, index, "shared_cpu_list", text) && sscanf(text, "%ld", &first_cpu) == 1 &&
            first_cpu == cpu && read_word(cpu, index, "size", text) && sscanf(text, "%" SCNd64 "K", &kib) == 1)
            bytes = kib * 1024;
    }
    return bytes;
}

int64_t gmm_cache_bytes(void)
{
    /* Several threads may find it out at once: they all find the same. */
    static _Atomic int64_t known;
    int64_t bytes = atomic_load_explicit(&known, memory_order_relaxed);

    if (bytes)
        return bytes;
    for (long cpu = 0, count = sysconf(_SC_NPROCESSORS_CONF); cpu < count; cpu++)
        bytes += last_cache(cpu);
    if (!bytes)
        bytes = (int64_t)UNKNOWN_MIB << 20;
    atomic_store_explicit(&known, bytes, memory_order_relaxed);
    return bytes;
}
