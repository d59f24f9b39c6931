/* cmd_convert.c - 'gathermm convert': a checkpoint folder in the other layout, quantized on the way if wanted. */
/* SPDX-License-Identifier: MIT */
#define _XOPEN_SOURCE 700 /* realpath */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "command.h"
#include "convert_model.h"
#include "json_file.h"
#include "output.h"
#include "quantize_options.h"
#include "work_dir.h"

/* mlx-lm's. */
#define DEFAULT_SHARD_BYTES ((uint64_t)5 << 30)

enum {
    OPTION_TO = OPTION_OWN,
    OPTION_SHARD_SIZE,
    OPTION_FORCE
};

static const struct option options[] = {
    {"to", required_argument, NULL, OPTION_TO},
    QUANTIZE_OPTIONS("quantize"),
    {"shard-size", required_argument, NULL, OPTION_SHARD_SIZE},
    {"force", no_argument, NULL, OPTION_FORCE},
    {NULL, 0, NULL, 0},
};

/* ---- options ----------------------------------------------------------------------------------------------------- */

/* "500M", "5G": powers of 1024, at least 1 KiB. */
static bool read_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    char *end;

    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end) : NULL;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if (errno || text[0] < '0' || text[0] > '9' || (*end && (!unit || end[1])) || number > UINT64_MAX >> 1 >> shift ||
        number << shift < 1024)
        return false;
    *bytes = (uint64_t)number << shift;
    return true;
}

static bool read_option(convert_request *request, int option)
{
    switch (option) {
    case OPTION_TO:
        request->layout = optarg;
        if (!strcmp(optarg, "hf") || !strcmp(optarg, "mlx"))
            return true;
        usage_error(&cmd_convert, "--to '%s' is not one of: hf, mlx", optarg);
        return false;
    case OPTION_SHARD_SIZE:
        if (read_size(optarg, &request->shard_bytes))
            return true;
        usage_error(&cmd_convert, "--shard-size '%s' is not a size of at least 1K, like 500M or 5G", optarg);
        return false;
    case OPTION_FORCE:
        request->force = true;
        return true;
    default:
        return quantize_read_option(&cmd_convert, &request->quantize, option);
    }
}

/* Options that mean something together. */
static int check_options(convert_request *request)
{
    quantize_request *q = &request->quantize;

    if (!request->layout)
        return usage_error(&cmd_convert, "--to is needed: hf, mlx");
    if (q->options.mode && !strcmp(request->layout, "hf"))
        return usage_error(&cmd_convert, "--quantize has no meaning with --to hf");
    if (q->options.mode)
        return quantize_check_options(&cmd_convert, "quantize", q);
    const char *alone = q->options.bits            ? "bits"
                        : q->options.group_size    ? "group-size"
                        : q->includes.count        ? "include"
                        : q->excludes.count        ? "exclude"
                        : q->options.exponent_rule ? "exponent-rule"
                        : q->options.tie_rule      ? "tie-rule"
                                                   : NULL;
    return alone ? usage_error(&cmd_convert, "--%s has no meaning without --quantize", alone) : EXIT_FINE;
}

/* ---- OUT --------------------------------------------------------------------------------------------------------- */

/* Is `inner` the folder `outer`, or in it? Both are absolute and without links. */
static bool is_within(const char *inner, const char *outer)
{
    size_t length = strlen(outer);

    if (strcmp(outer, "/") == 0)
        return true;
    return !strncmp(inner, outer, length) && (inner[length] == '/' || inner[length] == '\0');
}

/* The absolute path that OUT has, or will have; NULL after a complaint. */
static char *absolute(const char *out)
{
    char *found = realpath(out, NULL), *directory, *name;

    if (found)
        return found;
    split_path(out, &directory, &name);
    char *folder = realpath(directory, NULL);
    if (folder)
        found = join_path(folder, name);
    else
        complain("%s: %s", directory, strerror(errno));
    free(folder);
    free(directory);
    free(name);
    return found;
}

