/* fuzz_gmmcall.c - fuzz target: any bytes as a .gmmcall file; what opens can be described and made into a program. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "fuzz_file.h"
#include "gathermm/guard.h"

enum {
    HEADER_BYTES = 2048,
    FIXED_BYTES = 16, /* before the checksum */
    CHOSEN_AT = 32,
    CHOSEN_BYTES = 1104, /* the rest of the header's fields */
    MOST_BYTES = 1 << 16
};

/* The checksum of src/blas/call_file.c. */
static uint64_t chain(uint64_t sum, const unsigned char *bytes, size_t size)
{
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = 0;
        memcpy(&word, bytes + at, size - at < 8 ? size - at : 8);
        sum = (sum ^ word) * 0x9E3779B97F4A7C15;
        sum ^= sum >> 32;
    }
    return sum;
}

/* The first byte chooses: 0, the rest is the file; else the rest are the fields of a header with its true size and
 * checksum, and the operands. */
static const char *make_file(const uint8_t *data, size_t size)
{
    static const unsigned char fixed[FIXED_BYTES] = "GMMCALL\0\1\0\0\0\4\3\2\1";
    unsigned char header[HEADER_BYTES] = {0};

    if (size == 0 || data[0] == 0)
        return fuzz_file_write("in", NULL, 0, size ? data + 1 : NULL, size ? size - 1 : 0);
    size_t chosen = size - 1 < CHOSEN_BYTES ? size - 1 : CHOSEN_BYTES, rest = size - 1 - chosen;
    uint64_t file_bytes = HEADER_BYTES + rest;
    memcpy(header, fixed, FIXED_BYTES);
    memcpy(header + 24, &file_bytes, sizeof file_bytes);
    memcpy(header + CHOSEN_AT, data + 1, chosen);
    uint64_t sum = chain(chain(0, header, HEADER_BYTES), data + 1 + chosen, rest);
    memcpy(header + FIXED_BYTES, &sum, sizeof sum);
    return fuzz_file_write("in", header, HEADER_BYTES, data + 1 + chosen, rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MOST_BYTES)
        return 0;
    const char *path = make_file(data, size), *text = NULL;
    gmm_replay *replay = NULL;
    gmm_replay_info info;

    gmm_status status = gmm_replay_open(path, &replay);
    if (status != GMM_OK) {
        FUZZ_REQUIRE(status == GMM_ERR_MALFORMED && !replay, "status %d", (int)status);
        FUZZ_REQUIRE(strstr(gmm_error_detail(), path), "the file is not named: %s", gmm_error_detail());
        return 0;
    }
    gmm_replay_describe(replay, &info);
    FUZZ_REQUIRE(info.operand_bytes >= 0 && (uint64_t)info.operand_bytes <= size, "%lld bytes of operands",
                 (long long)info.operand_bytes);
    FUZZ_REQUIRE(*gmm_guard_verdict_text(info.verdict), "verdict %d", (int)info.verdict);
    status = gmm_replay_program(replay, &text);
    FUZZ_REQUIRE(status == GMM_OK ? text != NULL : status == GMM_ERR_ARGUMENT, "status %d", (int)status);
    gmm_replay_close(replay);
    return 0;
}
