/* ggml_product.c - ggml's mul_mat_id on the CPU, and whole layers of it, for ggml itself and (PEER_IK) for its fork
 * ik_llama.cpp. */
/* SPDX-License-Identifier: MIT */
#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>
#ifndef PEER_IK
#include <ggml-cpu.h>
#endif
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT
#endif

enum {
    MAX_COPIES = 256,
    NODES = 64,
    CACHE_LINE = 64
};

/* The matrices of a layer; a product has the first alone. */
enum {
    GATE,
    UP,
    DOWN,
    MATRICES
};

typedef struct peer_ggml {
    struct ggml_context *context;
    struct ggml_tensor *x, *ids, *slot_weights, *out;
    struct ggml_tensor *weights[MAX_COPIES][MATRICES];
    struct ggml_cgraph *graph[MAX_COPIES];
    struct ggml_cplan plan[MAX_COPIES];
    ggml_gallocr_t results; /* memory of what is computed, the same for all copies */
    void *work;
    int64_t copies;
    int threads, matrices;
#ifdef PEER_IK
    bool repack;
#else
    ggml_backend_buffer_type_t repack[MATRICES];        /* NULL: the weights stay as they are */
    ggml_backend_buffer_t buffer[MAX_COPIES][MATRICES]; /* of repacked weights */
    struct ggml_threadpool *pool;
#endif
} peer_ggml;

EXPORT int peer_ggml_type(const char *name);
EXPORT int64_t peer_ggml_row_bytes(int type, int64_t k);
EXPORT void peer_ggml_quantize(int type, const float *rows, void *out, int64_t n, int64_t k);
EXPORT peer_ggml *peer_ggml_new(int type, int64_t k, int64_t n, int64_t experts, int64_t top_k, int64_t tokens,
                                int threads, int64_t copies, int repack, int layer);
EXPORT int peer_ggml_set_weights(peer_ggml *p, int64_t copy, int matrix, void *data);
EXPORT float *peer_ggml_x(peer_ggml *p);
EXPORT int32_t *peer_ggml_ids(peer_ggml *p);
EXPORT float *peer_ggml_slot_weights(peer_ggml *p);
EXPORT float *peer_ggml_out(peer_ggml *p);
EXPORT int peer_ggml_plan(peer_ggml *p);
EXPORT int peer_ggml_run(peer_ggml *p, int64_t copy);
EXPORT void peer_ggml_free(peer_ggml *p);

#ifdef PEER_IK
/* Not in a public header: src/iqk/iqk_quantize.h. What its run-time repacking (-rtr) calls. */
void iqk_repack_tensor(struct ggml_tensor *tensor);
#endif

/* The number of the type that ggml calls `name`; -1 if this version has none. */
EXPORT int peer_ggml_type(const char *name)
{
    for (int type = 0; type < GGML_TYPE_COUNT; type++) {
        const char *known = ggml_type_name((enum ggml_type)type);
        if (known && strcmp(known, name) == 0)
            return type;
    }
    return -1;
}

EXPORT int64_t peer_ggml_row_bytes(int type, int64_t k)
{
    return (int64_t)ggml_row_size((enum ggml_type)type, k);
}

EXPORT void peer_ggml_quantize(int type, const float *rows, void *out, int64_t n, int64_t k)
{
    ggml_quantize_chunk((enum ggml_type)type, rows, out, 0, n, k, NULL);
}

EXPORT void peer_ggml_free(peer_ggml *p)
{
    if (!p)
        return;
#ifndef PEER_IK
    for (int64_t i = 0; i < p->copies; i++)
        for (int m = 0; m < MATRICES; m++)
            ggml_backend_buffer_free(p->buffer[i][m]);
    if (p->pool)
        ggml_threadpool_free(p->pool);
#endif
    if (p->results)
        ggml_gallocr_free(p->results);
    if (p->context)
        ggml_free(p->context);
    free(p->work);
    free(p);
}

