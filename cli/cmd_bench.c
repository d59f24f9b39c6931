/* cmd_bench.c - 'gathermm bench': time whole products, and say how near they are to what the machine can do. */
/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "command.h"
#include "output.h"

enum {
    MAX_TOKENS = 1 << 20,
    MAX_THREADS = 1024,
    MAX_SHAPE = 1 << 20
};

enum {
    OPTION_PRESET = 256,
    OPTION_SHAPE,
    OPTION_TOKENS,
    OPTION_FORMATS,
    OPTION_ACTIVATIONS,
    OPTION_ARITHMETIC,
    OPTION_THREADS,
    OPTION_SECONDS,
    OPTION_QUICK,
    OPTION_LAYOUT,
    OPTION_PREPARED,
    OPTION_MOE,
    OPTION_BLAS,
    OPTION_IN_CACHE,
    OPTION_MEMORY,
    OPTION_SEED,
    OPTION_CPU_MASK,
    OPTION_JSON,
    OPTION_CSV,
    OPTION_COMPARE,
    OPTION_PLOT
};

static const struct option options[] = {
    {"preset", required_argument, NULL, OPTION_PRESET},
    {"shape", required_argument, NULL, OPTION_SHAPE},
    {"tokens", required_argument, NULL, OPTION_TOKENS},
    {"formats", required_argument, NULL, OPTION_FORMATS},
    {"activations", required_argument, NULL, OPTION_ACTIVATIONS},
    {"arithmetic", required_argument, NULL, OPTION_ARITHMETIC},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"quick", no_argument, NULL, OPTION_QUICK},
    {"layout", required_argument, NULL, OPTION_LAYOUT},
    {"prepared", no_argument, NULL, OPTION_PREPARED},
    {"moe", no_argument, NULL, OPTION_MOE},
    {"blas", required_argument, NULL, OPTION_BLAS},
    {"in-cache", no_argument, NULL, OPTION_IN_CACHE},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"cpu-mask", required_argument, NULL, OPTION_CPU_MASK},
    {"json", required_argument, NULL, OPTION_JSON},
    {"csv", required_argument, NULL, OPTION_CSV},
    {"compare", required_argument, NULL, OPTION_COMPARE},
    {"plot", required_argument, NULL, OPTION_PLOT},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* ---- options ----------------------------------------------------------------------------------------------------- */

static bool read_shape(bench_request *request)
{
    int32_t *numbers = NULL;
    size_t count = 0;
    char *message = bench_read_numbers(optarg, MAX_SHAPE, &numbers, &count);

    if (!message && count != 4)
        message = must_format("'%s' is not four numbers: K,N,EXPERTS,TOP_K", optarg);
    if (!message && numbers[3] > numbers[2])
        message = must_format("'%s' has %d experts and takes %d of them", optarg, (int)numbers[2], (int)numbers[3]);
    if (!message)
        bench_add_shape(request, (bench_shape){"custom", numbers[0], numbers[1], numbers[2], numbers[3]});
    free(numbers);
    return accept_value(&cmd_bench, "shape", message);
}

/* "4G", "512M": powers of 1024. */
static char *read_size(const char *text, int64_t *bytes)
{
    static const char units[] = "KMGT";
    char *end;

    errno = 0;
    double value = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    for (int power = unit ? (int)(unit - units) + 1 : 0; power > 0; power--)
        value *= 1024;
    end += unit != NULL;
    if (errno || end == text || *end || !(value >= 1 && value < 0x1p62))
        return must_format("'%s' is not a size like 512M or 8G", text);
    *bytes = (int64_t)value;
    return NULL;
}

static char *read_layout(const char *text, bool *plain)
{
    *plain = !strcmp(text, "plain");
    return *plain || !strcmp(text, "transposed") ? NULL : must_format("'%s' is not one of: transposed, plain", text);
}