/* IN and OUT must not share a file, even with --force. */
static int check_apart(const char *in, const char *out)
{
    char *from = realpath(in, NULL), *to = NULL;
    int status = EXIT_COULD_NOT_RUN;

    if (!from)
        complain("%s: %s", in, strerror(errno));
    else if ((to = absolute(out))) {
        if (!strcmp(from, to))
            complain("%s and %s are the same folder", in, out);
        else if (is_within(to, from))
            complain("%s is in %s: the output may not be in the input", out, in);
        else if (is_within(from, to))
            complain("%s is in %s: the input may not be in the output", in, out);
        else
            status = EXIT_FINE;
    }
    free(from);
    free(to);
    return status;
}

/* With --force only a folder of a model gives way: one with config.json and nothing but files. */
static int check_replaced(const char *out)
{
    size_t folders = 0, files = 0;
    struct stat info;
    char *config = join_path(out, CONFIG_NAME);
    bool is_model = stat(config, &info) == 0;
    bool is_folder = lstat(out, &info) == 0 && S_ISDIR(info.st_mode) && work_count(out, &files, &folders);

    free(config);
    if (!is_folder) {
        complain("%s is there and is no folder; --force replaces a folder of a model only", out);
        return EXIT_COULD_NOT_RUN;
    }
    if (folders || (files && !is_model)) {
        complain("%s has %zu file%s and %zu folder%s%s; --force replaces a folder of a model only", out, files,
                 files == 1 ? "" : "s", folders, folders == 1 ? "" : "s", is_model ? "" : ", and no " CONFIG_NAME);
        return EXIT_COULD_NOT_RUN;
    }
    return EXIT_FINE;
}

static int check_out(convert_request *request)
{
    const char *in = request->quantize.in, *out = request->quantize.out;
    struct stat info;
    int status = check_apart(in, out);

    if (status)
        return status;
    if (!request->quantize.dry_run)
        work_left_over(out, request->force);
    if (lstat(out, &info))
        return EXIT_FINE;
    if (!request->force) {
        complain("%s is there already; --force replaces it", out);
        return EXIT_COULD_NOT_RUN;
    }
    request->quantize.replaces = true;
    return check_replaced(out);
}

/* Known before hours of work. A system that does not tell is believed to have room. */
static int check_room(const convert_job *job)
{
    char *directory, *name, needed[24], free_text[24];
    struct statvfs system;
    uint64_t bytes = job->plan.bytes_after;
    int status = EXIT_FINE;

    split_path(job->request->quantize.out, &directory, &name);
    if (statvfs(directory, &system) == 0 && system.f_blocks > 0) {
        uint64_t room = (uint64_t)system.f_bavail * (uint64_t)system.f_frsize;
        if (room < bytes) {
            complain("%s: %s are needed there and %s are free (%" PRIu64 " and %" PRIu64 " bytes)", directory,
                     bytes_text(bytes, needed), bytes_text(room, free_text), bytes, room);
            status = EXIT_COULD_NOT_RUN;
        }
    }
    free(directory);
    free(name);
    return status;
}

/* ---- the summary ------------------------------------------------------------------------------------------------- */

typedef struct counts {
    size_t kinds[3]; /* by gmm_conversion_kind */
    size_t left_out;
    size_t source_tensors;
    uint64_t source_bytes;
} counts;

static counts count(const convert_job *job)
{
    counts c = {.source_tensors = job->files.count};
    gmm_converted t;

    for (size_t i = 0; gmm_conversion_at(job->conversion, i, &t); i++)
        c.kinds[t.kind]++;
    while (gmm_conversion_left_out_at(job->conversion, c.left_out))
        c.left_out++;
    for (size_t i = 0; i < job->files.count; i++)
        c.source_bytes += job->files.entries[i].tensor.size_bytes;
    return c;
}

