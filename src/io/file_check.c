/* file_check.c - see file_check.h. */
/* SPDX-License-Identifier: MIT */
#include "io/file_check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/array.h"
#include "base/error.h"

gmm_status gmm_malformed(const char *path, const char *format, ...)
{
    char text[900];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (unsigned char *c = (unsigned char *)text; *c; c++) {
        bool c1 = c[0] == 0xC2 && c[1] >= 0x80 && c[1] < 0xA0; /* U+0080 to U+009F */
        if (*c < 0x20 || *c == 0x7F || c1)
            *c = '?';
        if (c1)
            *++c = '?';
    }
    return gmm_fail(GMM_ERR_MALFORMED, "%s: %s", path, text);
}

gmm_status gmm_tensor_bytes(const char *what, gmm_dtype dtype, int32_t ndim, const int64_t *shape, int64_t *size_bytes)
{
    int64_t bits = gmm_dtype_bits(dtype);
    bool empty = false, overflow = false;

    for (int32_t d = 0; d < ndim; d++) {
        if (shape[d] < 0)
            return gmm_fail(GMM_ERR_SHAPE, "%s: shape[%" PRId32 "] is %" PRId64, what, d, shape[d]);
        empty |= shape[d] == 0;
    }
    for (int32_t d = 0; d < ndim && !empty; d++)
        overflow |= gmm_mul_overflows(bits, shape[d], &bits);
    if (overflow)
        return gmm_fail(GMM_ERR_SIZE, "%s: its shape has more than 2^63 bits", what);
    if (!empty && bits % 8)
        return gmm_fail(GMM_ERR_SHAPE, "%s: %" PRId64 " bits of %s elements are not whole bytes", what, bits,
                        gmm_dtype_name(dtype));
    *size_bytes = empty ? 0 : bits / 8;
    return GMM_OK;
}
