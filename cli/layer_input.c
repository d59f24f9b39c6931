/* layer_input.c - hidden states for a layer: from an npy file, or drawn to look like what comes out of its norm. */
/* SPDX-License-Identifier: MIT */
#include <glob.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cast.h"
#include "command.h"
#include "gathermm/io.h"
#include "layer.h"
#include "output.h"
#include "shard_set.h"

/* ---- from a file ------------------------------------------------------------------------------------------------- */

static void copy_rows(layer_input *input, const gmm_array *array)
{
    size_t bytes = (size_t)gmm_dtype_bits(array->dtype) / 8;
    int64_t across = array->strides ? array->strides[1] : 1, down = array->strides ? array->strides[0] : input->hidden;

    for (int64_t r = 0; r < input->rows; r++)
        for (int64_t h = 0; h < input->hidden; h++)
            cast_elements((const char *)array->data + array->byte_offset + (r * down + h * across) * (int64_t)bytes,
                          array->dtype, input->values + r * input->hidden + h, GMM_F32, 1);
}

int layer_input_read(layer_input *input, const char *path)
{
    gmm_npy *file;
    gmm_array array;
    gmm_status status = gmm_npy_open(path, &file);

    if (status)
        return complain_status(status);
    gmm_npy_array(file, &array);
    char *shape = shape_text(array.shape, array.ndim), *shown = escape_text(path);
    int answer = EXIT_COULD_NOT_RUN;
    if (!is_floating(array.dtype))
        complain("%s: it holds %s; hidden states may be F32, F16 or BF16", shown, gmm_dtype_name(array.dtype));
    else if (array.ndim != 2)
        complain("%s: its shape is %s; hidden states are (tokens, hidden)", shown, shape);
    else if (array.shape[0] < 1 || array.shape[1] < 1)
        complain("%s: its shape is %s; there is no token", shown, shape);
    else
        answer = EXIT_FINE;
    if (answer == EXIT_FINE) {
        *input = (layer_input){.rows = array.shape[0], .hidden = array.shape[1]};
        input->values = must_allocate((size_t)(input->rows * input->hidden), sizeof *input->values);
        copy_rows(input, &array);
    }
    free(shape);
    free(shown);
    gmm_npy_close(file);
    return answer;
}

/* ---- drawn ------------------------------------------------------------------------------------------------------- */

/* Multiply columns by the norm's weights if the file has them. */
static bool scale_from(const char *path, const char *name, layer_input *input)
{
    gmm_safetensors *file;
    gmm_tensor tensor;
    bool found;

    if (gmm_safetensors_open(path, &file))
        return false;
    found = gmm_safetensors_find(file, name, &tensor) && is_floating(tensor.dtype) && tensor.ndim == 1 &&
            tensor.shape[0] == input->hidden;
    for (int64_t h = 0; found && h < input->hidden; h++) {
        float weight;
        cast_elements((const char *)tensor.data + h * gmm_dtype_bits(tensor.dtype) / 8, tensor.dtype, &weight, GMM_F32,
                      1);
        for (int64_t r = 0; isfinite(weight) && r < input->rows; r++)
            input->values[r * input->hidden + h] *= weight;
    }
    gmm_safetensors_close(file);
    return found;
}

/* The norm is looked for in all files beside the checkpoint's; without one the numbers stay as they are. */
static void scale_by_norm(const char *path, int64_t number, layer_input *input)
{
    struct stat about;
    char *directory = NULL, *file = NULL;
    glob_t files = {0};

    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
        directory = trim_slashes(path);
    else
        split_path(path, &directory, &file);
    char *name = must_format("model.layers.%" PRId64 ".post_attention_layernorm.weight", number);
    char *pattern = must_format("%s/*.safetensors", directory);
    bool found = false;
    if (glob(pattern, 0, NULL, &files) == 0)
        for (size_t i = 0; !found && i < files.gl_pathc; i++)
            found = scale_from(files.gl_pathv[i], name, input);
    globfree(&files);
    free(pattern);
    free(name);
    free(file);
    free(directory);
}

/* In (0, 1]. */
static double uniform(uint64_t *state)
{
    return (double)((bench_random(state) >> 11) + 1) * 0x1p-53;
}

void layer_input_draw(layer_input *input, const char *path, int64_t number, int64_t rows, int64_t hidden, uint64_t seed)
{
    uint64_t state = seed + (uint64_t)number * 0x9E3779B97F4A7C15;

    *input = (layer_input){.rows = rows, .hidden = hidden};
    input->values = must_allocate((size_t)(rows * hidden), sizeof *input->values);
    for (int64_t r = 0; r < rows; r++) {
        float *row = input->values + r * hidden;
        double sum = 0;
        for (int64_t h = 0; h < hidden; h++) {
            double length = sqrt(-2 * log(uniform(&state)));
            row[h] = (float)(length * cos(6.283185307179586 * uniform(&state)));
            sum += (double)row[h] * (double)row[h];
        }
        for (int64_t h = 0; h < hidden && sum > 0; h++)
            row[h] *= (float)sqrt((double)hidden / sum);
    }
    scale_by_norm(path, number, input);
}
