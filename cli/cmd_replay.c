/* cmd_replay.c - 'gathermm replay': make a call that a guard has written out again, with this library or that. */
/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "gathermm/guard.h"
#include "output.h"

enum {
    OPTION_LIB = 256,
    OPTION_PROGRAM,
    OPTION_JSON
};

static const struct option options[] = {
    {"lib", required_argument, NULL, OPTION_LIB},
    {"program", required_argument, NULL, OPTION_PROGRAM},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

typedef struct request {
    const char *path, *library, *program;
    bool json;
} request;

static int write_program(gmm_replay *replay, const char *path)
{
    const char *text;

    if (gmm_replay_program(replay, &text) != GMM_OK)
        return complain_status(GMM_ERR_MEMORY);
    FILE *file = strcmp(path, "-") ? fopen(path, "w") : stdout;
    bool written = file && fputs(text, file) >= 0 && fflush(file) == 0;
    int error = errno;
    if (file && file != stdout)
        fclose(file);
    if (!written)
        complain("%s: %s", path, strerror(error));
    return written ? EXIT_FINE : EXIT_COULD_NOT_RUN;
}

static void print_control(const gmm_replay_control *c, json_t *list)
{
    if (list) {
        json_t *control = json_object();
        json_object_set_new(control, "name", json_text(c->name));
        json_object_set_new(control, "fails", json_boolean(c->fails));
        json_object_set_new(control, "detail", json_text(c->detail));
        json_array_append_new(list, control);
    } else {
        printf("  %-4s%s%s%s\n", c->fails ? "BAD" : "OK", c->name, *c->detail ? ": " : "", c->detail);
    }
}

/* All controls; EXIT_FOUND if the first fails, or number `shown_by`. */
static int run_controls(const gmm_replay *replay, const char *library, size_t shown_by, json_t *list)
{
    int status = EXIT_FINE;

    for (size_t i = 0;; i++) {
        gmm_replay_control control;
        gmm_status answer = gmm_replay_run(replay, library, i, &control);
        if (answer == GMM_ERR_INDEX)
            return status;
        if (answer != GMM_OK)
            return complain_status(answer);
        if (control.ran)
            print_control(&control, list);
        if (i == 0 && !control.ran) {
            complain("no memory for the operands");
            return EXIT_COULD_NOT_RUN;
        }
        if ((i == 0 || i == shown_by) && control.fails)
            status = EXIT_FOUND;
    }
}

static int replay_call(const gmm_replay *replay, const request *r)
{
    gmm_replay_info info;

    gmm_replay_describe(replay, &info);
    const char *library = r->library ? r->library : info.library;
    if (!r->json) {
        char *detail = escape_text(info.detail), *seen = escape_text(info.library), *with = escape_text(library);
        printf("%s: %s\n  %s\n  seen with %s\n\nwith %s:\n", gmm_guard_verdict_text(info.verdict), detail, info.call,
               seen, with);
        free(detail);
        free(seen);
        free(with);
        return run_controls(replay, library, info.shown_by, NULL);
    }
    json_t *all = json_object(), *controls = json_array();
    json_object_set_new(all, "verdict", json_text(gmm_guard_verdict_text(info.verdict)));
    json_object_set_new(all, "routine", json_text(info.routine));
    json_object_set_new(all, "call", json_text(info.call));
    json_object_set_new(all, "detail", json_text(info.detail));
    json_object_set_new(all, "seen_with", json_text(info.library));
    json_object_set_new(all, "library", json_text(library));
    int status = run_controls(replay, library, info.shown_by, controls);
    json_object_set_new(all, "controls", controls);
    if (status != EXIT_COULD_NOT_RUN) {
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(all);
    return status;
}

static int parse(int argc, char **argv, request *r)
{
    int option;

    while ((option = next_option(&cmd_replay, argc, argv, options)) != -1)
        switch (option) {
        case OPTION_LIB:
            r->library = optarg;
            break;
        case OPTION_PROGRAM:
            r->program = optarg;
            break;
        case OPTION_JSON:
            r->json = true;
            break;
        case 'h':
            print_help(&cmd_replay);
            return -1;
        default:
            return EXIT_USAGE;
        }
    if (argc - optind != 1)
        return usage_error(&cmd_replay, argc == optind ? "no file" : "more than one file");
    r->path = argv[optind];
    return EXIT_FINE;
}

static int run(int argc, char **argv)
{
    request r = {.json = false};
    gmm_replay *replay;
    int status = parse(argc, argv, &r);

    if (status != EXIT_FINE)
        return status < 0 ? EXIT_FINE : status;
    gmm_status opened = gmm_replay_open(r.path, &replay);
    if (opened != GMM_OK)
        return complain_status(opened);
    status = r.program ? write_program(replay, r.program) : replay_call(replay, &r);
    gmm_replay_close(replay);
    return status;
}

const command cmd_replay = {
    .name = "replay",
    .arguments = "[OPTION]... FILE",
    .summary = "make a BLAS call that guard wrote out again",
    .help = "Makes the call in FILE (.gmmcall), as it was and with one thing changed at a\n"
            "time, each in a process of its own, and says which go wrong.\n"
            "\n"
            "options:\n"
            "  --lib LIB       the BLAS, by name or path; default: the one it was seen with\n"
            "  --program FILE  write a C program that does the same to FILE ('-': standard\n"
            "                  output), and make no call\n"
            "  --json          print JSON\n"
            "\n"
            "Exit status: 1 if the call goes wrong as it was, or with the change that showed\n"
            "it to the guard.\n",
    .run = run,
};