#ifndef PEER_IK
/* The first of the CPU's own buffer types that repacks these weights for mul_mat_id; NULL: none does. */
static ggml_backend_buffer_type_t repacking_type(struct ggml_tensor *weights, struct ggml_tensor *product)
{
    ggml_backend_reg_t reg = ggml_backend_cpu_reg();
    ggml_backend_dev_t device = ggml_backend_reg_dev_get(reg, 0);
    ggml_backend_dev_get_extra_bufts_t extra;

    *(void **)&extra = ggml_backend_reg_get_proc_address(reg, "ggml_backend_dev_get_extra_bufts");
    for (ggml_backend_buffer_type_t *type = extra ? extra(device) : NULL; type && *type; type++) {
        /* As llama.cpp asks: with an empty buffer of that type behind the weights. */
        weights->buffer = ggml_backend_buft_alloc_buffer(*type, 0);
        if (!weights->buffer)
            continue;
        bool repacks = ggml_backend_dev_supports_op(device, product);
        ggml_backend_buffer_free(weights->buffer);
        weights->buffer = NULL;
        if (repacks)
            return *type;
    }
    return NULL;
}
#endif

#ifndef PEER_IK
/* ggml tells of every tensor that it repacks, on standard error. */
static void no_log(enum ggml_log_level level, const char *text, void *user)
{
    (void)level;
    (void)text;
    (void)user;
}
#endif

/* out[hidden, tokens] of a layer: the nodes that llama.cpp's build_moe_ffn makes, and ik_llama.cpp's with its defaults.
 */
static struct ggml_tensor *layer_nodes(peer_ggml *p, struct ggml_tensor **w, struct ggml_cgraph *graph)
{
    struct ggml_context *context = p->context;
#ifdef PEER_IK
    struct ggml_tensor *a = ggml_moe_up_gate(context, w[UP], w[GATE], p->x, p->ids, GGML_UNARY_OP_SILU);
    struct ggml_tensor *sum =
        ggml_mul_multi_add(context, ggml_mul_mat_id(context, w[DOWN], a, p->ids), p->slot_weights);
#else
    struct ggml_tensor *up = ggml_mul_mat_id(context, w[UP], p->x, p->ids);
    struct ggml_tensor *a = ggml_swiglu_split(context, ggml_mul_mat_id(context, w[GATE], p->x, p->ids), up);
    struct ggml_tensor *y = ggml_mul(context, ggml_mul_mat_id(context, w[DOWN], a, p->ids), p->slot_weights);
    struct ggml_tensor *sum = ggml_view_2d(context, y, y->ne[0], y->ne[2], y->nb[2], 0);

    for (int64_t i = 1; i < y->ne[1]; i++)
        sum = ggml_add(context, sum, ggml_view_2d(context, y, y->ne[0], y->ne[2], y->nb[2], (size_t)i * y->nb[1]));
    if (y->ne[1] == 1)
        sum = ggml_cont(context, sum);
#endif
    ggml_build_forward_expand(graph, sum);
    return sum;
}

static void build_graph(peer_ggml *p, int64_t copy, int type, int64_t k, int64_t n, int64_t experts)
{
    struct ggml_tensor **w = p->weights[copy];

    for (int m = 0; m < p->matrices; m++)
        w[m] = ggml_new_tensor_3d(p->context, (enum ggml_type)type, m == DOWN ? n : k, m == DOWN ? k : n, experts);
    p->graph[copy] = ggml_new_graph_custom(p->context, NODES, false);
    if (p->matrices == MATRICES)
        p->out = layer_nodes(p, w, p->graph[copy]);
    else
        ggml_build_forward_expand(p->graph[copy], p->out = ggml_mul_mat_id(p->context, w[0], p->x, p->ids));
    ggml_set_output(p->out);
}

#ifndef PEER_IK
/* False: one of the matrices cannot be repacked. */
static bool find_repacking(peer_ggml *p)
{
    bool found = true;

    for (int i = 0; i < ggml_graph_n_nodes(p->graph[0]); i++) {
        struct ggml_tensor *node = ggml_graph_node(p->graph[0], i);
        for (int m = 0; m < p->matrices; m++)
            if (node->src[0] == p->weights[0][m])
                found = (p->repack[m] = repacking_type(node->src[0], node)) && found;
    }
    return found;
}
#endif

/* out[N, top_k, tokens] = mul_mat_id(weights[K, N, experts], x[K, 1, tokens], ids[top_k, tokens]), or a layer of three
 * such products; one graph for each copy of the weights. NULL: no memory, or nothing repacks this type. */
