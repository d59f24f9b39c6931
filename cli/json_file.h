/* json_file.h - JSON files as Python writes them: with NaN and Infinity, which are no JSON, and numbers kept to the
 * digit. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_JSON_FILE_H
#define GMM_JSON_FILE_H

#include <jansson.h>

/* Parse a file into *value. A missing file gives NULL and EXIT_FINE, another failure EXIT_COULD_NOT_RUN after a
 * complaint. Reals, integers beyond 18 digits, NaN, Infinity and -Infinity become strings that json_print_text turns
 * back. */
int load_json(const char *path, json_t **value);

/* The same for text; NULL if it is no JSON. */
json_t *parse_json(const char *text);

/* The text of a value, with `indent` spaces a level (0: one line). Free it; NULL without memory. */
char *json_print_text(const json_t *value, size_t indent);

/* Print on stdout, indented, and release. */
void print_json(json_t *value);

#endif
