/* io_file.c - see io_file.h. */
/* SPDX-License-Identifier: MIT */
#define _XOPEN_SOURCE 700 /* realpath */

#include "io/io_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

static gmm_status system_error(const char *path, const char *what, int code)
{
    char reason[128];

    if (strerror_r(code, reason, sizeof reason) != 0)
        snprintf(reason, sizeof reason, "error %d", code);
    return gmm_fail(GMM_ERR_FILE, "%s: %s: %s", path, what, reason);
}

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode)    ? "a directory"
           : S_ISFIFO(mode) ? "a pipe"
           : S_ISSOCK(mode) ? "a socket"
           : S_ISCHR(mode)  ? "a character device"
           : S_ISBLK(mode)  ? "a block device"
                            : "no file";
}

/* ---- reading ---- */

static gmm_status map(const char *path, int fd, gmm_mapping *mapping)
{
    struct stat info;

    if (fstat(fd, &info) != 0)
        return system_error(path, "cannot read", errno);
    if (!S_ISREG(info.st_mode))
        return gmm_fail(GMM_ERR_FILE, "%s: cannot read: it is %s, not a regular file", path, kind_of(info.st_mode));
    if ((uintmax_t)info.st_size > SIZE_MAX)
        return gmm_fail(GMM_ERR_FILE, "%s: %" PRIdMAX " bytes exceed the address space", path, (intmax_t)info.st_size);
    mapping->bytes = NULL;
    mapping->size = (size_t)info.st_size;
    if (mapping->size == 0) /* which mmap refuses */
        return GMM_OK;

    void *bytes = mmap(NULL, mapping->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return system_error(path, "cannot map", errno);
    mapping->bytes = bytes;
    return GMM_OK;
}

gmm_status gmm_mapping_open(const char *path, gmm_mapping *mapping)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* without O_NONBLOCK a pipe would wait for its writer */

    if (fd < 0)
        return system_error(path, "cannot open", errno);
    gmm_status status = map(path, fd, mapping);
    close(fd);
    return status;
}

void gmm_mapping_close(gmm_mapping *mapping)
{
    if (mapping->bytes)
        munmap((void *)(uintptr_t)mapping->bytes, mapping->size);
    mapping->bytes = NULL;
    mapping->size = 0;
}

/* ---- writing ---- */

struct gmm_new_file {
    char *path;      /* the final name, links resolved */
    char *temporary; /* the name until then */
    int fd;
    bool failed;
    size_t buffered;
    unsigned char buffer[65536];
};

static void free_new_file(gmm_new_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    free(file->temporary);
    free(file);
}

/* The name to replace: that of the file itself where `path` is a link to it. NULL: out of memory or, with a message,
 * refused. */
static gmm_status final_path(const char *path, char **final)
{
    struct stat info;

    if (stat(path, &info) == 0) {
        /* Renaming onto /dev/null, say, would replace the device. */
        if (!S_ISREG(info.st_mode))
            return gmm_fail(GMM_ERR_FILE, "%s: cannot write: it is %s, not a regular file", path,
                            kind_of(info.st_mode));
        *final = realpath(path, NULL);
        if (!*final && errno != ENOMEM)
            return system_error(path, "cannot write", errno);
    } else if (errno == ENOENT && *path) {
        *final = strdup(path);
    } else {
        return system_error(path, "cannot write", errno);
    }
    if (!*final)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for its name", path);
    return GMM_OK;
}

/* ".gathermm-PID-NUMBER.tmp" beside the final name: short, so that a long name cannot make it too long. */
static gmm_status open_temporary(const char *path, gmm_new_file *file)
{
    static atomic_uint counter;
    const char *slash = strrchr(file->path, '/');
    int folder = slash ? (int)(slash - file->path) + 1 : 0;
    size_t size = (size_t)folder + 64;

    file->temporary = malloc(size);
    if (!file->temporary)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for its name", path);
    for (int attempt = 0; attempt < 1000 && file->fd < 0; attempt++) {
        snprintf(file->temporary, size, "%.*s.gathermm-%ld-%u.tmp", folder, file->path, (long)getpid(),
                 atomic_fetch_add(&counter, 1));
        file->fd = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->fd < 0 && errno != EEXIST)
            break;
    }
    if (file->fd < 0)
        return system_error(path, "cannot create a temporary file beside it", errno);
    return GMM_OK;
}

gmm_status gmm_new_file_open(const char *path, gmm_new_file **file)
{
    gmm_new_file *made = calloc(1, sizeof *made);

    if (!made)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for a buffer of %zu bytes", path, sizeof *made);
    made->fd = -1;
    gmm_status status = final_path(path, &made->path);
    if (status == GMM_OK)
        status = open_temporary(path, made);
    if (status != GMM_OK) {
        free_new_file(made);
        return status;
    }
    *file = made;
    return GMM_OK;
}

static gmm_status write_through(gmm_new_file *file, const unsigned char *data, size_t size_bytes)
{
    while (size_bytes > 0) {
        size_t piece = size_bytes < (size_t)1 << 30 ? size_bytes : (size_t)1 << 30; /* macOS refuses 2^31 and more */
        ssize_t written = write(file->fd, data, piece);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            file->failed = true;
            return system_error(file->path, "cannot write", errno);
        }
        data += written;
        size_bytes -= (size_t)written;
    }
    return GMM_OK;
}

static gmm_status flush(gmm_new_file *file)
{
    size_t size_bytes = file->buffered;

    file->buffered = 0;
    return write_through(file, file->buffer, size_bytes);
}

gmm_status gmm_new_file_write(gmm_new_file *file, const void *data, size_t size_bytes)
{
    if (file->failed)
        return gmm_fail(GMM_ERR_FILE, "%s: an earlier write failed", file->path);
    if (size_bytes > sizeof file->buffer - file->buffered) {
        gmm_status status = flush(file);
        if (status != GMM_OK)
            return status;
    }
    if (size_bytes > sizeof file->buffer)
        return write_through(file, data, size_bytes);
    if (size_bytes > 0)
        memcpy(file->buffer + file->buffered, data, size_bytes);
    file->buffered += size_bytes;
    return GMM_OK;
}

/* Without this a crash soon after may lose the new name. Some file systems cannot; the data itself is safe then. */
static void sync_folder(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash)
        slash[slash == path] = '\0';
    int fd = open(slash ? path : ".", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

static gmm_status publish(gmm_new_file *file)
{
    if (file->failed)
        return gmm_fail(GMM_ERR_FILE, "%s: an earlier write failed", file->path);
    gmm_status status = flush(file);
    if (status != GMM_OK)
        return status;
    if (fsync(file->fd) != 0)
        return system_error(file->path, "cannot bring its data to disk", errno);
    int fd = file->fd;
    file->fd = -1;
    if (close(fd) != 0)
        return system_error(file->path, "cannot close", errno);
    if (rename(file->temporary, file->path) != 0)
        return system_error(file->path, "cannot rename its temporary file", errno);
    return GMM_OK;
}

gmm_status gmm_new_file_finish(gmm_new_file *file)
{
    gmm_status status = publish(file);

    if (status == GMM_OK)
        sync_folder(file->path);
    else
        unlink(file->temporary);
    free_new_file(file);
    return status;
}

void gmm_new_file_abandon(gmm_new_file *file)
{
    if (!file)
        return;
    unlink(file->temporary);
    free_new_file(file);
}