static void print_summary(const convert_job *job)
{
    const counts c = count(job);
    const quantize_request *q = &job->request->quantize;
    char before[24], after[24], *out = escape_text(q->out);

    for (size_t i = 0; i < c.left_out; i++) {
        char *name = escape_text(gmm_conversion_left_out_at(job->conversion, i));
        printf("left out, as mlx-lm does: %s\n", name);
        free(name);
    }
    print_names(q->dry_run ? "files to copy: " : "files copied: ", job->outcome.copied, job->outcome.copied_count);
    print_names("not copied: ", job->outcome.left_out, job->outcome.left_out_count);
    printf("%s%s: %s, %s to %s", q->dry_run ? "dry run, nothing written to " : "", out, job->first.family,
           job->first.layout, job->request->layout);
    if (q->options.mode)
        printf(", %s, %d bits, groups of %d", q->options.mode, (int)q->options.bits, (int)q->options.group_size);
    printf("\n%zu tensors carried over, %zu rearranged, %zu decoded", c.kinds[GMM_CONVERSION_CARRIED],
           c.kinds[GMM_CONVERSION_REARRANGED], c.kinds[GMM_CONVERSION_DECODED]);
    if (q->options.mode)
        printf("; %zu of them quantized", job->plan.quantized);
    printf("\n%s in %zu tensors before, %s in %zu file%s after", bytes_text(c.source_bytes, before), c.source_tensors,
           bytes_text(job->plan.bytes_after, after), job->made.shard_count, job->made.shard_count == 1 ? "" : "s");
    if (!q->dry_run)
        printf("; verified; %.1f seconds", job->outcome.seconds);
    printf("\n");
    free(out);
}

