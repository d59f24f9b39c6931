/* shard_set.h - the tensors of a safetensors file, or of a directory of shards with its config.json. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_SHARD_SET_H
#define GMM_SHARD_SET_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "gathermm/io.h"

#define INDEX_NAME "model.safetensors.index.json"
#define CONFIG_NAME "config.json"

typedef struct shard {
    char *name; /* of the file, without its directory */
    char *path;
    gmm_safetensors *file;
} shard;

typedef struct entry {
    gmm_tensor tensor;
    size_t shard;
    size_t row_bytes; /* pieces of its data are whole rows; 0: of any size */
    bool stays_dense; /* the model has no quantized form of it */
} entry;

struct progress;

/* Tensors that no file has as they are: where their bytes come from. */
typedef struct tensor_maker {
    void *user;
    /* Whole rows of entry number `index`. EXIT_FINE, or another exit status after a complaint. */
    int (*make)(void *user, size_t index, size_t offset, size_t size_bytes, void *out);
    /* Look at what was written to the folder, before it appears under its name; the same statuses. Reads as many bytes
     * as were made, and counts them. */
    int (*check)(void *user, const char *folder, struct progress *bar);
} tensor_maker;

typedef struct checkpoint {
    char *path;        /* as given, without final slashes */
    char *directory;   /* that holds the shards */
    bool is_directory; /* was a directory given? */
    bool has_index;
    shard *shards; /* in the order of their names */
    size_t shard_count;
    entry *entries; /* shard after shard, in the order of their data */
    size_t count;
    const entry **by_name;
    json_t *config; /* config.json of the directory, or what stands for it in a file's metadata; NULL: none */
    const struct checkpoint *origin; /* of tensors that are made: what they are made from; else NULL */
    const tensor_maker *maker;       /* with origin */
    const char *metadata_format;     /* what files written from it say as "format"; NULL: mlx */
    json_t *packed;                  /* modules that are quantized already, and stay so: their entries; may be NULL */
    char **problems;                 /* what disagrees between shards, or between them and the index */
    size_t problem_count;
} checkpoint;

/* Open a safetensors file, or a directory with model.safetensors.index.json or model*.safetensors files.
 * Returns EXIT_FINE, or another exit status after a complaint, and nothing is to be closed. Disagreements that leave
 * the tensors readable are problems, not failures. */
int checkpoint_open(const char *path, checkpoint *c);

void checkpoint_close(checkpoint *c);

/* Put by_name in order. */
void checkpoint_sort_names(checkpoint *c);

/* The tensor named `stem` with `suffix` appended; NULL if there is none. */
const entry *checkpoint_find(const checkpoint *c, const char *stem, const char *suffix);

/* Note a problem; takes over the text, which comes from must_format. */
void checkpoint_problem(checkpoint *c, char *text);

/* directory/name in memory of its own. */
char *join_path(const char *directory, const char *name);

/* A copy without final slashes. */
char *trim_slashes(const char *path);

/* The directory part of a path and the name in it, in memory of their own; "." when the path has no directory. */
void split_path(const char *path, char **directory, char **name);

/* Does the file begin as npy files do? */
bool is_npy(const char *path);

/* Number of elements of a tensor. */
int64_t tensor_elements(const gmm_tensor *tensor);

/* Does the name end with suffix? */
bool has_suffix(const char *name, const char *suffix);

/* ---- quantized modules ------------------------------------------------------------------------------------------- */

/* X.weight with X.scales beside it. */
typedef struct quantized_module {
    char *name;                            /* X */
    const entry *weight, *scales, *biases; /* biases may be NULL */
} quantized_module;

/* Is this tensor the U32 .weight of a quantized module? Then free(m->name) later. */
bool quantized_module_of(const checkpoint *c, const entry *e, quantized_module *m);

/* The quantization entry of a config: "quantization", else "quantization_config"; NULL if there is neither. */
json_t *quantization_entry(const json_t *config);

/* The format that a quantization entry gives a module, its own override included: 0 or NULL for what it does not say.
 * False when the entry says that the module is not quantized. */
bool module_format(const json_t *quantization, const char *module, const char **mode, int32_t *bits,
                   int32_t *group_size);

#endif
