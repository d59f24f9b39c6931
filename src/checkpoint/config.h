/* config.h - config.json: checked numbers and words, and the formats that it gives to modules. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CONFIG_H
#define GMM_CONFIG_H

#include <jansson.h>

#include "gathermm/gathermm.h"

/* No model has a size near it, and a product of two stays in 64 bits. */
#define GMM_CONFIG_MAX_SIZE INT32_MAX

/* More layers than any model has. What is done for each stays affordable, whatever a file says. */
#define GMM_CONFIG_MAX_LAYERS 4096

typedef struct gmm_config {
    char *path;
    json_t *root;
    json_t *quantization; /* borrowed from root; NULL: nothing is quantized */
    bool is_mlx;          /* "quantization", by mlx-lm; else "quantization_config" */
} gmm_config;

/* Load config.json of the folder. To be closed in any case. GMM_OK; GMM_ERR_FILE; GMM_ERR_MALFORMED; GMM_ERR_MEMORY. */
gmm_status gmm_config_open(const char *directory, gmm_config *config);

void gmm_config_close(gmm_config *config);

/* Each gives GMM_OK or GMM_ERR_MALFORMED. A member that is null is as one that is not there. */

/* A member that must be there: an integer from `least` to `most`. */
gmm_status gmm_config_integer(const gmm_config *config, const char *key, int64_t least, int64_t most, int64_t *value);

/* The same, but *value stays as it is where there is none. */
gmm_status gmm_config_optional(const gmm_config *config, const char *key, int64_t least, int64_t most, int64_t *value);

/* A finite number above 0; *value stays as it is where there is none. */
gmm_status gmm_config_number(const gmm_config *config, const char *key, float *value);

/* true or false; *value stays as it is where there is none. */
gmm_status gmm_config_flag(const gmm_config *config, const char *key, bool *value);

/* A string; *value stays as it is where there is none. It borrows from the config. */
gmm_status gmm_config_word(const gmm_config *config, const char *key, const char **value);

/* A list of numbers of layers; does it hold `wanted`? Where there is none: no. */
gmm_status gmm_config_list_has(const gmm_config *config, const char *key, int64_t wanted, bool *found);

/* What the quantization entry says of a module: its own override, or the entry itself. */
typedef struct gmm_module_format {
    const char *mode;         /* NULL: affine */
    int32_t bits, group_size; /* 0: the mode's default */
} gmm_module_format;

gmm_status gmm_config_module(const gmm_config *config, const char *module, gmm_module_format *format);

/* The block of fp8 scales, rows and columns: weight_block_size of quantization_config, else 128 x 128. */
gmm_status gmm_config_fp8_block(const gmm_config *config, int64_t block[2]);

#endif
