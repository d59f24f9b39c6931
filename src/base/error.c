/* error.c - statuses in words, and the detail of the last failure of each thread. */
/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

/* Long enough for a path and a tensor's name. */
static _Thread_local char detail[1024];

gmm_status gmm_fail(gmm_status status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    return status;
}

const char *gmm_error_detail(void)
{
    return detail;
}

const char *gmm_status_text(gmm_status status)
{
    switch (status) {
    case GMM_OK:
        return "fine";
    case GMM_ERR_NULL:
        return "a required pointer is NULL";
    case GMM_ERR_SHAPE:
        return "shapes or strides do not fit together";
    case GMM_ERR_DTYPE:
        return "an element type that is not allowed here";
    case GMM_ERR_INDEX:
        return "a gather index is out of range";
    case GMM_ERR_FORMAT:
        return "not a weight format: unknown mode, group_size or bits";
    case GMM_ERR_OVERLAP:
        return "the output shares memory with an operand or with itself";
    case GMM_ERR_SIZE:
        return "a size does not fit";
    case GMM_ERR_MEMORY:
        return "out of memory";
    case GMM_ERR_ARGUMENT:
        return "an argument has no meaning here";
    case GMM_ERR_CPU:
        return "a CPU mask holds an unknown word";
    case GMM_ERR_FILE:
        return "a file could not be opened, read, written or renamed";
    case GMM_ERR_MALFORMED:
        return "a file's contents break its format";
    case GMM_ERR_BLAS:
        return "a BLAS cannot be loaded, has no sgemm, or breaks its contract";
    case GMM_ERR_CANCELLED:
        return "cancelled by the progress function";
    }
    return "not a status";
}