EXPORT peer_ggml *peer_ggml_new(int type, int64_t k, int64_t n, int64_t experts, int64_t top_k, int64_t tokens,
                                int threads, int64_t copies, int repack, int layer)
{
    peer_ggml *p = copies <= MAX_COPIES ? calloc(1, sizeof *p) : NULL;
    size_t data_bytes = (size_t)(tokens * (k + 2 * top_k) * 4);
    size_t tensors = (size_t)(16 + 2 * top_k) * ggml_tensor_overhead();
    size_t graph_bytes = (size_t)(copies + 1) * (ggml_graph_overhead_custom(NODES, false) + tensors);

    if (!p)
        return NULL;
    p->copies = copies;
    p->threads = threads;
    p->matrices = layer ? MATRICES : 1;
    p->context =
        ggml_init((struct ggml_init_params){.mem_size = data_bytes + graph_bytes + (1 << 16), .no_alloc = false});
    if (!p->context) {
        peer_ggml_free(p);
        return NULL;
    }
    p->x = ggml_new_tensor_3d(p->context, GGML_TYPE_F32, k, 1, tokens);
    p->ids = ggml_new_tensor_2d(p->context, GGML_TYPE_I32, top_k, tokens);
    p->slot_weights = ggml_new_tensor_3d(p->context, GGML_TYPE_F32, 1, top_k, tokens);
    ggml_set_no_alloc(p->context, true);
    for (int64_t i = 0; i < copies; i++)
        build_graph(p, i, type, k, n, experts);
#ifndef PEER_IK
    ggml_log_set(no_log, NULL);
    struct ggml_threadpool_params pool = ggml_threadpool_params_default(threads);
    p->pool = ggml_threadpool_new(&pool);
    if (!p->pool || (repack && !find_repacking(p))) {
        peer_ggml_free(p);
        return NULL;
    }
#else
    p->repack = repack;
#endif
    return p;
}

/* Lets copy number `copy` of a matrix be `data`, which the caller keeps. With repacking ggml copies it into memory of
 * its own, and ik rewrites it where it lies. False: no memory, or not repacked. */
EXPORT int peer_ggml_set_weights(peer_ggml *p, int64_t copy, int matrix, void *data)
{
    struct ggml_tensor *weights = p->weights[copy][matrix];

#ifdef PEER_IK
    enum ggml_type type = weights->type;
    weights->data = data;
    if (p->repack)
        iqk_repack_tensor(weights);
    return (weights->type != type) == p->repack;
#else
    ggml_backend_buffer_type_t repack = p->repack[matrix];
    if (!repack) {
        weights->data = data;
        return 1;
    }
    ggml_backend_buffer_t buffer =
        ggml_backend_buft_alloc_buffer(repack, ggml_backend_buft_get_alloc_size(repack, weights));
    if (!buffer)
        return 0;
    p->buffer[copy][matrix] = buffer;
    ggml_backend_tensor_alloc(buffer, weights, ggml_backend_buffer_get_base(buffer));
    ggml_backend_tensor_set(weights, data, 0, ggml_nbytes(weights));
    return 1;
#endif
}

EXPORT float *peer_ggml_x(peer_ggml *p)
{
    return p->x->data;
}

EXPORT int32_t *peer_ggml_ids(peer_ggml *p)
{
    return p->ids->data;
}

EXPORT float *peer_ggml_slot_weights(peer_ggml *p)
{
    return p->slot_weights->data;
}

/* After peer_ggml_plan. */
EXPORT float *peer_ggml_out(peer_ggml *p)
{
    return p->out->data;
}

/* After all weights are set: the plans, and the memory that they share. False: no memory. */
EXPORT int peer_ggml_plan(peer_ggml *p)
{
    size_t most = CACHE_LINE;

    p->results = ggml_gallocr_new(ggml_backend_cpu_buffer_type());
    for (int64_t i = 0; i < p->copies; i++) {
        /* Graphs of one form get the same places. */
        if (!p->results || !ggml_gallocr_alloc_graph(p->results, p->graph[i]))
            return 0;
#ifdef PEER_IK
        p->plan[i] = ggml_graph_plan(p->graph[i], p->threads);
#else
        p->plan[i] = ggml_graph_plan(p->graph[i], p->threads, p->pool);
#endif
        if (p->plan[i].work_size > most)
            most = p->plan[i].work_size;
    }
    p->work = aligned_alloc(CACHE_LINE, (most + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
    for (int64_t i = 0; i < p->copies; i++)
        p->plan[i].work_data = p->work;
    return p->work != NULL;
}

EXPORT int peer_ggml_run(peer_ggml *p, int64_t copy)
{
    return ggml_graph_compute(p->graph[copy], &p->plan[copy]) == GGML_STATUS_SUCCESS;
}
