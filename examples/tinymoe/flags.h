/* flags.h - the command line. */
/* SPDX-License-Identifier: MIT */
#ifndef TINYMOE_FLAGS_H
#define TINYMOE_FLAGS_H

#include "linear.h"

enum {
    MOST_FORMATS = 16
};

typedef struct flags {
    const char *model;                          /* a directory */
    const weight_format *formats[MOST_FORMATS]; /* the table's rows */
    int format_count;
    int64_t windows; /* 0: all there are */
    int64_t generate;
    const char *prompt; /* NULL: the demo */
    int32_t threads;    /* 0: the library's default */
    int64_t processes;
    const char *faulty_blas; /* NULL: beside the program */
    int64_t replay_seed;     /* 0: this is not a process of the replay */
    bool json;
} flags;

/* Read the command line; prints and exits for --help, --version and mistakes. */
void flags_read(flags *f, int argc, char **argv);

#endif
