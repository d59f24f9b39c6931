/* flags.c - see flags.h. */
/* SPDX-License-Identifier: MIT */
#include "flags.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stop.h"

static const char help[] =
    "usage: tinymoe [options]\n"
    "\n"
    "Run a small trained mixture-of-experts language model (7.8 million weights, one token per byte) by the products "
    "of\n"
    "libgathermm: check its text and logits against double precision, replay the BLAS bug that the library was "
    "written\n"
    "after, and show size, quality and speed of every weight format.\n"
    "\n"
    "  --model DIR         config.json, model.safetensors and the references (default: the source tree's "
    "examples/tinymoe)\n"
    "  --formats LIST      rows of the table, separated by commas; of\n"
    "                      f32,bf16,affine8,affine6,affine5,affine4,affine3,affine2,mxfp8,mxfp4,nvfp4 (default: all)\n"
    "  --windows N         read N windows of held-out text for each row (default: all)\n"
    "  --generate N        generate N bytes (default: 200)\n"
    "  --prompt TEXT       only continue TEXT, with the first of --formats, and print it\n"
    "  --threads N         use at most N threads (default: all)\n"
    "  --processes N       replay the bug in N fresh processes (default: 100)\n"
    "  --faulty-blas FILE  the library with the bug (default: libfaulty_blas_m1.so beside this program, if it is "
    "there)\n"
    "  --replay-one SEED   be one of those processes: exit 0 if all is right, 1 if not\n"
    "  --json              print one JSON object instead of text\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 all right, 1 a result is wrong, 2 usage, 3 could not run.\n";

static int64_t number(const char *flag, const char *text, int64_t least, int64_t most)
{
    char *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < least || value > most)
        stop(EXIT_USAGE, "%s takes a number from %" PRId64 " to %" PRId64 ", not \"%s\"", flag, least, most, text);
    return value;
}

static void read_formats(flags *f, const char *list)
{
    f->format_count = 0;
    for (;;) {
        size_t bytes = strcspn(list, ",");
        const weight_format *format = weight_format_find(list, bytes);
        if (!format)
            stop(EXIT_USAGE, "--formats: there is no format \"%.*s\"; see tinymoe --help", (int)bytes, list);
        if (f->format_count == MOST_FORMATS)
            stop(EXIT_USAGE, "--formats: more than %d formats", MOST_FORMATS);
        f->formats[f->format_count++] = format;
        if (!list[bytes])
            return;
        list += bytes + 1;
    }
}

static void read_value(flags *f, const char *flag, const char *value)
{
    if (strcmp(flag, "--model") == 0)
        f->model = value;
    else if (strcmp(flag, "--formats") == 0)
        read_formats(f, value);
    else if (strcmp(flag, "--windows") == 0)
        f->windows = number(flag, value, 1, INT32_MAX);
    else if (strcmp(flag, "--generate") == 0)
        f->generate = number(flag, value, 2, INT32_MAX);
    else if (strcmp(flag, "--prompt") == 0)
        f->prompt = value;
    else if (strcmp(flag, "--threads") == 0)
        f->threads = (int32_t)number(flag, value, 0, 4096);
    else if (strcmp(flag, "--processes") == 0)
        f->processes = number(flag, value, 1, INT32_MAX);
    else if (strcmp(flag, "--faulty-blas") == 0)
        f->faulty_blas = value;
    else
        f->replay_seed = number(flag, value, 1, INT64_MAX);
}

void flags_read(flags *f, int argc, char **argv)
{
    static const char *const with_value[] = {"--model",   "--formats",   "--windows",     "--generate",  "--prompt",
                                             "--threads", "--processes", "--faulty-blas", "--replay-one"};

    *f = (flags){.model = TINYMOE_MODEL, .generate = 200, .processes = 100};
    for (const weight_format *format = weight_formats; format->name; format++)
        f->formats[f->format_count++] = format;
    for (int i = 1; i < argc; i++) {
        const char *flag = NULL;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            exit(EXIT_FINE);
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("tinymoe with libgathermm %s\n", gmm_version());
            exit(EXIT_FINE);
        }
        if (strcmp(argv[i], "--json") == 0) {
            f->json = true;
            continue;
        }
        for (size_t k = 0; k < sizeof with_value / sizeof with_value[0]; k++)
            if (strcmp(argv[i], with_value[k]) == 0)
                flag = with_value[k];
        if (!flag)
            stop(EXIT_USAGE, "unknown option \"%s\"; see tinymoe --help", argv[i]);
        if (++i == argc)
            stop(EXIT_USAGE, "%s needs a value; see tinymoe --help", flag);
        read_value(f, flag, argv[i]);
    }
    if (f->prompt && !*f->prompt)
        stop(EXIT_USAGE, "--prompt needs at least one byte");
}
