/* work_dir.c - see work_dir.h. */
/* SPDX-License-Identifier: MIT */
#include "work_dir.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "output.h"
#include "shard_set.h"
#include "stop_signals.h"

/* ".NAME" MARK "PID-NUMBER" grows; ".NAME" OLD "PID" is what it replaces, until it is removed. */
#define MARK ".gathermm-"
#define OLD ".gathermm-old-"

static char *path;

/* Remove a directory and the files in it. */
static void remove_flat(const char *folder, const char *what)
{
    struct dirent *found;
    DIR *directory = opendir(folder);

    while (directory && (found = readdir(directory))) {
        char *file = join_path(folder, found->d_name);
        if (strcmp(found->d_name, ".") && strcmp(found->d_name, ".."))
            unlink(file);
        free(file);
    }
    if (directory)
        closedir(directory);
    if (rmdir(folder))
        complain("%s: cannot remove %s: %s", folder, what, strerror(errno));
}

int work_begin(const char *out)
{
    char *directory, *name;

    split_path(out, &directory, &name);
    stop_notice();
    for (int attempt = 0; !path && attempt < 100; attempt++) {
        char *candidate = must_format("%s/.%s" MARK "%ld-%d", directory, name, (long)getpid(), attempt);
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

bool work_count(const char *folder, size_t *files, size_t *folders)
{
    struct dirent *found;
    struct stat info;
    DIR *directory = opendir(folder);

    *files = *folders = 0;
    if (!directory)
        return false;
    while ((found = readdir(directory))) {
        char *name = join_path(folder, found->d_name);
        if (strcmp(found->d_name, ".") && strcmp(found->d_name, ".."))
            ++*(lstat(name, &info) == 0 && S_ISDIR(info.st_mode) ? folders : files);
        free(name);
    }
    closedir(directory);
    return true;
}

int work_publish_directory(const char *out, bool replaces)
{
    char *directory, *name, *old = NULL;

    if (replaces) {
        split_path(out, &directory, &name);
        old = must_format("%s/.%s" OLD "%ld", directory, name, (long)getpid());
        free(directory);
        free(name);
        if (rename(out, old)) {
            if (errno != ENOENT) {
                complain("%s: cannot give way: %s", out, strerror(errno));
                free(old);
                return EXIT_COULD_NOT_RUN;
            }
            free(old);
            old = NULL;
        }
    }
    if (rename(path, out)) {
        int status = cannot_publish(out);
        if (old && rename(old, out))
            complain("%s: is what was at %s before", old, out);
        free(old);
        return status;
    }
    free(path);
    path = NULL;
    if (old)
        remove_flat(old, "the replaced output");
    free(old);
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
    if (path)
        remove_flat(path, "this unfinished output");
    free(path);
    path = NULL;
}

/* The process whose directory this is, "PID-NUMBER"; 0: none. */
static long owner(const char *text)
{
    char *end;
    long pid = strtol(text, &end, 10);

    return end > text && *end == '-' && pid > 0 ? pid : 0;
}

static bool is_gone(long pid)
{
    return pid > 0 && kill((pid_t)pid, 0) && errno == ESRCH;
}

/* A name in the directory of `out`. */
static void left_over(const char *out, const char *found, const char *after, bool removes)
{
    struct stat info;

    if (!strncmp(after, OLD, strlen(OLD))) {
        if (!is_gone(strtol(after + strlen(OLD), NULL, 10)))
            return;
        if (lstat(out, &info) && !rename(found, out))
            complain("%s: is back; a run that was killed was about to replace it", out);
        else if (removes)
            remove_flat(found, "what a run that was killed has replaced");
        else
            complain("warning: %s is what a run that was killed has replaced; remove it", found);
        return;
    }
    if (strncmp(after, MARK, strlen(MARK)) || !is_gone(owner(after + strlen(MARK))))
        return;
    if (removes)
        remove_flat(found, "what a run that was killed has left");
    else
        complain("warning: %s is left of a run that was killed; remove it", found);
}

void work_left_over(const char *out, bool removes)
{
    char *directory, *name;
    struct dirent *found;

    split_path(out, &directory, &name);
    DIR *listing = opendir(directory);
    size_t length = strlen(name);
    while (listing && (found = readdir(listing)))
        if (found->d_name[0] == '.' && !strncmp(found->d_name + 1, name, length)) {
            char *where = join_path(directory, found->d_name);
            left_over(out, where, found->d_name + 1 + length, removes);
            free(where);
        }
    if (listing)
        closedir(listing);
    free(directory);
    free(name);
}
