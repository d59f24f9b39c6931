/* work_dir.c - see work_dir.h. */
/* SPDX-License-Identifier: MIT */
#include "work_dir.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "output.h"
#include "shard_set.h"
#include "stop_signals.h"

static char *path;

int work_begin(const char *out)
{
    char *directory, *name;

    split_path(out, &directory, &name);
    stop_notice();
    for (int attempt = 0; !path && attempt < 100; attempt++) {
        char *candidate = must_format("%s/.%s.gathermm-%ld-%d", directory, name, (long)getpid(), attempt);
        if (mkdir(candidate, 0777) == 0) {
            path = candidate;
            atexit(work_remove);
            break;
        }
        free(candidate);
        if (errno != EEXIST)
            break;
    }
    if (!path)
        complain("%s: cannot make a directory in it: %s", directory, strerror(errno));
    free(directory);
    free(name);
    return path ? EXIT_FINE : EXIT_COULD_NOT_RUN;
}

const char *work_path(void)
{
    return path;
}

static int cannot_publish(const char *out)
{
    complain("%s: %s", out,
             errno == ENOTEMPTY || errno == EEXIST ? "was made by someone else meanwhile" : strerror(errno));
    return EXIT_COULD_NOT_RUN;
}

int work_publish_directory(const char *out)
{
    if (rename(path, out))
        return cannot_publish(out);
    free(path);
    path = NULL;
    return EXIT_FINE;
}

int work_publish_file(const char *name, const char *out)
{
    char *from = join_path(path, name);
    struct stat info;
    int failed = link(from, out); /* unlike rename, never replaces a file */

    if (failed && errno != EEXIST) /* a file system without links */
        failed = lstat(out, &info) == 0 ? (errno = EEXIST) : rename(from, out);
    free(from);
    return failed ? cannot_publish(out) : EXIT_FINE;
}

void work_remove(void)
{
    struct dirent *found;
    DIR *directory = path ? opendir(path) : NULL;

    while (directory && (found = readdir(directory))) {
        char *file = join_path(path, found->d_name);
        if (strcmp(found->d_name, ".") && strcmp(found->d_name, ".."))
            unlink(file);
        free(file);
    }
    if (directory)
        closedir(directory);
    if (path && rmdir(path))
        complain("%s: cannot remove this unfinished output: %s", path, strerror(errno));
    free(path);
    path = NULL;
}
