/* main.c - the gathermm command: finds the subcommand and answers questions about usage. */
/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "gathermm/gathermm.h"
#include "output.h"

#define COMMAND(name) &name,
static const command *const commands[] = {
#include "command_list.h"
};
#undef COMMAND

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

/* Edits (insert, delete, replace, swap of neighbours) between two words; long words count as far apart. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][33], m = strlen(a), n = strlen(b);
    size_t *before = rows[0], *last = rows[1], *now = rows[2];

    if (m > 32 || n > 32)
        return 99;
    for (size_t j = 0; j <= n; j++)
        last[j] = j;
    for (size_t i = 1; i <= m; i++) {
        now[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        size_t *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[n];
}

/* Is `candidate` a likely meaning of `word`, and a better one than at distance *best? */
static bool nearer(const char *word, const char *candidate, size_t *best)
{
    size_t d = distance(word, candidate);

    if (d > 1 + strlen(candidate) / 4 || d >= *best)
        return false;
    *best = d;
    return true;
}

static const command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *meant = NULL;
    size_t best = 99;

    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (nearer(name, commands[i]->name, &best))
            meant = commands[i]->name;
    char *shown = escape_text(name);
    fprintf(stderr, "gathermm: '%s' is not a command", shown);
    free(shown);
    if (meant)
        fprintf(stderr, "; did you mean '%s'?", meant);
    fprintf(stderr, "\nusage: gathermm COMMAND [ARGUMENT]...\nTry 'gathermm --help'.\n");
    return EXIT_USAGE;
}

int usage_error(const command *cmd, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "gathermm %s: ", cmd->name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nusage: gathermm %s %s\nTry 'gathermm help %s'.\n", cmd->name, cmd->arguments, cmd->name);
    return EXIT_USAGE;
}

bool accept_value(const command *cmd, const char *option, char *message)
{
    if (message) {
        char *shown = escape_text(message);
        usage_error(cmd, "--%s: %s", option, shown);
        free(shown);
        free(message);
    }
    return !message;
}

/* The option that argv word `word` ("--name" or "--name=value") names in full; NULL if none. */
static const struct option *named_option(const char *word, const struct option *options)
{
    size_t length = strcspn(word + 2, "=");

    for (; options->name; options++)
        if (strlen(options->name) == length && !strncmp(options->name, word + 2, length))
            return options;
    return NULL;
}

static void unknown_option(const command *cmd, const char *word, const struct option *options)
{
    const char *meant = NULL;
    size_t best = 99;
    char *shown = escape_text(word);

    if (!strncmp(shown, "--", 2)) {
        shown[2 + strcspn(shown + 2, "=")] = '\0';
        for (; options->name; options++)
            if (nearer(shown + 2, options->name, &best))
                meant = options->name;
    }
    if (meant)
        usage_error(cmd, "unknown option %s; did you mean --%s?", shown, meant);
    else
        usage_error(cmd, "unknown option %s", shown);
    free(shown);
}

int next_option(const command *cmd, int argc, char **argv, const struct option *options)
{
    int at = optind < argc ? optind : argc - 1;

    /* getopt_long permutes; the word it is about to read is the next one that looks like an option. */
    while (at < argc - 1 && (argv[at][0] != '-' || !argv[at][1]))
        at++;
    const char *word = argv[at];
    bool is_long = !strncmp(word, "--", 2) && word[2];
    if (optind < argc && is_long && !named_option(word, options)) {
        unknown_option(cmd, word, options);
        return '?';
    }
    opterr = 0;
    int option = getopt_long(argc, argv, ":h", options, NULL);
    if (option == ':')
        usage_error(cmd, "%s needs a value", word);
    else if (option == '?' && is_long)
        usage_error(cmd, "--%s takes no value", named_option(word, options)->name);
    else if (option == '?')
        unknown_option(cmd, word, options);
    return option == ':' ? '?' : option;
}

void print_help(const command *cmd)
{
    printf("usage: gathermm %s %s\n\n%s", cmd->name, cmd->arguments, cmd->help);
    if (cmd->more_help)
        cmd->more_help();
}

bool parse_number(const char *text, int32_t lowest, int32_t highest, int32_t *number)
{
    char *end;

    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < lowest || value > highest)
        return false;
    *number = (int32_t)value;
    return true;
}

static void print_commands(void)
{
    printf("usage: gathermm COMMAND [ARGUMENT]...\n\n"
           "Gathered (mixture-of-experts) matrix products on CPUs: what this machine offers,\n"
           "how near they come to its limits, what a file of tensors holds, running the\n"
           "expert layers of checkpoints, converting and quantizing these; and whether a\n"
           "BLAS library keeps its contract, in a program too.\n\n"
           "commands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
    printf("  %-10s %s\n", "help", "explain a command: gathermm help COMMAND");
    printf("\noptions:\n"
           "  -h, --help  show this text, or a command's\n"
           "  --version   show the version\n\n"
           "Exit status: 0 fine, 1 a check found something, 2 wrong usage, 3 could not run.\n"
           "See gathermm(1).\n");
}

static int dispatch(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "--help";

    if (!strcmp(name, "--version")) {
        printf("gathermm %s\n", gmm_version());
        return EXIT_FINE;
    }
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || (!strcmp(name, "help") && argc == 2)) {
        print_commands();
        return EXIT_FINE;
    }
    bool wants_help = !strcmp(name, "help");
    const command *cmd = find_command(wants_help ? argv[2] : name);
    if (!cmd)
        return unknown_command(wants_help ? argv[2] : name);
    if (!wants_help)
        return cmd->run(argc - 1, argv + 1);
    print_help(cmd);
    return EXIT_FINE;
}

int main(int argc, char **argv)
{
    int status = dispatch(argc, argv);

    /* A full disk behind a redirected stdout shows only when the last bytes are flushed. */
    if (fflush(stdout) || ferror(stdout)) {
        complain("cannot write standard output: %s", strerror(errno));
        return EXIT_COULD_NOT_RUN;
    }
    return status;
}
