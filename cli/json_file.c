/* json_file.c - see json_file.h. */
/* SPDX-License-Identifier: MIT */
#include "json_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "output.h"

/* jansson would print 1e-05 as 1.0000000000000001e-5 and refuses the [0.0, Infinity] that configs of state-space models
 * have. Such numbers are kept as strings with this mark before them, which no config has. */
#define MARK "gathermm keeps this number: "

static size_t digits_at(const char *text)
{
    return strspn(text, "0123456789");
}

/* Length of the number at text that is to be kept as it is written; 0 if there is none: plain integers are left to
 * jansson. */
static size_t number_at(const char *text)
{
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    size_t length = text[0] == '-', whole;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (!strncmp(text, words[i], strlen(words[i])))
            return strlen(words[i]);
    whole = digits_at(text + length);
    if (!whole || (text[length] == '0' && whole > 1))
        return 0;
    length += whole;
    bool plain = whole <= 18;
    if (text[length] == '.' && digits_at(text + length + 1)) {
        length += 1 + digits_at(text + length + 1);
        plain = false;
    }
    size_t sign = text[length] && strchr("eE", text[length]) && text[length + 1] && strchr("+-", text[length + 1]);
    if ((text[length] == 'e' || text[length] == 'E') && digits_at(text + length + 1 + sign)) {
        length += 1 + sign + digits_at(text + length + 1 + sign);
        plain = false;
    }
    return plain ? 0 : length;
}

/* The contents of a file with a final 0; NULL, and errno, on failure. */
static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t size = 0, got = 1;

    if (!file)
        return NULL;
    while (got > 0 && !ferror(file)) {
        text = must_grow(text, size + 65537, 1);
        got = fread(text + size, 1, 65536, file);
        size += got;
    }
    int error = ferror(file) ? errno : 0;
    fclose(file);
    if (error) {
        free(text);
        errno = error;
        return NULL;
    }
    text[size] = '\0';
    return text;
}

/* A copy with every such number marked. No number is shorter than a byte, so a mark for each byte is room enough for
 * all. */
static char *mark_numbers(const char *text)
{
    size_t numbers = 0;
    bool in_string = false;

    for (const char *c = text; *c; c++)
        numbers += number_at(c) > 0;
    char *marked = must_allocate(strlen(text) + numbers * (strlen(MARK) + 2) + 1, 1), *to = marked;
    while (*text) {
        size_t length = in_string ? 0 : number_at(text);
        size_t plain = in_string || length ? 0 : digits_at(text);
        if (length) {
            to += sprintf(to, "\"" MARK "%.*s\"", (int)length, text);
            text += length;
            continue;
        }
        if (*text == '"')
            in_string = !in_string;
        else if (in_string && *text == '\\' && text[1])
            *to++ = *text++;
        /* A plain integer goes over whole: its last digits are no number of their own. */
        for (plain = plain ? plain : 1; plain; plain--)
            *to++ = *text++;
    }
    *to = '\0';
    return marked;
}

int load_json(const char *path, json_t **value)
{
    json_error_t error;
    char *text = read_file(path);

    *value = NULL;
    if (!text && errno == ENOENT)
        return EXIT_FINE;
    if (!text) {
        complain("%s: %s", path, strerror(errno));
        return EXIT_COULD_NOT_RUN;
    }
    char *marked = mark_numbers(text);
    *value = json_loads(marked, JSON_REJECT_DUPLICATES, &error);
    free(marked);
    free(text);
    if (*value)
        return EXIT_FINE;
    char *message = escape_text(error.text);
    complain("%s: line %d, column %d: %s", path, error.line, error.column, message);
    free(message);
    return EXIT_COULD_NOT_RUN;
}

json_t *parse_json(const char *text)
{
    char *marked = mark_numbers(text);
    json_t *value = json_loads(marked, JSON_REJECT_DUPLICATES, NULL);

    free(marked);
    return value;
}

/* Undo mark_numbers, in place. */
static void unmark_numbers(char *text)
{
    static const char mark[] = "\"" MARK;
    char *to = text;

    while (*text) {
        size_t length = strncmp(text, mark, strlen(mark)) ? 0 : strcspn(text + strlen(mark), "\"");
        if (!length) {
            *to++ = *text++;
            continue;
        }
        memmove(to, text + strlen(mark), length);
        to += length;
        text += strlen(mark) + length + 1;
    }
    *to = '\0';
}

char *json_print_text(const json_t *value, size_t indent)
{
    char *text = json_dumps(value, JSON_INDENT(indent) | JSON_REAL_PRECISION(15));

    if (text)
        unmark_numbers(text);
    return text;
}

void print_json(json_t *value)
{
    char *text = json_print_text(value, 2);

    if (text)
        puts(text);
    else
        complain("out of memory");
    free(text);
    json_decref(value);
}
