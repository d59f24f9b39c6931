/* fuzz_file.h - a fuzzer's bytes as a file, in memory where the system has a file system for that. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_FUZZ_FILE_H
#define GMM_FUZZ_FILE_H

#include "fuzz_input.h"

/* Write `head` and `rest` to the process's file with this suffix. Returns its path, which is removed when the process
 * ends. */
const char *fuzz_file_write(const char *suffix, const void *head, size_t head_size, const void *rest, size_t rest_size);

/* The path of the process's file with this suffix, a literal. */
const char *fuzz_file_path(const char *suffix);

/* Read every byte, so that a mapping that is too short is noticed. */
uint64_t fuzz_file_touch(const void *data, size_t size);

#endif
