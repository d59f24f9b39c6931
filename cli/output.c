/* output.c - see output.h. */
/* SPDX-License-Identifier: MIT */
#include "output.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

void complain(const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fputs("gathermm: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

int complain_status(gmm_status status)
{
    char *detail = escape_text(*gmm_error_detail() ? gmm_error_detail() : gmm_status_text(status));

    complain("%s", detail);
    free(detail);
    return EXIT_COULD_NOT_RUN;
}

void *must_grow(void *memory, size_t count, size_t size)
{
    void *grown = count <= SIZE_MAX / size ? realloc(memory, count ? count * size : 1) : NULL;

    if (!grown) {
        complain("out of memory");
        exit(EXIT_COULD_NOT_RUN);
    }
    return grown;
}

void *must_allocate(size_t count, size_t size)
{
    void *memory = must_grow(NULL, count, size);

    memset(memory, 0, count * size);
    return memory;
}

static char *format_text(const char *format, va_list arguments)
{
    va_list again;

    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = must_allocate((size_t)length + 1, 1);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    return text;
}

char *must_format(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    char *text = format_text(format, arguments);
    va_end(arguments);
    return text;
}

char *escape_text(const char *text)
{
    char *escaped = must_allocate(4 * strlen(text) + 1, 1), *to = escaped;

    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        bool c1 = c[0] == 0xC2 && c[1] >= 0x80 && c[1] < 0xA0; /* U+0080 to U+009F, control characters too */
        if (c1 || *c < 0x20 || *c == 0x7F)
            to += sprintf(to, "\\x%02x", c1 ? *++c : *c);
        else
            *to++ = (char)*c;
    }
    *to = '\0';
    return escaped;
}

char *bytes_text(uint64_t bytes, char text[24])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double size = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(text, 24, "%" PRIu64 " B", bytes);
        return text;
    }
    for (; size >= 1023.95 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        size /= 1024;
    snprintf(text, 24, "%.1f %s", size, units[unit]);
    return text;
}

char *shape_text(const int64_t *shape, int32_t ndim)
{
    size_t size = (size_t)ndim * 22 + 3, used = 1;
    char *text = must_allocate(size, 1);

    text[0] = '(';
    for (int32_t d = 0; d < ndim; d++)
        used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, d ? ", " : "", shape[d]);
    text[used] = ')';
    return text;
}

char *number_list(const int32_t *values)
{
    char *text = must_format("%s", "");

    for (int32_t last = 0, next = 1; next; last = next) {
        next = 0;
        for (const int32_t *v = values; *v; v++)
            if (*v > last && (!next || *v < next))
                next = *v;
        char *longer = next ? must_format("%s%s%d", text, last ? ", " : "", (int)next) : must_format("%s", text);
        free(text);
        text = longer;
    }
    return text;
}

void table_add(table *t, const char *format, ...)
{
    va_list arguments;

    if (t->count == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 64;
        t->cells = must_grow(t->cells, t->capacity, sizeof *t->cells);
    }
    va_start(arguments, format);
    char *text = format_text(format, arguments);
    va_end(arguments);
    t->cells[t->count++] = escape_text(text);
    free(text);
}

/* Characters, not bytes: names may be UTF-8. */
static int width(const char *text)
{
    int characters = 0;

    for (; *text; text++)
        characters += ((unsigned char)*text & 0xC0) != 0x80;
    return characters;
}

void table_print(table *t, int indent)
{
    size_t columns = strlen(t->alignment);
    int *widest = must_allocate(columns, sizeof *widest);

    for (size_t i = 0; i < t->count; i++)
        if (width(t->cells[i]) > widest[i % columns])
            widest[i % columns] = width(t->cells[i]);
    for (size_t i = 0; i < t->count; i++) {
        size_t column = i % columns;
        int padding = widest[column] - width(t->cells[i]);
        bool right = t->alignment[column] == 'r', last = column + 1 == columns;
        printf("%*s%*s%s%*s%s", column ? 2 : indent, "", right ? padding : 0, "", t->cells[i],
               right || last ? 0 : padding, "", last ? "\n" : "");
        free(t->cells[i]);
    }
    free(widest);
    free(t->cells);
    *t = (table){.alignment = t->alignment};
}

json_t *json_text(const char *text)
{
    json_t *string = json_string(text);

    if (string)
        return string;
    char *clean = must_allocate(3 * strlen(text) + 1, 1), *to = clean;
    for (; *text; text++)
        to += sprintf(to, (unsigned char)*text < 0x80 ? "%c" : "\xEF\xBF\xBD", *text);
    string = json_string(clean);
    free(clean);
    return string;
}

json_t *json_shape(const int64_t *shape, int32_t ndim)
{
    json_t *array = json_array();

    for (int32_t d = 0; d < ndim; d++)
        json_array_append_new(array, json_integer(shape[d]));
    return array;
}

void print_names(const char *title, char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *name = escape_text(names[i]);
        printf("%s%s", i ? ", " : title, name);
        free(name);
    }
    if (count)
        printf("\n");
}

json_t *names_json(char *const *names, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_text(names[i]));
    return list;
}
