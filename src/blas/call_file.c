/* call_file.c - .gmmcall files: a header of 2048 bytes, then the operands.
 * SPDX-License-Identifier: MIT
 *
 * All numbers are little-endian. Version 1:
 *
 *     0     8 bytes: "GMMCALL" and a 0
 *     8     the rest of `header` below; the checksum is of the whole file, with 0 in its own place
 *     2048  each operand from the array's first element to its last that is needed, on a multiple of 64 bytes; between
 *           and after them zeros. Where nothing of the call lies, in gaps of leading dimensions, there is a pattern.
 *
 * The checksum is a chain over 64-bit words, as in files of prepared weights: it finds cut and damaged files. */
#include "blas/call_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "blas/call_lines.h"

enum {
    HEADER_BYTES = 2048,
    ALIGNMENT = 64,
    FIRST_OPERANDS = 3,
    VERSION = 1,
    BYTE_ORDER_MARK = 0x01020304,
    FLAGS = 8 /* type, fortran (1, and 2 if a complex result goes to an address that comes first), row-major, side,
                 uplo, transposes, diag */
};

static const char magic[8] = "GMMCALL";

typedef struct header_operand {
    int64_t step, offset, at, bytes;
} header_operand;

/* Members lie without gaps. */
typedef struct header {
    char magic[8];
    uint32_t version, byte_order;
    uint64_t checksum;
    int64_t file_bytes;
    char routine[16]; /* "gemm" */
    char flags[FLAGS];
    int32_t integer_bits, verdict;
    int64_t m, n, k, kl, ku;
    double alpha[2], beta[2];
    header_operand operands[FIRST_OPERANDS];
    int64_t trial, operand, row, column;
    double got[2], want[2], bound;
    char detail[256], library[512], symbol[64];
    header_operand fourth; /* of rotg and rotmg alone, which came later */
} header;

_Static_assert(offsetof(header, m) == 64 && offsetof(header, operands) == 136 && offsetof(header, trial) == 232 &&
                   offsetof(header, detail) == 304 && offsetof(header, fourth) == 1136 && sizeof(header) == 1168,
               "the header has no gaps");

static header_operand *operand_of(header *h, int i)
{
    return i < FIRST_OPERANDS ? &h->operands[i] : &h->fourth;
}

static uint64_t chain(uint64_t sum, const void *data, size_t bytes)
{
    const unsigned char *from = data;

    for (size_t at = 0; at < bytes; at += 8) {
        uint64_t word = 0;
        memcpy(&word, from + at, bytes - at < 8 ? bytes - at : 8);
        sum = (sum ^ word) * 0x9E3779B97F4A7C15u;
        sum ^= sum >> 32;
    }
    return sum;
}

