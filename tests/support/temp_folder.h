/* temp_folder.h - a folder for the files of one test program. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_TEMP_FOLDER_H
#define GMM_TEMP_FOLDER_H

#include <stddef.h>

/* Group set-up and tear-down for cmocka_run_group_tests: make the folder; remove it and the files in it. */
int gmm_temp_folder_make(void **state);
int gmm_temp_folder_remove(void **state);

/* The path of a file in the folder; valid until the eighth next call. */
const char *gmm_temp_path(const char *name);

/* Write a file of these bytes. Returns its path. */
const char *gmm_temp_file(const char *name, const void *bytes, size_t size);

/* Read a whole file into malloc'ed memory. */
unsigned char *gmm_temp_read(const char *path, size_t *size);

/* How many files the folder holds. */
int gmm_temp_count(void);

#endif
