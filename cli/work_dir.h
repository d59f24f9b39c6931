/* work_dir.h - a directory beside the output where it grows unseen, gone on every exit but success. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_WORK_DIR_H
#define GMM_WORK_DIR_H

#include <stdbool.h>
#include <stddef.h>

/* Make ".NAME.gathermm-PID" beside `out` and begin to notice signals (stop_signals.h); one at a time. Returns
 * EXIT_FINE, or another exit status after a complaint. */
int work_begin(const char *out);

/* Its path. */
const char *work_path(void);

/* What runs that were killed have left beside `out`: directories of the name above whose process is gone. Each is
 * warned of, or removed if `removes`. A directory that a run was about to replace gets its name back. */
void work_left_over(const char *out, bool removes);

/* What is in a folder; false if it cannot be read. */
bool work_count(const char *folder, size_t *files, size_t *folders);

/* Give the directory itself the name `out`, or the file `name` in it; `out` must still not exist, or if `replaces`, a
 * directory there gives way, and is removed with the files in it. EXIT_FINE, or another exit status after a complaint.
 */
int work_publish_directory(const char *out, bool replaces);
int work_publish_file(const char *name, const char *out);

/* Remove the directory with the files in it, if it is there; also done at exit. */
void work_remove(void);

#endif