/* Take one option; false after a usage error. */
static bool read_option(bench_request *r, bench_outputs *out, bool *quick, int option)
{
    switch (option) {
    case OPTION_PRESET:
        return accept_value(&cmd_bench, "preset", bench_read_shapes(r, optarg));
    case OPTION_SHAPE:
        return read_shape(r);
    case OPTION_TOKENS:
        return accept_value(&cmd_bench, "tokens", bench_read_set(optarg, MAX_TOKENS, &r->tokens, &r->token_count));
    case OPTION_FORMATS:
        return accept_value(&cmd_bench, "formats", bench_read_formats(r, optarg));
    case OPTION_ACTIVATIONS:
        return accept_value(&cmd_bench, "activations", bench_read_activations(r, optarg));
    case OPTION_ARITHMETIC:
        return accept_value(&cmd_bench, "arithmetic", bench_read_modes(r, optarg));
    case OPTION_THREADS:
        return accept_value(&cmd_bench, "threads", bench_read_set(optarg, MAX_THREADS, &r->threads, &r->thread_count));
    case OPTION_SECONDS:
        return accept_value(&cmd_bench, "seconds", bench_read_seconds(optarg, &r->seconds));
    case OPTION_QUICK:
        *quick = true;
        return true;
    case OPTION_LAYOUT:
        return accept_value(&cmd_bench, "layout", read_layout(optarg, &r->plain));
    case OPTION_PREPARED:
        r->prepared = true;
        return true;
    case OPTION_MOE:
        r->layers = true;
        return true;
    case OPTION_BLAS:
        r->blas = optarg;
        return true;
    case OPTION_IN_CACHE:
        r->in_cache = true;
        return true;
    case OPTION_MEMORY:
        return accept_value(&cmd_bench, "memory", read_size(optarg, &r->memory_bytes));
    case OPTION_SEED:
        return accept_value(&cmd_bench, "seed", bench_read_seed(optarg, &r->seed));
    case OPTION_CPU_MASK:
        r->cpu_mask = optarg;
        return true;
    case OPTION_JSON:
        out->json_path = optarg;
        return true;
    case OPTION_CSV:
        out->csv_path = optarg;
        return true;
    case OPTION_COMPARE:
        out->compare_path = optarg;
        return true;
    case OPTION_PLOT:
        out->plot_path = optarg;
        return true;
    default: /* next_option has complained */
        return false;
    }
}

/* Whatever was not asked for. */
static void set_defaults(bench_request *r, bool quick)
{
    char *none = NULL;

    if (!r->shape_count)
        none = bench_read_shapes(r, "qwen3-30b-a3b");
    if (!r->format_count)
        none = bench_read_formats(r, quick ? "f32,bf16,affine4,mxfp4" : "all");
    if (!r->activation_count)
        none = bench_read_activations(r, quick ? "bf16" : "f32,bf16");
    if (!r->mode_count)
        none = bench_read_modes(r, "f32");
    if (!r->token_count)
        none = bench_read_set(quick ? "1,32" : "1,4,32,512", MAX_TOKENS, &r->tokens, &r->token_count);
    free(none);
    if (!r->thread_count) {
        int32_t most = gmm_context_threads(NULL);
        r->threads = must_grow(NULL, 2, sizeof *r->threads);
        r->threads[r->thread_count++] = 1;
        if (most > 1)
            r->threads[r->thread_count++] = most;
    }
    if (!(r->seconds > 0))
        r->seconds = quick ? 0.1 : 0.5;
    if (!r->memory_bytes)
        r->memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) / 2 * sysconf(_SC_PAGESIZE);
}

/* Two outputs cannot share a place, nor standard output with the table. */
static int check_outputs(bench_outputs *out)
{
    const char *const paths[] = {out->json_path, out->csv_path, out->plot_path};

    out->text = stdout;
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < i; j++)
            if (paths[i] && paths[j] && !strcmp(paths[i], paths[j]))
                return usage_error(&cmd_bench, "two outputs go to '%s'", paths[i]);
        if (paths[i] && !strcmp(paths[i], "-"))
            out->text = NULL;
    }
    return EXIT_FINE;
}

