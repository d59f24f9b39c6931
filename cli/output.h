/* output.h - messages, aligned tables, sizes for people, JSON for programs. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_OUTPUT_H
#define GMM_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gathermm/gathermm.h"

/* "gathermm: message" on stderr. */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);

/* Complain of a failed call by the library's own detail; returns EXIT_COULD_NOT_RUN. */
int complain_status(gmm_status status);

/* Memory for names, tables and lists; ends the command with EXIT_COULD_NOT_RUN when there is none. */
void *must_allocate(size_t count, size_t size);
void *must_grow(void *memory, size_t count, size_t size);
__attribute__((format(printf, 1, 2))) char *must_format(const char *format, ...);

/* A copy of text with control characters as \xNN: names come from files, and a terminal would obey them. */
char *escape_text(const char *text);

/* "512 B", "14.9 MiB" into text; returns text. */
char *bytes_text(uint64_t bytes, char text[24]);

/* "(2, 3)" in memory of its own. */
char *shape_text(const int64_t *shape, int32_t ndim);

/* "2, 3, 4" of a 0-terminated list in rising order (formats list their default first). */
char *number_list(const int32_t *values);

/* Cells in columns that are as wide as their widest cell. */
typedef struct table {
    const char *alignment; /* 'l' or 'r' for each column */
    char **cells;
    size_t count, capacity;
} table;

/* Append the next cell, row after row. The text is escaped. */
__attribute__((format(printf, 2, 3))) void table_add(table *t, const char *format, ...);

/* Print with `indent` spaces before each row, free the cells. */
void table_print(table *t, int indent);

/* A JSON string; bytes that are not UTF-8 (a path may have them) become U+FFFD. */
json_t *json_text(const char *text);

/* "TITLEa, b, c" on a line; nothing without names. */
void print_names(const char *title, char *const *names, size_t count);

json_t *names_json(char *const *names, size_t count);

json_t *json_shape(const int64_t *shape, int32_t ndim);

#endif
