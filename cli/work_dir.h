/* work_dir.h - a directory beside the output where it grows unseen, gone on every exit but success. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_WORK_DIR_H
#define GMM_WORK_DIR_H

#include <stdbool.h>

/* Make ".NAME.gathermm-PID" beside `out` and begin to notice signals (stop_signals.h); one at a time. Returns
 * EXIT_FINE, or another exit status after a complaint. */
int work_begin(const char *out);

/* Its path. */
const char *work_path(void);

/* Give the directory itself the name `out`, or the file `name` in it; `out` must still not exist. EXIT_FINE, or
 * another exit status after a complaint. */
int work_publish_directory(const char *out);
int work_publish_file(const char *name, const char *out);

/* Remove the directory with the files in it, if it is there; also done at exit. */
void work_remove(void);

#endif