static int64_t rounded(int64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static bool write_all(int descriptor, const void *data, size_t bytes)
{
    const char *from = data;

    while (bytes > 0) {
        ssize_t written = write(descriptor, from, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        from += written;
        bytes -= (size_t)written;
    }
    return true;
}

static void fill_header(header *h, const gmm_call_record *record)
{
    const gmm_blas_call *c = &record->kept.call;
    const char flags[FLAGS] = {c->type,
                               (char)(c->fortran | c->hidden_result << 1),
                               (char)c->row_major,
                               c->side,
                               c->uplo,
                               c->transpose_a,
                               c->transpose_b,
                               c->diag};

    memcpy(h->magic, magic, sizeof magic);
    h->version = VERSION;
    h->byte_order = BYTE_ORDER_MARK;
    memcpy(h->routine, c->routine->name, strlen(c->routine->name));
    memcpy(h->flags, flags, sizeof flags);
    h->integer_bits = record->kept.integer_bits;
    h->verdict = (int32_t)record->verdict;
    h->m = c->m;
    h->n = c->n;
    h->k = c->k;
    h->kl = c->kl;
    h->ku = c->ku;
    memcpy(h->alpha, c->alpha, sizeof h->alpha);
    memcpy(h->beta, c->beta, sizeof h->beta);
    h->trial = (int64_t)record->trial;
    h->operand = record->operand;
    h->row = record->row;
    h->column = record->column;
    memcpy(h->got, record->expected.got, sizeof h->got);
    memcpy(h->want, record->expected.want, sizeof h->want);
    h->bound = record->expected.bound;
    memcpy(h->detail, record->detail, sizeof h->detail);
    memcpy(h->library, record->library, sizeof h->library);
    memcpy(h->symbol, record->symbol, sizeof h->symbol);
}

bool gmm_call_file_write(int descriptor, gmm_call_record *record)
{
    static const char zeros[HEADER_BYTES];
    const gmm_kept_call *kept = &record->kept;
    int count = gmm_blas_operand_count(&kept->call);
    header h;

    memset(&h, 0, sizeof h);
    fill_header(&h, record);
    h.file_bytes = HEADER_BYTES;
    for (int i = 0; i < count; i++) {
        *operand_of(&h, i) = (header_operand){kept->call.operands[i].step, kept->call.operands[i].offset, h.file_bytes,
                                              (int64_t)kept->bytes[i]};
        record->data_at[i] = h.file_bytes;
        h.file_bytes += rounded((int64_t)kept->bytes[i]);
    }
    uint64_t sum = chain(chain(0, &h, sizeof h), zeros, HEADER_BYTES - sizeof h);
    for (int i = 0; i < count; i++) {
        size_t rest = (size_t)rounded((int64_t)kept->bytes[i]) - kept->bytes[i], part = (8 - kept->bytes[i] % 8) % 8;
        sum = chain(sum, kept->call.operands[i].data, kept->bytes[i]); /* a last, partial word is filled with zeros */
        sum = chain(sum, zeros, rest - part);
    }
    h.checksum = sum;
    bool written = write_all(descriptor, &h, sizeof h) && write_all(descriptor, zeros, HEADER_BYTES - sizeof h);
    for (int i = 0; i < count && written; i++)
        written = write_all(descriptor, kept->call.operands[i].data, kept->bytes[i]) &&
                  write_all(descriptor, zeros, (size_t)rounded((int64_t)kept->bytes[i]) - kept->bytes[i]);
    return written;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static gmm_status read_whole(const char *path, char **bytes, int64_t *size)
{
    struct stat about;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    int64_t got = 0;

    if (descriptor < 0 || fstat(descriptor, &about)) {
        int error = errno;
        if (descriptor >= 0)
            close(descriptor);
        return gmm_fail(GMM_ERR_FILE, "%s: %s", path, strerror(error));
    }
    *size = S_ISREG(about.st_mode) ? (int64_t)about.st_size : 0;
    if (*size < HEADER_BYTES) {
        close(descriptor);
        return gmm_fail(GMM_ERR_MALFORMED, "%s: %" PRId64 " bytes; a .gmmcall file has %d at least", path, *size,
                        HEADER_BYTES);
    }
    *bytes = malloc((size_t)*size);
    while (*bytes && got < *size) {
        ssize_t n = read(descriptor, *bytes + got, (size_t)(*size - got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        got += n;
    }
    close(descriptor);
    if (*bytes && got == *size)
        return GMM_OK;
    bool memory = *bytes != NULL;
    free(*bytes);
    *bytes = NULL;
    return memory ? gmm_fail(GMM_ERR_FILE, "%s: read %" PRId64 " of %" PRId64 " bytes", path, got, *size)
                  : gmm_fail(GMM_ERR_MEMORY, "%s: no memory for %" PRId64 " bytes", path, *size);
}

static gmm_status check_frame(const char *path, header *h, const char *bytes, int64_t size)
{
    if (memcmp(h->magic, magic, sizeof magic))
        return gmm_fail(GMM_ERR_MALFORMED, "%s: not a .gmmcall file", path);
    if (h->byte_order != BYTE_ORDER_MARK)
        return gmm_fail(GMM_ERR_MALFORMED, "%s: written on a machine of another byte order", path);
    if (h->version != VERSION)
        return gmm_fail(GMM_ERR_MALFORMED, "%s: version %" PRIu32 "; this program reads version %d", path, h->version,
                        VERSION);
    if (h->file_bytes != size)
        return gmm_fail(GMM_ERR_MALFORMED, "%s: %" PRId64 " bytes; its header says %" PRId64, path, size,
                        h->file_bytes);
    uint64_t said = h->checksum;
    h->checksum = 0;
    uint64_t sum = chain(chain(0, h, sizeof *h), bytes + sizeof *h, (size_t)size - sizeof *h);
    if (sum != said)
        return gmm_fail(GMM_ERR_MALFORMED, "%s: its checksum is %016" PRIx64 "; its header says %016" PRIx64, path, sum,
                        said);
    return GMM_OK;
}

/* Sizes and steps so large that products of two could overflow are refused: no file of that size exists. */
static bool is_small(int64_t x)
{
    return x > -(INT64_C(1) << 31) && x < INT64_C(1) << 31;
}

static gmm_status check_call(const char *path, header *h, gmm_call_record *record)
{
    gmm_blas_call *c = &record->kept.call;
    const int64_t sizes[] = {h->m, h->n, h->k, h->kl, h->ku};
    char why[128];

    *c = (gmm_blas_call){.type = h->flags[0],
                         .fortran = h->flags[1] != 0,
                         .hidden_result = (h->flags[1] & 2) != 0,
                         .row_major = h->flags[2] != 0,
                         .side = h->flags[3],
                         .uplo = h->flags[4],
                         .transpose_a = h->flags[5],
                         .transpose_b = h->flags[6],
                         .diag = h->flags[7],
                         .m = h->m,
                         .n = h->n,
                         .k = h->k,
                         .kl = h->kl,
                         .ku = h->ku};
    memcpy(c->alpha, h->alpha, sizeof c->alpha);
    memcpy(c->beta, h->beta, sizeof c->beta);
    for (size_t i = 0; gmm_blas_routine_at(i); i++)
        if (h->routine[sizeof h->routine - 1] == 0 && !strcmp(gmm_blas_routine_at(i)->name, h->routine))
            c->routine = gmm_blas_routine_at(i);
    if (!c->routine || !c->type || !strchr(c->routine->types, c->type) || (c->fortran && !c->routine->fortran_void))
        return gmm_fail(GMM_ERR_MALFORMED, "%s: no BLAS routine that is known here", path);
    c->hidden_result &= c->routine->complex_value && c->fortran;
    /* Flags that the routine does not take are those that a call of it has: the reference looks at them. */
    c->side = gmm_blas_has_argument(c->routine, 's') ? c->side : 'L';
    c->uplo = gmm_blas_has_argument(c->routine, 'u') ? c->uplo : 'U';
    c->transpose_a = gmm_blas_has_argument(c->routine, 't') ? c->transpose_a : 'N';
    c->transpose_b = gmm_blas_has_argument(c->routine, 'r') ? c->transpose_b : 'N';
    c->diag = gmm_blas_has_argument(c->routine, 'd') ? c->diag : 'N';
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (!is_small(sizes[i]))
            return gmm_fail(GMM_ERR_MALFORMED, "%s: a size of %" PRId64, path, sizes[i]);
    for (int i = 0; i < GMM_BLAS_OPERANDS; i++) {
        if (!is_small(operand_of(h, i)->step))
            return gmm_fail(GMM_ERR_MALFORMED, "%s: a leading dimension or increment of %" PRId64, path,
                            operand_of(h, i)->step);
        if (operand_of(h, i)->offset < 0 || operand_of(h, i)->offset >= ALIGNMENT)
            return gmm_fail(GMM_ERR_MALFORMED, "%s: an operand at %" PRId64 " from a 64-byte boundary", path,
                            operand_of(h, i)->offset);
        c->operands[i].step = operand_of(h, i)->step;
        c->operands[i].offset = operand_of(h, i)->offset;
    }
    if (!gmm_call_is_legal(c, why, sizeof why))
        return gmm_fail(GMM_ERR_MALFORMED, "%s: %s", path, why);
    if (h->integer_bits != 32 && h->integer_bits != 64)
        return gmm_fail(GMM_ERR_MALFORMED, "%s: integers of %" PRId32 " bits", path, h->integer_bits);
    if (h->verdict <= GMM_GUARD_FINE || h->verdict > GMM_GUARD_HANG)
        return gmm_fail(GMM_ERR_MALFORMED, "%s: verdict %" PRId32, path, h->verdict);
    return GMM_OK;
}

static gmm_status check_operands(const char *path, header *h, gmm_call_record *record, char *bytes)
{
    gmm_blas_call *c = &record->kept.call;
    int64_t at = HEADER_BYTES;

    for (int i = 0; i < gmm_blas_operand_count(c); i++) {
        int64_t extent = gmm_blas_extent(c, i), has = operand_of(h, i)->bytes;
        char name = c->routine->operands[i].name;
        if (extent > h->file_bytes)
            return gmm_fail(GMM_ERR_MALFORMED, "%s: %c has %" PRId64 " elements in a file of %" PRId64 " bytes", path,
                            name, extent, h->file_bytes);
        int64_t want = extent * (int64_t)gmm_blas_element_bytes(c->type);
        if (has != want || operand_of(h, i)->at != at || has > h->file_bytes - at)
            return gmm_fail(GMM_ERR_MALFORMED,
                            "%s: %c has %" PRId64 " bytes at %" PRId64 "; the call has %" PRId64 " at %" PRId64, path,
                            name, has, operand_of(h, i)->at, want, at);
        c->operands[i].data = bytes + at;
        record->kept.bytes[i] = (size_t)has;
        record->data_at[i] = at;
        at += rounded(has);
    }
    if (at != h->file_bytes)
        return gmm_fail(GMM_ERR_MALFORMED, "%s: %" PRId64 " bytes; the call has %" PRId64, path, h->file_bytes, at);
    return GMM_OK;
}

static gmm_status check_finding(const char *path, const header *h, gmm_call_record *record)
{
    const gmm_blas_call *c = &record->kept.call;
    int64_t rows = 1, columns = 1;

    /* It is written into C programs. */
    size_t length = strspn(h->symbol, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
    if (length == 0 || length >= sizeof h->symbol || h->symbol[length])
        return gmm_fail(GMM_ERR_MALFORMED, "%s: its symbol is no name", path);
    if (h->trial < 0 || h->trial >= GMM_TRIALS)
        return gmm_fail(GMM_ERR_MALFORMED, "%s: trial number %" PRId64, path, h->trial);
    if (h->operand >= gmm_blas_operand_count(c) || h->operand < -1)
        return gmm_fail(GMM_ERR_MALFORMED, "%s: operand number %" PRId64, path, h->operand);
    if (h->operand >= 0)
        gmm_blas_stored_shape(c, (int)h->operand, &rows, &columns);
    if (h->row < 0 || h->column < 0 || (h->row >= rows && h->row > 0) || (h->column >= columns && h->column > 0))
        return gmm_fail(GMM_ERR_MALFORMED,
                        "%s: element (%" PRId64 ", %" PRId64 ") of an operand of (%" PRId64 ", %" PRId64 ")", path,
                        h->row, h->column, rows, columns);
    record->trial = (gmm_trial)h->trial;
    record->operand = (int)h->operand;
    record->row = h->row;
    record->column = h->column;
    record->verdict = (gmm_guard_verdict)h->verdict;
    record->kept.integer_bits = h->integer_bits;
    memcpy(record->expected.got, h->got, sizeof h->got);
    memcpy(record->expected.want, h->want, sizeof h->want);
    record->expected.bound = h->bound;
    memcpy(record->detail, h->detail, sizeof h->detail - 1);
    memcpy(record->library, h->library, sizeof h->library - 1);
    memcpy(record->symbol, h->symbol, sizeof h->symbol - 1);
    return GMM_OK;
}

gmm_status gmm_call_file_read(const char *path, gmm_call_record *record, void **memory)
{
    char *bytes = NULL;
    int64_t size;
    header h;

    memset(record, 0, sizeof *record);
    *memory = NULL;
    gmm_status status = read_whole(path, &bytes, &size);
    if (status != GMM_OK)
        return status;
    memcpy(&h, bytes, sizeof h);
    status = check_frame(path, &h, bytes, size);
    if (status == GMM_OK)
        status = check_call(path, &h, record);
    if (status == GMM_OK)
        status = check_operands(path, &h, record, bytes);
    if (status == GMM_OK)
        status = check_finding(path, &h, record);
    if (status == GMM_OK)
        *memory = bytes;
    else
        free(bytes);
    return status;
}
