/* whole_file.h - a text file that appears under its name only when it is whole. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_WHOLE_FILE_H
#define GMM_WHOLE_FILE_H

#include <stdio.h>

typedef struct whole_file {
    FILE *stream;     /* NULL: not begun */
    const char *path; /* as the user gave it; "-" is standard output */
    char *final;      /* links resolved; NULL: `stream` is the output itself (standard output, a device, a pipe) */
    char *unfinished; /* ".NAME.gathermm-PID" beside it */
} whole_file;

/* Begin early, so that a place where nothing can be written is known before hours of work. EXIT_FINE, or another exit
 * status after a complaint. */
int whole_file_begin(whole_file *file, const char *path);

/* Write out, give the file its name (replacing an older one) and free; the same statuses. On failure nothing is left.
 */
int whole_file_publish(whole_file *file);

/* Give up, leave nothing, free. Nothing happens to a file that was not begun or is published. */
void whole_file_abandon(whole_file *file);

#endif
