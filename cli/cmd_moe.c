/* cmd_moe.c - 'gathermm moe': run the expert layers of a checkpoint, and say how fast and how exact they are. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "layer.h"
#include "output.h"

enum {
    MAX_TOKENS = 1 << 20,
    MAX_THREADS = 1024,
    MAX_CHECK = 1 << 20
};

enum {
    OPTION_LAYERS = 256,
    OPTION_INPUT,
    OPTION_TOKENS,
    OPTION_FORMATS,
    OPTION_CHECK,
    OPTION_THREADS,
    OPTION_SECONDS,
    OPTION_SEED,
    OPTION_CPU_MASK,
    OPTION_OUTPUT,
    OPTION_JSON,
    OPTION_PLOT
};

static const struct option options[] = {
    {"layers", required_argument, NULL, OPTION_LAYERS},
    {"input", required_argument, NULL, OPTION_INPUT},
    {"tokens", required_argument, NULL, OPTION_TOKENS},
    {"formats", required_argument, NULL, OPTION_FORMATS},
    {"check", required_argument, NULL, OPTION_CHECK},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"cpu-mask", required_argument, NULL, OPTION_CPU_MASK},
    {"output", required_argument, NULL, OPTION_OUTPUT},
    {"json", required_argument, NULL, OPTION_JSON},
    {"plot", required_argument, NULL, OPTION_PLOT},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static char *read_whole(const char *text, int32_t lowest, int32_t highest, int32_t *number)
{
    if (parse_number(text, lowest, highest, number))
        return NULL;
    return must_format("'%s' is not a whole number from %d to %d", text, (int)lowest, (int)highest);
}

/* Take one option; false after a usage error. */
static bool read_option(layer_request *r, int option)
{
    switch (option) {
    case OPTION_LAYERS:
        r->layers = optarg;
        return true;
    case OPTION_INPUT:
        r->input_path = optarg;
        return true;
    case OPTION_TOKENS:
        return accept_value(&cmd_moe, "tokens",
                            bench_read_set(optarg, MAX_TOKENS, &r->lists.tokens, &r->lists.token_count));
    case OPTION_FORMATS:
        return accept_value(&cmd_moe, "formats", bench_read_formats(&r->lists, optarg));
    case OPTION_CHECK:
        return accept_value(&cmd_moe, "check", read_whole(optarg, 0, MAX_CHECK, &r->check));
    case OPTION_THREADS:
        return accept_value(&cmd_moe, "threads", read_whole(optarg, 1, MAX_THREADS, &r->threads));
    case OPTION_SECONDS:
        return accept_value(&cmd_moe, "seconds", bench_read_seconds(optarg, &r->seconds));
    case OPTION_SEED:
        return accept_value(&cmd_moe, "seed", bench_read_seed(optarg, &r->seed));
    case OPTION_CPU_MASK:
        r->cpu_mask = optarg;
        return true;
    case OPTION_OUTPUT:
        r->output_path = optarg;
        return true;
    case OPTION_JSON:
        r->json_path = optarg;
        return true;
    case OPTION_PLOT:
        r->plot_path = optarg;
        return true;
    default: /* next_option has complained */
        return false;
    }
}

/* Two outputs cannot share a place, nor the layer's output be a stream. */
static int check_outputs(const layer_request *r)
{
    const char *const paths[] = {r->output_path, r->json_path, r->plot_path};

    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < i; j++)
            if (paths[i] && paths[j] && !strcmp(paths[i], paths[j]))
                return usage_error(&cmd_moe, "two outputs go to '%s'", paths[i]);
    if (r->output_path && (!*r->output_path || !strcmp(r->output_path, "-")))
        return usage_error(&cmd_moe, "--output: '%s' is not a file", r->output_path);
    return EXIT_FINE;
}

static int run(int argc, char **argv)
{
    layer_request request = {.seconds = 0.5, .seed = 1, .check = 8};
    int option, status = EXIT_FINE;

    optind = 1;
    while ((option = next_option(&cmd_moe, argc, argv, options)) != -1) {
        if (option == 'h') {
            print_help(&cmd_moe);
            goto done;
        }
        if (!read_option(&request, option)) {
            status = EXIT_USAGE;
            goto done;
        }
    }
    if (optind + 1 != argc) {
        status = usage_error(&cmd_moe, "one checkpoint is expected, and there are %d arguments", argc - optind);
        goto done;
    }
    request.path = argv[optind];
    status = check_outputs(&request);
    if (!status)
        status = layer_run(&request);
done:
    free(request.lists.formats);
    free(request.lists.tokens);
    return status;
}

/* The formats, from their list. */
static void more_help(void)
{
    bench_format format;

    printf("\n  formats:");
    for (size_t i = 0; bench_format_at(i, &format); i++)
        printf(" %s", format.name);
    printf("\n  affine with another group size: affine4/128\n");
}

const command cmd_moe = {
    .name = "moe",
    .arguments = "CHECKPOINT [OPTION]...",
    .summary = "run a checkpoint's expert layers: speed, balance, error",
    .help = "Run the mixture-of-experts layers of a model whole, routing included, and show\n"
            "for each its format and size, how evenly tokens are spread over experts, the\n"
            "time, the share of the ceiling that binds (read bandwidth or arithmetic), and\n"
            "the error against double precision. With --formats, the experts are also\n"
            "quantized anew in memory, to choose a format by. CHECKPOINT is a folder with\n"
            "config.json and safetensors files, one of these, or a GGUF file, of several the\n"
            "first. Layers are loaded one by one, so it may be larger than memory. Exits 1 if\n"
            "an error is above its bound.\n\n"
            "options:\n"
            "  --layers LIST     these layers of the model: 0,3-5 (default: all with experts)\n"
            "  --formats LIST    other weight formats for the experts, see below, or all\n"
            "  --tokens LIST     tokens in a run (default 1,32,512)\n"
            "  --input FILE      hidden states (tokens, hidden), npy of f32, f16 or bf16\n"
            "                    (default: drawn, of unit size times the norm before it)\n"
            "  --seed N          for drawing them (default 1)\n"
            "  --check N         hold N tokens against double precision (default 8; 0: none)\n"
            "  --threads N       use N threads (default: all)\n"
            "  --seconds S       time for each row (default 0.5)\n"
            "  --cpu-mask WORDS  leave these CPU features unused, separated by commas\n"
            "  --output FILE     write the output as npy, f32; of one layer, as stored\n"
            "  --json FILE       write rows as a JSON array; - is standard output\n"
            "  --plot FILE       write error against speed as SVG; - is standard output\n"
            "  -h, --help        show this text\n",
    .more_help = more_help,
    .run = run,
};
