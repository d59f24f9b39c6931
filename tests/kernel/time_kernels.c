/* time_kernels.c - which shapes of which kernels are timed, in rounds that interleave them. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* _SC_LEVEL2_CACHE_SIZE, _SC_PHYS_PAGES */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gathermm/ceilings.h"
#include "kernel_check.h"
#include "kernel_time.h"

typedef struct {
    time_item *items;
    int64_t count, capacity;
} item_list;

/* The number of an item that does just this; a new one if there is none. */
static int64_t add_item(item_list *list, const time_item *wanted)
{
    for (int64_t i = 0; i < list->count; i++) {
        const time_item *item = &list->items[i];
        if (item->kernel == wanted->kernel && item->what == wanted->what && item->rows == wanted->rows &&
            item->k == wanted->k && item->from_memory == wanted->from_memory &&
            item->weights.format == wanted->weights.format && item->weights.bits == wanted->weights.bits)
            return i;
    }
    if (list->count == list->capacity) {
        list->capacity = 2 * list->capacity + 64;
        time_item *items = realloc(list->items, (size_t)list->capacity * sizeof *items);
        if (!items) {
            fprintf(stderr, "kernel_check: no memory\n");
            exit(1);
        }
        list->items = items;
    }
    list->items[list->count] = *wanted;
    return list->count++;
}

/* An item of a kernel, and what portable C needs for the same. */
static void add(item_list *list, time_item item)
{
    time_item portable = item;

    portable.kernel = NULL;
    portable.portable = add_item(list, &portable);
    list->items[portable.portable].portable = portable.portable;
    item.portable = portable.portable;
    add_item(list, &item);
}

/* One variation for each number of bits: the default groups, bf16 scales. */
static bool typical(const gmm_weights *weights)
{
    if (!weights->format->quantized)
        return weights->cast == GMM_F32;
    return weights->group_size == weights->format->group_sizes[0] && weights->global == 1.0f &&
           (!weights->format->has_biases || (weights->scales_dtype == GMM_BF16 && weights->biases_dtype == GMM_BF16));
}

static void add_kernel(item_list *list, const gmm_kernel *kernel)
{
    static const int64_t dot_rows[] = {1, 2, 4, 8}, outer_rows[] = {14, 32, 64, 128}, outer_k[] = {2048, 768};
    gmm_weights weights;

    if (kernel->activate) {
        add(list, (time_item){.kernel = kernel, .what = TIME_SILU, .rows = 1, .k = TIME_K});
        return;
    }
    for (int i = 0; !kernel->outer && check_weights_at(kernel, i, &weights); i++) {
        if (!typical(&weights))
            continue;
        for (int r = 0; kernel->dot && r < 4; r++)
            for (int memory = 1; memory >= 0; memory--)
                add(list, (time_item){.kernel = kernel,
                                      .what = TIME_DOT,
                                      .weights = weights,
                                      .rows = dot_rows[r],
                                      .k = TIME_K,
                                      .from_memory = memory});
        for (int r = 0; kernel->class_decode && r < 4; r++)
            add(list,
                (time_item){
                    .kernel = kernel, .what = TIME_PANEL, .weights = weights, .rows = outer_rows[r], .k = TIME_K});
        for (int r = 0; (kernel->int8 || kernel->tile) && r < 5; r++)
            add(list, (time_item){.kernel = kernel,
                                  .what = kernel->int8 ? TIME_INT8 : TIME_TILE,
                                  .weights = weights,
                                  .rows = r > 1 ? outer_rows[r - 1] : 1,
                                  .k = TIME_K,
                                  .from_memory = r == 0});
        if (kernel->decode)
            add(list, (time_item){.kernel = kernel, .what = TIME_DECODE, .weights = weights, .k = TIME_K});
    }
    for (int i = 0; kernel->outer && i < 8; i++)
        add(list, (time_item){.kernel = kernel, .what = TIME_OUTER, .rows = outer_rows[i % 4], .k = outer_k[i / 4]});
    if (kernel->pack)
        add(list, (time_item){.kernel = kernel, .what = TIME_PACK, .rows = GMM_MAX_MR, .k = TIME_K});
}

/* 0 where the CPU has no such instruction. */
static bool measure_ceiling(const char *name, double *best)
{
    gmm_ceiling_result result;
    gmm_ceiling_info info;
    bool usable = false;

    for (size_t i = 0; gmm_ceiling_at(NULL, i, &info); i++)
        usable |= !strcmp(info.name, name) && info.usable;
    *best = 0;
    if (!usable)
        return true;
    if (gmm_ceiling_measure(NULL, name, 1, 0.2, &result)) {
        fprintf(stderr, "kernel_check: %s\n", gmm_error_detail());
        return false;
    }
    *best = result.best * 1e9;
    return true;
}

/* Three times what the caches hold, or a quarter of the memory if that is less; half of a second-level cache. */
static void choose_sizes(const item_list *list, time_ceilings *ceilings)
{
    ceilings->cache_bytes = 256 << 10;
#ifdef _SC_LEVEL2_CACHE_SIZE
    if (sysconf(_SC_LEVEL2_CACHE_SIZE) > 0)
        ceilings->cache_bytes = sysconf(_SC_LEVEL2_CACHE_SIZE) / 2;
#endif
    for (int64_t i = 0; i < list->count; i++)
        if (list->items[i].from_memory)
            ceilings->memory_bytes = 3 * gmm_cache_bytes();
#ifdef _SC_PHYS_PAGES
    int64_t quarter = (int64_t)sysconf(_SC_PHYS_PAGES) / 4 * sysconf(_SC_PAGESIZE);
    if (quarter > 0 && quarter < ceilings->memory_bytes)
        ceilings->memory_bytes = quarter;
#endif
}

/* Round after round all items, so that whatever else the machine does meets them all alike. */
static void run_rounds(item_list *list, time_memory *memory, time_ceilings *ceilings)
{
    double clocks[TIME_REPETITIONS];

    for (int64_t i = 0; i < list->count; i++)
        time_prepare(&list->items[i], memory);
    for (int round = 0; round < TIME_REPETITIONS; round++) {
        clocks[round] = time_clock_hz();
        for (int64_t i = 0; i < list->count; i++) {
            list->items[i].seconds[round] = time_sample(&list->items[i], memory);
            list->items[i].clock_hz[round] = clocks[round];
        }
    }
    ceilings->clock_hz = time_summarize(clocks).median;
}

int time_kernels(const gmm_kernel *const *kernels, int64_t count, FILE *json)
{
    item_list list = {0};
    time_ceilings ceilings = {0};

    for (int64_t i = 0; i < count; i++)
        add_kernel(&list, kernels[i]);
    choose_sizes(&list, &ceilings);
    if (!measure_ceiling("fma_f32", &ceilings.fma_flops) || !measure_ceiling("dot_bf16", &ceilings.bf16_flops) ||
        !measure_ceiling("dot_int8", &ceilings.int8_ops) ||
        (ceilings.memory_bytes && !measure_ceiling("read", &ceilings.read_bytes)))
        return 1;
    time_memory *memory = time_memory_make(ceilings.memory_bytes, ceilings.cache_bytes);
    if (!memory) {
        fprintf(stderr, "kernel_check: no memory for %lld bytes of weights\n", (long long)ceilings.memory_bytes);
        return 1;
    }
    run_rounds(&list, memory, &ceilings);
    time_memory_free(memory);
    time_print(list.items, list.count, &ceilings);
    bool written = !json || time_write_json(list.items, list.count, &ceilings, json);
    if (!written)
        perror("kernel_check: cannot write");
    free(list.items);
    return written ? 0 : 1;
}
