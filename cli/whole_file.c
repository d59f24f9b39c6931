/* whole_file.c - see whole_file.h. */
/* SPDX-License-Identifier: MIT */
#define _XOPEN_SOURCE 700 /* realpath */
#include "whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "output.h"
#include "shard_set.h"

/* Files begun and neither published nor abandoned: a command that ends for lack of memory leaves none. */
static whole_file *open_files[8];

static void abandon_all(void)
{
    for (size_t i = 0; i < sizeof open_files / sizeof open_files[0]; i++)
        if (open_files[i])
            whole_file_abandon(open_files[i]);
}

static void remember(whole_file *file)
{
    static bool registered;
    size_t i = 0;

    if (!registered)
        registered = atexit(abandon_all) == 0;
    while (i + 1 < sizeof open_files / sizeof open_files[0] && open_files[i])
        i++;
    open_files[i] = file;
}

static void forget(const whole_file *file)
{
    for (size_t i = 0; i < sizeof open_files / sizeof open_files[0]; i++)
        if (open_files[i] == file)
            open_files[i] = NULL;
}

static int cannot_write(const char *path)
{
    int error = errno;
    char *shown = escape_text(path);

    complain("%s: cannot be written: %s", shown, strerror(error));
    free(shown);
    return EXIT_COULD_NOT_RUN;
}

/* The file beside `final` that becomes it. */
static int open_unfinished(whole_file *file)
{
    char *directory, *name;

    split_path(file->final, &directory, &name);
    char *path = must_format("%s/.%s.gathermm-%ld", directory, name, (long)getpid());
    free(directory);
    free(name);
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (descriptor < 0) {
        free(path);
        return cannot_write(file->path);
    }
    file->unfinished = path;
    remember(file);
    file->stream = fdopen(descriptor, "w");
    return file->stream ? EXIT_FINE : cannot_write(file->path);
}

int whole_file_begin(whole_file *file, const char *path)
{
    struct stat info;
    bool exists = strcmp(path, "-") && stat(path, &info) == 0;

    *file = (whole_file){.path = path};
    if (!strcmp(path, "-")) {
        file->stream = stdout;
        return EXIT_FINE;
    }
    if (exists && !S_ISREG(info.st_mode)) {
        file->stream = fopen(path, "w");
        return file->stream ? EXIT_FINE : cannot_write(path);
    }
    file->final = exists ? realpath(path, NULL) : must_format("%s", path);
    int status = file->final ? open_unfinished(file) : cannot_write(path);
    if (status)
        whole_file_abandon(file);
    return status;
}

int whole_file_publish(whole_file *file)
{
    int status = EXIT_FINE;

    if (!file->stream || file->stream == stdout)
        return EXIT_FINE; /* main() looks after standard output */
    bool failed = ferror(file->stream) != 0;
    failed |= fclose(file->stream) != 0;
    file->stream = NULL;
    if (failed || (file->final && rename(file->unfinished, file->final)))
        status = cannot_write(file->path);
    else {
        free(file->unfinished);
        file->unfinished = NULL;
    }
    whole_file_abandon(file);
    return status;
}

void whole_file_abandon(whole_file *file)
{
    forget(file);
    if (file->stream && file->stream != stdout)
        fclose(file->stream);
    if (file->unfinished)
        unlink(file->unfinished);
    free(file->unfinished);
    free(file->final);
    *file = (whole_file){0};
}