static void print_summary_json(const convert_job *job)
{
    const counts c = count(job);
    const quantize_request *q = &job->request->quantize;
    json_t *root = json_object(), *left_out = json_array();

    for (size_t i = 0; i < c.left_out; i++)
        json_array_append_new(left_out, json_text(gmm_conversion_left_out_at(job->conversion, i)));
    json_object_set_new(root, "in", json_text(q->in));
    json_object_set_new(root, "out", json_text(q->out));
    json_object_set_new(root, "dry_run", json_boolean(q->dry_run));
    json_object_set_new(root, "family", json_text(job->first.family));
    json_object_set_new(root, "from", json_text(job->first.layout));
    json_object_set_new(root, "to", json_text(job->request->layout));
    json_object_set_new(root, "mode", q->options.mode ? json_text(q->options.mode) : json_null());
    json_object_set_new(root, "bits", q->options.mode ? json_integer(q->options.bits) : json_null());
    json_object_set_new(root, "group_size", q->options.mode ? json_integer(q->options.group_size) : json_null());
    json_object_set_new(root, "tensors_before", json_integer((json_int_t)c.source_tensors));
    json_object_set_new(root, "carried", json_integer((json_int_t)c.kinds[GMM_CONVERSION_CARRIED]));
    json_object_set_new(root, "rearranged", json_integer((json_int_t)c.kinds[GMM_CONVERSION_REARRANGED]));
    json_object_set_new(root, "decoded", json_integer((json_int_t)c.kinds[GMM_CONVERSION_DECODED]));
    json_object_set_new(root, "quantized", json_integer((json_int_t)job->plan.quantized));
    json_object_set_new(root, "left_out", left_out);
    json_object_set_new(root, "files", json_integer((json_int_t)job->made.shard_count));
    json_object_set_new(root, "files_copied", names_json(job->outcome.copied, job->outcome.copied_count));
    json_object_set_new(root, "files_not_copied", names_json(job->outcome.left_out, job->outcome.left_out_count));
    json_object_set_new(root, "bytes_before", json_integer((json_int_t)c.source_bytes));
    json_object_set_new(root, "bytes_after", json_integer((json_int_t)job->plan.bytes_after));
    json_object_set_new(root, "overflows", json_integer((json_int_t)job->outcome.overflows));
    json_object_set_new(root, "verified", json_boolean(!q->dry_run));
    json_object_set_new(root, "seconds", q->dry_run ? json_null() : json_real(job->outcome.seconds));
    print_json(root);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static int convert(convert_request *request)
{
    convert_job job;
    int status = check_out(request);

    if (status)
        return status;
    status = convert_open(request, &job);
    if (!status && !request->quantize.dry_run)
        status = check_room(&job);
    if (!status && !request->quantize.dry_run)
        status = convert_write(&job);
    if (!status && job.outcome.overflows)
        complain("warning: %zu numbers are too large for --dtype and became infinite", job.outcome.overflows);
    if (!status && request->quantize.json)
        print_summary_json(&job);
    else if (!status && !request->quantize.quiet)
        print_summary(&job);
    convert_close(&job);
    return status;
}

static int run(int argc, char **argv)
{
    convert_request request = {.quantize.options.size = sizeof request.quantize.options,
                               .shard_bytes = DEFAULT_SHARD_BYTES};
    int option, status = EXIT_FINE;

    while (!status && (option = next_option(&cmd_convert, argc, argv, options)) != -1) {
        if (option == 'h') {
            print_help(&cmd_convert);
            quantize_request_free(&request.quantize);
            return EXIT_FINE;
        }
        status = read_option(&request, option) ? EXIT_FINE : EXIT_USAGE;
    }
    if (!status && argc - optind != 2)
        status = usage_error(&cmd_convert, "IN and OUT are expected, and there %s %d argument%s",
                             argc - optind == 1 ? "is" : "are", argc - optind, argc - optind == 1 ? "" : "s");
    if (!status)
        status = check_options(&request);
    if (!status) {
        char *out = trim_slashes(argv[optind + 1]);
        request.quantize.in = argv[optind];
        request.quantize.out = out;
        status = convert(&request);
        free(out);
    }
    quantize_request_free(&request.quantize);
    return status;
}

const command cmd_convert = {
    .name = "convert",
    .arguments = "IN OUT --to LAYOUT [OPTION]...",
    .summary = "convert a checkpoint between the published layout and MLX's",
    .help = "Write the checkpoint folder IN in the other layout to the folder OUT: mlx, with\n"
            "stacked experts as mlx-lm has them, or hf, as published. fp8 weights become\n"
            "bf16 in mlx; quantized ones become dense in hf, but mxfp4 experts of gpt-oss.\n"
            "All other tensors and files are carried over. What was written is opened and\n"
            "compared with IN before OUT appears; memory does not grow with the model.\n\n"
            "options:\n"
            "  --to LAYOUT           hf or mlx\n"
            "  --quantize MODE       for mlx: quantize too, as 'gathermm quantize' does, to a\n"
            "                        weight format below, with these options of it\n"
            "  --bits B              bits of a code\n"
            "  --group-size G        weights that share a scale\n"
            "  --exclude GLOB        keep tensors whose name in OUT, or module (the name\n"
            "                        without .weight), matches; may be repeated\n"
            "  --include GLOB        quantize only what matches; may be repeated\n"
            "  --exponent-rule RULE  mxfp4, mxfp8: nearest or up (default, nothing saturates)\n"
            "  --tie-rule RULE       mxfp4, mxfp8, nvfp4: smaller (default, as MLX on CPUs)\n"
            "                        or even (as MLX on GPUs)\n"
            "  --dtype TYPE          cast floating tensors to f32, f16 or bf16\n"
            "  --shard-size SIZE     at most so many bytes of tensors in a file, but for a\n"
            "                        larger one alone: 500M, 5G (default)\n"
            "  --force               replace OUT if it is the folder of a model\n"
            "  --threads N           use at most N threads\n"
            "  --json                print the summary as JSON\n"
            "  --quiet               print no summary and no progress bar\n"
            "  --dry-run             say what would be done, write nothing\n"
            "  -h, --help            show this text\n",
    .more_help = quantize_print_modes,
    .run = run,
};