static int run(int argc, char **argv)
{
    bench_request request = {.seed = 1};
    bench_outputs out = {0};
    bool quick = false;
    int option, status = EXIT_FINE;

    while ((option = next_option(&cmd_bench, argc, argv, options)) != -1) {
        if (option == 'h') {
            print_help(&cmd_bench);
            goto done;
        }
        if (!read_option(&request, &out, &quick, option)) {
            status = EXIT_USAGE;
            goto done;
        }
    }
    if (optind < argc) {
        status = usage_error(&cmd_bench, "no argument is expected after the options, and there is '%s'", argv[optind]);
        goto done;
    }
    if (request.layers && request.plain) {
        status = usage_error(&cmd_bench, "--moe is for weights as checkpoints have them, not --layout plain");
        goto done;
    }
    if (request.layers && request.blas) {
        status = usage_error(&cmd_bench, "--blas is for products, not --moe");
        goto done;
    }
    set_defaults(&request, quick);
    status = check_outputs(&out);
    if (!status)
        status = bench_run(&request, &out);
done:
    free(request.shapes);
    free(request.formats);
    free(request.activations);
    free(request.modes);
    free(request.tokens);
    free(request.threads);
    return status;
}

/* The presets and formats, from their lists. */
static void more_help(void)
{
    bench_shape shape;
    bench_format format;
    table t = {.alignment = "lrrrr"};
    static const char *const titles[] = {"preset", "K", "N", "experts", "top k"};

    for (size_t i = 0; i < 5; i++)
        table_add(&t, "%s", titles[i]);
    for (size_t i = 0; bench_preset_at(i, &shape); i++) {
        table_add(&t, "%s", shape.name);
        table_add(&t, "%" PRId64, shape.k);
        table_add(&t, "%" PRId64, shape.n);
        table_add(&t, "%d", (int)shape.experts);
        table_add(&t, "%d", (int)shape.top_k);
    }
    printf("\n");
    table_print(&t, 2);
    printf("\n  formats:");
    for (size_t i = 0; bench_format_at(i, &format); i++)
        printf(" %s", format.name);
    printf("\n  affine with another group size: affine4/128\n");
}

const command cmd_bench = {
    .name = "bench",
    .arguments = "[OPTION]...",
    .summary = "time products, against what this machine can do",
    .help = "Time gathered products of well-known models, with weights that come from memory\n"
            "and experts drawn as a router would, and show for each the time, the rates, and\n"
            "the share of the ceiling that binds (read bandwidth or arithmetic), measured in\n"
            "the same run. Exits 1 if --compare finds a row slower beyond the noise.\n\n"
            "options:\n"
            "  --preset LIST       shapes, see below, or all (default qwen3-30b-a3b)\n"
            "  --shape K,N,E,TOP   a shape of your own: E experts of N x K, TOP for a token\n"
            "  --tokens LIST       tokens in a call (default 1,4,32,512)\n"
            "  --formats LIST      weight formats, see below (default all)\n"
            "  --activations LIST  f32, bf16, f16 or all (default f32,bf16)\n"
            "  --arithmetic LIST   f32, int8 or all (default f32); rows of int8 also say how far\n"
            "                      results are from those of f32\n"
            "  --threads LIST      numbers of threads (default 1 and all)\n"
            "  --seconds S         time for each row (default 0.5)\n"
            "  --quick             fewer rows by default, 0.1 seconds each\n"
            "  --layout LAYOUT     weights transposed (default), (N, K) as in checkpoints, or\n"
            "                      plain, (K, N)\n"
            "  --prepared          weights prepared, in the order in which kernels read them\n"
            "  --moe               whole expert layers of K x N experts, and how much longer three\n"
            "                      products and the rest take without gmm_moe\n"
            "  --blas LIB          dense f32 rows once more through this BLAS: times as long\n"
            "  --in-cache          the same experts again and again, from cache if they fit\n"
            "  --memory SIZE       weights take at most this: 512M, 8G (default: half of all)\n"
            "  --seed N            for the choice of experts (default 1)\n"
            "  --cpu-mask WORDS    leave these CPU features unused, separated by commas\n"
            "  --json FILE         write rows as a JSON array; - is standard output\n"
            "  --csv FILE          write rows as CSV; - is standard output\n"
            "  --compare FILE      compare with the JSON of an earlier run\n"
            "  --plot FILE         write a roofline as SVG; - is standard output\n"
            "  -h, --help          show this text\n",
    .more_help = more_help,
    .run = run,
};
