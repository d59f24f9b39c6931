/* conversion_mla.c - the up-projection of latent attention, which mlx-lm cuts in two: kv_b_proj. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"
#include "checkpoint/conversion_output.h"

/* kv_b_proj has `heads` times `nope` rows for keys and then `values` rows, of `rank` inputs. mlx-lm has the former as
 * embed_q (heads, rank, nope), which is each head's part transposed, and the latter as unembed_out (heads, values,
 * rank). */
typedef struct sizes {
    int64_t heads, nope, values, rank;
} sizes;

static gmm_status read_sizes(const gmm_config *config, sizes *s)
{
    gmm_status status;

    if ((status = gmm_config_integer(config, "num_attention_heads", 1, 1 << 16, &s->heads)) != GMM_OK ||
        (status = gmm_config_integer(config, "qk_nope_head_dim", 1, 1 << 16, &s->nope)) != GMM_OK ||
        (status = gmm_config_integer(config, "v_head_dim", 1, 1 << 16, &s->values)) != GMM_OK)
        return status;
    return gmm_config_integer(config, "kv_lora_rank", 1, GMM_CONFIG_MAX_SIZE, &s->rank);
}

static gmm_conversion_kind kind_of(const gmm_module *module)
{
    return gmm_module_is_coded(module) ? GMM_CONVERSION_DECODED : GMM_CONVERSION_REARRANGED;
}

static gmm_status cut(gmm_conversion *c, const sizes *s, const gmm_source *from, const char *prefix)
{
    const gmm_module *module = from->modules;
    gmm_matrix_view whole = gmm_view_matrix(from, module, 0);
    gmm_dtype dtype = gmm_module_dtype(module);

    gmm_output *keys = gmm_output_add(c, kind_of(module), dtype, s->nope, (size_t)s->heads, "%sembed_q.weight", prefix);
    gmm_output *values =
        keys ? gmm_output_add(c, kind_of(module), dtype, s->rank, (size_t)s->heads, "%sunembed_out.weight", prefix)
             : NULL;
    if (!values)
        return gmm_conversion_no_memory(c);
    for (int64_t h = 0; h < s->heads; h++) {
        int64_t first = h * (s->nope + s->values);
        keys->pieces[h] =
            (gmm_piece){.rows = s->rank, .ways = 1, .transposed = true, .views = {gmm_view_from(whole, first)}};
        values->pieces[h] = (gmm_piece){.rows = s->values, .ways = 1, .views = {gmm_view_from(whole, first + s->nope)}};
    }
    gmm_conversion_use_module(c, module);
    gmm_status status = gmm_output_shape(keys, 3, (const int64_t[]){s->heads, s->rank, s->nope});
    return status == GMM_OK ? gmm_output_shape(values, 3, (const int64_t[]){s->heads, s->values, s->rank}) : status;
}

static gmm_status join(gmm_conversion *c, const sizes *s, const gmm_source *keys, const gmm_source *values,
                       const char *prefix)
{
    const gmm_module *k = keys->modules, *v = values->modules;
    gmm_dtype dtype = gmm_module_dtype(k);
    int64_t rows = s->heads * (s->nope + s->values);

    if (dtype != gmm_module_dtype(v))
        return gmm_fail(GMM_ERR_FORMAT, "%s and %s have different types, so they cannot be one tensor", keys->name,
                        values->name);
    gmm_output *out = gmm_output_add(c, kind_of(k) == GMM_CONVERSION_DECODED ? kind_of(k) : kind_of(v), dtype, s->rank,
                                     2 * (size_t)s->heads, "%skv_b_proj.weight", prefix);
    if (!out)
        return gmm_conversion_no_memory(c);
    for (int64_t h = 0; h < s->heads; h++) {
        out->pieces[2 * h] =
            (gmm_piece){.rows = s->nope, .ways = 1, .transposed = true, .views = {gmm_view_matrix(keys, k, h)}};
        out->pieces[2 * h + 1] = (gmm_piece){.rows = s->values, .ways = 1, .views = {gmm_view_matrix(values, v, h)}};
    }
    gmm_conversion_use_module(c, k);
    gmm_conversion_use_module(c, v);
    return gmm_output_shape(out, 2, (const int64_t[]){rows, s->rank});
}

static gmm_status convert_layer(gmm_conversion *c, const gmm_finder *finder, const char *prefix)
{
    gmm_source first = {0}, second = {0};
    sizes s = {0};

    if (!gmm_find_is(finder, "%s%s.weight", prefix, c->to_mlx ? "kv_b_proj" : "embed_q"))
        return GMM_OK;
    gmm_status status = read_sizes(finder->config, &s);
    if (status == GMM_OK && c->to_mlx) {
        status = gmm_find_module(finder, 0, s.heads * (s.nope + s.values), s.rank, &first, "%skv_b_proj", prefix);
        if (status == GMM_OK)
            status = cut(c, &s, &first, prefix);
    } else if (status == GMM_OK) {
        status = gmm_find_module(finder, s.heads, s.rank, s.nope, &first, "%sembed_q", prefix);
        if (status == GMM_OK)
            status = gmm_find_module(finder, s.heads, s.values, s.rank, &second, "%sunembed_out", prefix);
        if (status == GMM_OK)
            status = join(c, &s, &first, &second, prefix);
    }
    gmm_source_free(&first);
    gmm_source_free(&second);
    return status;
}

gmm_status gmm_conversion_mla(gmm_conversion *c)
{
    const gmm_finder finder = {&c->checkpoint->set, &c->checkpoint->config};
    int64_t layers = 0;
    char prefix[80];

    gmm_status status = gmm_config_integer(finder.config, "num_hidden_layers", 1, GMM_CONFIG_MAX_LAYERS, &layers);
    for (int64_t l = 0; status == GMM_OK && l < layers; l++)
        status = convert_layer(c, &finder, gmm_family_prefix(l, "self_attn.", prefix, sizeof prefix));
    return status;
}
