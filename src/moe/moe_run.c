/* moe_run.c - see moe_run.h: pairs of token and slot, sorted by expert, go through the projections in parts.
 * SPDX-License-Identifier: MIT
 *
 * A part is so many pairs that what lies between the projections stays in a cache; it holds whole experts if they fit,
 * so that their weights are read once. All threads share each of its products. Where there are pairs enough each thread
 * takes parts of its own instead, pieces: so what lies between the projections stays in its own cache, and nobody waits
 * for the others after each product. Results of the down projection wait until all pairs of their token are done: the
 * sum over slots has an order. No cut changes a result: products are rows', and all else is elements'. */
#include "moe/moe_run.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/context.h"
#include "base/error.h"
#include "core/call.h"
#include "cpu/cpu.h"
#include "formats/convert.h"
#include "kernels/exponential.h"
#include "moe/moe_route.h"
#include "threads/parallel.h"

enum {
    BLOCK = GMM_MOE_BLOCK,
    /* Bytes between gate and down, for each thread: as much as second-level caches hold. But an expert's weights are
     * read again for each part of its pairs, and fewer rows would not repay that, nor give all threads work. */
    HIDDEN_BYTES = 4 << 20,
    LEAST_ROWS = 128,
    /* Pieces save what lies between the projections the way through memory. With more operations for each of its
     * numbers that is not worth what sharing each product saves: waiting at the end. */
    MOST_PIECE_HIDDEN = 2048,
    /* Rows of a piece: smaller ones read weights more often, larger ones leave threads without work at the end; there,
     * they shrink. */
    MOST_PIECE_ROWS = 128,
    LEAST_PIECE_ROWS = 32,
    /* So many pieces of MOST_PIECE_ROWS at least, and one for so much of the hidden size: with fewer, sharing each
     * product is more even. */
    PIECES_PER_THREAD = 4,
    HIDDEN_PER_PIECE = 256,
    /* Bytes of results that wait for their sum: a block of tokens. */
    RESULT_BYTES = 128 << 20,
    ROUTED_TOKENS = 512,
    /* Elements below which waking another thread costs more than it brings. */
    ELEMENTS_PER_TASK = 1 << 14,
};

typedef struct moe_job {
    const gmm_context *context;
    gmm_arena *arena; /* of a worker's products; NULL: all threads share them */
    const gmm_moe_model *model;
    const gmm_moe_sizes *sizes;
    const gmm_moe_call *call;
    const gmm_kernel *activation;
    gmm_moe_scratch scratch;
    int64_t first, tokens; /* the block */
    int64_t done, total;
} moe_job;

static int64_t minimum(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- scratch ---- */

typedef struct carver {
    char *memory; /* NULL: only count */
    int64_t used; /* -1: more than 63 bits */
} carver;

static void *carve(carver *c, int64_t count, int64_t each, int64_t size)
{
    int64_t bytes, at = c->used;

    if (c->used < 0 || gmm_mul_overflows(count, each, &bytes) || gmm_mul_overflows(bytes, size, &bytes) ||
        gmm_add_overflows(bytes, 63, &bytes) || gmm_add_overflows(bytes / 64 * 64, at, &c->used)) {
        c->used = -1;
        return NULL;
    }
    return c->memory ? c->memory + at : NULL;
}

static int64_t lay_out(const gmm_moe_model *model, const gmm_moe_sizes *sizes, char *memory, gmm_moe_scratch *s)
{
    carver c = {.memory = memory};
    int64_t hidden = sizes->rows * model->experts.width, shared = sizes->shared_rows * model->shared.width;
    bool has_shared = model->shared.down.weights != NULL;

    s->ids = carve(&c, sizes->tokens, sizes->slots, sizeof *s->ids);
    s->weights = carve(&c, sizes->tokens, sizes->slots, sizeof *s->weights);
    s->logits = carve(&c, sizes->logit_tokens, model->count, sizeof *s->logits);
    s->routing = carve(&c, sizes->logit_tokens ? gmm_routing_scratch(sizes->tasks, model->count) : 0, 1, 1);
    s->starts = carve(&c, model->count + 1, 1, sizeof *s->starts);
    s->token = carve(&c, sizes->block, sizes->slots, sizeof *s->token);
    s->expert = carve(&c, sizes->block, sizes->slots, sizeof *s->expert);
    s->place = carve(&c, sizes->block, sizes->slots, sizeof *s->place);
    s->hidden = carve(&c, hidden > shared ? hidden : shared, 1, sizeof *s->hidden);
    s->results = carve(&c, sizes->block * sizes->slots, model->hidden, sizeof *s->results);
    s->shared = carve(&c, has_shared ? sizes->block : 0, model->hidden, sizeof *s->shared);
    s->of_shared = carve(&c, has_shared ? sizes->block : 0, 1, sizeof *s->of_shared);
    s->arenas = carve(&c, sizes->tasks, 1, sizeof(gmm_arena *));
    return c.used;
}

/* Rows of `width` floats in a part, of at most `most`. */
static int64_t part_rows(int64_t width, int64_t threads, int64_t most)
{
    int64_t rows = HIDDEN_BYTES / (int64_t)sizeof(float) / (width > 0 ? width : 1);

    return minimum((rows < LEAST_ROWS ? LEAST_ROWS : rows) * threads, most);
}

int64_t gmm_moe_plan_sizes(const gmm_context *context, const gmm_moe_model *model, int64_t tokens, int64_t slots,
                           gmm_moe_sizes *sizes)
{
    gmm_moe_scratch unused;
    int64_t per_token, pairs, bytes;

    if (gmm_mul_overflows(slots + 1, model->hidden + 1, &per_token) || gmm_mul_overflows(per_token, 4, &per_token))
        return -1;
    *sizes = (gmm_moe_sizes){.tokens = tokens, .slots = slots, .tasks = gmm_context_threads(context)};
    sizes->block = RESULT_BYTES / per_token;
    sizes->block = minimum(sizes->block < 1 ? 1 : sizes->block, tokens);
    if (gmm_mul_overflows(sizes->block, slots, &pairs))
        return -1;
    sizes->rows = part_rows(model->experts.width, sizes->tasks, pairs);
    sizes->shared_rows = model->shared.down.weights ? part_rows(model->shared.width, sizes->tasks, sizes->block) : 0;
    if (gmm_mul_overflows(sizes->rows, model->experts.width, &bytes) ||
        gmm_mul_overflows(sizes->shared_rows, model->shared.width, &bytes))
        return -1;
    if (model->router.weights)
        sizes->logit_tokens = minimum(ROUTED_TOKENS, tokens);
    return lay_out(model, sizes, NULL, &unused);
}

int64_t gmm_moe_piece_rows(const gmm_context *context, const gmm_moe_model *model, const gmm_moe_sizes *sizes,
                           int64_t pairs)
{
    int64_t rows = minimum(sizes->rows / sizes->tasks, MOST_PIECE_ROWS);
    bool in_cache = rows * model->experts.width * (int64_t)sizeof(float) <= HIDDEN_BYTES;
    int64_t pieces = model->hidden / HIDDEN_PER_PIECE;
    int64_t least = pieces < PIECES_PER_THREAD ? PIECES_PER_THREAD : pieces;
    bool pays = model->hidden <= MOST_PIECE_HIDDEN && in_cache && pairs / sizes->tasks >= least * rows;
    bool blas = context && context->provider; /* it has threads of its own */

    return sizes->tasks > 1 && pays && !blas ? rows : 0;
}

/* ---- the arguments ---- */

static gmm_status expect_matrix(const gmm_view *view, const char *name, int64_t rows, int64_t columns)
{
    char text[128];

    if (view->ndim == 2 && view->shape[0] == rows && view->shape[1] == columns)
        return GMM_OK;
    return gmm_fail(GMM_ERR_SHAPE, "%s is %s; it must be (%" PRId64 ", %" PRId64 ")", name,
                    gmm_shape_text(view->shape, view->ndim, text, sizeof text), rows, columns);
}

static gmm_status take_floats(const gmm_array *array, const char *name, gmm_view *view)
{
    gmm_status status = gmm_view_make(array, name, view);

    if (status)
        return status;
    if (!gmm_is_float(view->dtype))
        return gmm_fail(GMM_ERR_DTYPE, "%s is %s; it may be f32, f16 or bf16", name, gmm_dtype_name(view->dtype));
    if (view->ndim != 2)
        return gmm_fail(GMM_ERR_SHAPE, "%s has %" PRId32 " axes; it must have 2", name, view->ndim);
    return GMM_OK;
}

static gmm_status take_slots(const gmm_moe_model *model, const gmm_array *ids, const gmm_array *weights,
                             gmm_moe_call *call)
{
    gmm_status status;

    call->given = ids || weights;
    if (!call->given) {
        if (!model->routed || !model->router.weights)
            return gmm_fail(GMM_ERR_NULL, "ids and weights are NULL, and the layer has no %s",
                            model->routed ? "router" : "routing");
        call->slots = model->routing.top_k;
        return GMM_OK;
    }
    if (!ids || !weights)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL but %s is not", ids ? "weights" : "ids", ids ? "ids" : "weights");
    if ((status = gmm_view_make(ids, "ids", &call->ids)) || (status = take_floats(weights, "weights", &call->weights)))
        return status;
    if (!gmm_is_integer(call->ids.dtype))
        return gmm_fail(GMM_ERR_DTYPE, "ids are %s; they are integers", gmm_dtype_name(call->ids.dtype));
    call->slots = call->weights.shape[1];
    if ((status = expect_matrix(&call->weights, "weights", call->tokens, call->slots)))
        return status;
    return expect_matrix(&call->ids, "ids", call->tokens, call->slots);
}

gmm_status gmm_moe_call_check(const gmm_moe_model *model, const gmm_array *x, const gmm_array *ids,
                              const gmm_array *weights, const gmm_array *out, gmm_moe_call *call)
{
    gmm_status status;

    if ((status = take_floats(x, "x", &call->x)))
        return status;
    call->tokens = call->x.shape[0];
    if ((status = expect_matrix(&call->x, "x", call->tokens, model->hidden)) ||
        (status = take_slots(model, ids, weights, call)) || (status = take_floats(out, "out", &call->out)) ||
        (status = expect_matrix(&call->out, "out", call->tokens, model->hidden)) ||
        (status = gmm_view_check_writable(&call->out, "out")) ||
        (status = gmm_views_check_apart(&call->out, "out", &call->x, "x")) ||
        (status = gmm_moe_check_apart(model, &call->out)))
        return status;
    if (call->given && ((status = gmm_views_check_apart(&call->out, "out", &call->ids, "ids")) ||
                        (status = gmm_views_check_apart(&call->out, "out", &call->weights, "weights"))))
        return status;
    return GMM_OK;
}

/* ---- products ---- */

/* Rows of a product and where they come from. */
typedef struct moe_rows {
    gmm_array lhs; /* (count or tokens, 1, K) */
    int64_t lhs_shape[3], lhs_strides[3];
    const int64_t *token, *expert; /* of each row; NULL: the rows of lhs, and one matrix */
    int64_t count;
} moe_rows;

/* Rows of x, from token number `first` on. */
static void rows_of_x(const moe_job *job, int64_t first, int64_t count, moe_rows *rows)
{
    const gmm_view *x = &job->call->x;

    *rows = (moe_rows){.lhs = {.data = gmm_view_at(x, first * x->strides[0]), .dtype = x->dtype, .ndim = 3},
                       .lhs_shape = {count, 1, x->shape[1]},
                       .lhs_strides = {x->strides[0], 0, x->strides[1]},
                       .count = count};
    rows->lhs.shape = rows->lhs_shape;
    rows->lhs.strides = rows->lhs_strides;
}

static void rows_of_hidden(const moe_job *job, const gmm_moe_mlp *mlp, int64_t count, moe_rows *rows)
{
    *rows = (moe_rows){.lhs = {.data = job->scratch.hidden, .dtype = GMM_F32, .ndim = 3},
                       .lhs_shape = {count, 1, mlp->inner},
                       .lhs_strides = {mlp->width, 0, 1},
                       .count = count};
    rows->lhs.shape = rows->lhs_shape;
    rows->lhs.strides = rows->lhs_strides;
}

/* out (rows, n), `stride` floats from row to row. */
static gmm_status multiply(const moe_job *job, const gmm_moe_stack *stack, const moe_rows *rows, float *out,
                           int64_t stride)
{
    const int64_t shape[] = {rows->count, 1, stack->n}, strides[] = {stride, 0, 1};
    gmm_array token = {.data = (void *)(uintptr_t)rows->token, .dtype = GMM_I64, .ndim = 1, .shape = shape};
    gmm_array expert = {.data = (void *)(uintptr_t)rows->expert, .dtype = GMM_I64, .ndim = 1, .shape = shape};
    gmm_array result = {.data = out, .dtype = GMM_F32, .ndim = 3, .shape = shape, .strides = strides};
    gmm_moe_operand operand;

    gmm_moe_operand_make(stack, rows->expert ? rows->expert[0] : 0, &operand);
    operand.product.lhs = &rows->lhs;
    operand.product.lhs_indices = rows->token ? &token : NULL;
    operand.product.rhs_indices = rows->expert && !stack->weights->each ? &expert : NULL;
    if (job->arena)
        return gmm_run_in(job->context, job->arena, &operand.product, &result);
    return gmm_run(job->context, &operand.product, &result);
}

/* ---- elements ---- */

/* Rows that threads take in tasks. */
typedef struct row_job {
    const moe_job *job;
    const gmm_moe_mlp *mlp;
    const gmm_moe_stack *stack; /* whose bias is added */
    const int64_t *expert;      /* of each row; NULL: 0 */
    float *rows;
    int64_t count, length, per_task;
    void (*body)(const struct row_job *job, int64_t begin, int64_t end);
} row_job;

static void row_task(void *arg, int64_t task)
{
    const row_job *job = arg;
    int64_t begin = task * job->per_task;

    job->body(job, begin, minimum(begin + job->per_task, job->count));
}

static void for_rows(row_job *job)
{
    job->per_task = ELEMENTS_PER_TASK / (job->length > 0 ? job->length : 1) + 1;
    gmm_parallel(job->job->context, (job->count + job->per_task - 1) / job->per_task, row_task, job);
}

/* One row between the projections, in place: the result is as long as gate, and lies at the row's beginning. */
static void activate_row(const row_job *job, const gmm_moe_bias *gate, const gmm_moe_bias *up, float *row)
{
    const gmm_moe_mlp *mlp = job->mlp;
    const gmm_moe_layer *layer = &job->job->model->layer;
    int64_t step = mlp->interleaved ? 2 : 1, up_from = !mlp->gated ? 0 : mlp->interleaved ? 1 : mlp->inner;
    int64_t up_bias_from = mlp->gate_up.weights ? up_from : 0;
    float g[BLOCK], u[BLOCK], out[BLOCK];

    for (int64_t i = 0; i < mlp->inner; i += BLOCK) {
        int64_t count = minimum(BLOCK, mlp->inner - i);
        for (int64_t j = 0; j < count; j++) {
            g[j] = row[(i + j) * step];
            u[j] = mlp->gated ? row[up_from + (i + j) * step] : 1.0f;
        }
        gmm_moe_bias_add(gate, i * step, step, count, g);
        if (mlp->gated)
            gmm_moe_bias_add(up, up_bias_from + i * step, step, count, u);
        job->job->activation->activate(&(gmm_activate){.activation = layer->activation,
                                                       .alpha = layer->alpha,
                                                       .limit = layer->limit,
                                                       .gate = g,
                                                       .up = u,
                                                       .out = out,
                                                       .count = count});
        memcpy(row + i, out, (size_t)count * sizeof *row);
    }
}

static void activate_rows(const row_job *job, int64_t begin, int64_t end)
{
    const gmm_moe_mlp *mlp = job->mlp;
    const gmm_moe_stack *gate = mlp->gate_up.weights ? &mlp->gate_up : mlp->gate.weights ? &mlp->gate : &mlp->up;
    const gmm_moe_stack *up = mlp->gate_up.weights ? &mlp->gate_up : &mlp->up;
    gmm_moe_bias of_gate = {0}, of_up = {0};

    for (int64_t r = begin; r < end; r++) {
        if (r == begin || (job->expert && job->expert[r] != job->expert[r - 1])) {
            of_gate = gmm_moe_bias_of(gate, job->expert ? job->expert[r] : 0);
            of_up = gmm_moe_bias_of(up, job->expert ? job->expert[r] : 0);
        }
        activate_row(job, &of_gate, &of_up, job->rows + r * mlp->width);
    }
}

static void add_bias_rows(const row_job *job, int64_t begin, int64_t end)
{
    gmm_moe_bias bias = {0};

    for (int64_t r = begin; r < end; r++) {
        if (r == begin || (job->expert && job->expert[r] != job->expert[r - 1]))
            bias = gmm_moe_bias_of(job->stack, job->expert ? job->expert[r] : 0);
        for (int64_t i = 0; i < job->length; i += BLOCK)
            gmm_moe_bias_add(&bias, i, 1, minimum(BLOCK, job->length - i), job->rows + r * job->length + i);
    }
}

/* Add a linear bias to rows of results, if there is one. */
static void add_bias(const moe_job *job, const gmm_moe_stack *stack, const moe_rows *rows, float *results)
{
    row_job all = {.job = job,
                   .stack = stack,
                   .expert = rows->expert,
                   .rows = results,
                   .count = rows->count,
                   .length = stack->n,
                   .body = add_bias_rows};

    if (stack->weights->bias || stack->weights->each)
        for_rows(&all);
}

/* ---- rows through gate, up, activation, down ---- */

static gmm_status report(moe_job *job, int64_t rows)
{
    const gmm_moe_layer *layer = &job->model->layer;

    if (job->arena) /* a worker's: only the thread that called may tell */
        return GMM_OK;
    job->done += rows;
    if (!layer->progress || layer->progress(layer->progress_user, job->done, job->total))
        return GMM_OK;
    return gmm_fail(GMM_ERR_CANCELLED, "cancelled after %" PRId64 " of %" PRId64 " parts", job->done, job->total);
}

static gmm_status run_part(moe_job *job, const gmm_moe_mlp *mlp, const moe_rows *rows, float *results)
{
    float *hidden = job->scratch.hidden;
    row_job activation = {.job = job,
                          .mlp = mlp,
                          .expert = rows->expert,
                          .rows = hidden,
                          .count = rows->count,
                          .length = mlp->width,
                          .body = activate_rows};
    moe_rows inner;
    gmm_status status = GMM_OK;

    if (mlp->gate_up.weights)
        status = multiply(job, &mlp->gate_up, rows, hidden, mlp->width);
    if (!status && mlp->gate.weights)
        status = multiply(job, &mlp->gate, rows, hidden, mlp->width);
    if (!status && mlp->up.weights)
        status = multiply(job, &mlp->up, rows, hidden + (mlp->gated ? mlp->inner : 0), mlp->width);
    if (status || (status = report(job, rows->count)))
        return status;
    for_rows(&activation);
    rows_of_hidden(job, mlp, rows->count, &inner);
    inner.expert = rows->expert;
    if ((status = multiply(job, &mlp->down, &inner, results, job->model->hidden)))
        return status;
    add_bias(job, &mlp->down, rows, results);
    return report(job, rows->count);
}

/* ---- a block of tokens ---- */

/* Sort the block's pairs by expert, in the order of tokens and slots; returns how many there are. */
static int64_t sort_pairs(moe_job *job)
{
    gmm_moe_scratch *s = &job->scratch;
    int64_t slots = job->call->slots, count = job->tokens * slots, experts = job->model->count, sum = 0;
    const int32_t *ids = s->ids + job->first * slots;

    memset(s->starts, 0, (size_t)(experts + 1) * sizeof *s->starts);
    for (int64_t i = 0; i < count; i++)
        if (ids[i] >= 0)
            s->starts[ids[i]]++;
    for (int64_t e = 0; e <= experts; e++) {
        int64_t here = s->starts[e];
        s->starts[e] = sum;
        sum += here;
    }
    for (int64_t i = 0; i < count; i++) {
        s->place[i] = -1;
        if (ids[i] < 0)
            continue;
        s->place[i] = s->starts[ids[i]]++;
        s->token[s->place[i]] = i / slots;
        s->expert[s->place[i]] = ids[i];
    }
    return sum; /* starts[e] is now where e's pairs end */
}

/* Where a part of at most `most` pairs that begins at a pair ends: after whole experts, or within one that has too many
 * pairs. */
static int64_t part_end(const moe_job *job, int64_t begin, int64_t pairs, int64_t most)
{
    const gmm_moe_scratch *s = &job->scratch;
    int64_t end = s->starts[s->expert[begin]];

    if (end - begin > most) { /* equal parts */
        int64_t parts = (end - begin + most - 1) / most;
        return begin + (end - begin + parts - 1) / parts;
    }
    while (!job->model->experts.single && end < pairs && s->starts[s->expert[end]] - begin <= most)
        end = s->starts[s->expert[end]];
    return end;
}

static gmm_status run_pairs(moe_job *job, int64_t begin, int64_t end)
{
    const gmm_moe_scratch *s = &job->scratch;
    moe_rows rows;

    rows_of_x(job, job->first, job->tokens, &rows);
    rows.token = s->token + begin;
    rows.expert = s->expert + begin;
    rows.count = end - begin;
    return run_part(job, &job->model->experts, &rows, s->results + begin * job->model->hidden);
}

/* Pairs that workers take pieces of. */
typedef struct piece_job {
    const moe_job *job;
    gmm_context one_thread;
    int64_t end, rows; /* the most rows of a piece */
    _Atomic int64_t next;
    _Atomic gmm_status status; /* of one that failed */
} piece_job;

static bool take_piece(piece_job *pieces, int64_t *begin, int64_t *end)
{
    const moe_job *job = pieces->job;

    *begin = atomic_load_explicit(&pieces->next, memory_order_relaxed);
    do {
        if (*begin >= pieces->end || atomic_load_explicit(&pieces->status, memory_order_relaxed))
            return false;
        int64_t share = (pieces->end - *begin) / (2 * job->sizes->tasks);
        int64_t most = share < LEAST_PIECE_ROWS ? LEAST_PIECE_ROWS : share;
        *end = minimum(part_end(job, *begin, pieces->end, minimum(most, pieces->rows)), pieces->end);
    } while (
        !atomic_compare_exchange_weak_explicit(&pieces->next, begin, *end, memory_order_relaxed, memory_order_relaxed));
    return true;
}

static void take_pieces(void *arg, int64_t worker)
{
    piece_job *pieces = arg;
    moe_job job = *pieces->job;
    int64_t begin, end;

    job.context = &pieces->one_thread;
    job.arena = job.scratch.arenas[worker];
    job.scratch.hidden += worker * pieces->rows * job.model->experts.width;
    while (take_piece(pieces, &begin, &end)) {
        gmm_status status = run_pairs(&job, begin, end);
        if (status)
            atomic_store_explicit(&pieces->status, status, memory_order_relaxed);
    }
}

/* Pairs [begin, end) in pieces of at most so many rows. */
static gmm_status run_pieces(moe_job *job, int64_t begin, int64_t end, int64_t rows)
{
    gmm_pool *pool = gmm_context_worker_pool(job->context);
    int64_t workers = job->sizes->tasks;
    piece_job pieces = {
        .job = job, .one_thread = gmm_context_of_worker(job->context), .end = end, .rows = rows, .next = begin};

    if (!gmm_arenas_begin(pool, job->scratch.arenas, workers))
        return gmm_fail(GMM_ERR_MEMORY, "no memory for %" PRId64 " workers", workers);
    gmm_parallel(job->context, workers, take_pieces, &pieces);
    gmm_arenas_end(pool, job->scratch.arenas, workers);
    gmm_status status = atomic_load(&pieces.status);
    if (status) /* its words are the worker's */
        return gmm_fail(status, "no memory for products of %" PRId64 " rows by %" PRId64 " workers", rows, workers);
    return report(job, 2 * (end - begin));
}

static gmm_status run_experts(moe_job *job)
{
    int64_t pairs = sort_pairs(job), rows = gmm_moe_piece_rows(job->context, job->model, job->sizes, pairs), end;
    /* A caller who may cancel is asked now and then. */
    int64_t together = job->model->layer.progress ? PIECES_PER_THREAD * rows * job->sizes->tasks : pairs;
    gmm_status status = GMM_OK;

    for (int64_t begin = 0; !status && begin < pairs; begin = end) {
        end = rows ? minimum(begin + together, pairs) : part_end(job, begin, pairs, job->sizes->rows);
        status = rows ? run_pieces(job, begin, end, rows) : run_pairs(job, begin, end);
    }
    return status;
}

static gmm_status run_shared(moe_job *job)
{
    const gmm_moe_model *model = job->model;
    const gmm_moe_scratch *s = &job->scratch;
    gmm_status status;
    moe_rows rows;

    for (int64_t begin = 0; begin < job->tokens; begin += job->sizes->shared_rows) {
        rows_of_x(job, job->first + begin, minimum(job->sizes->shared_rows, job->tokens - begin), &rows);
        if ((status = run_part(job, &model->shared, &rows, s->shared + begin * model->hidden)))
            return status;
    }
    rows_of_x(job, job->first, job->tokens, &rows);
    if (model->shared_gate.weights && (status = multiply(job, &model->shared_gate, &rows, s->of_shared, 1)))
        return status;
    for (int64_t t = 0; t < job->tokens; t++)
        s->of_shared[t] = model->shared_gate.weights ? gmm_logistic(s->of_shared[t]) : 1.0f;
    return GMM_OK;
}

static void add_scaled(float weight, const float *values, int64_t count, float *sum)
{
    for (int64_t i = 0; i < count; i++)
        sum[i] += weight * values[i];
}

static void sum_rows(const row_job *rows, int64_t begin, int64_t end)
{
    const moe_job *job = rows->job;
    const gmm_moe_scratch *s = &job->scratch;
    const gmm_view *out = &job->call->out;
    int64_t slots = job->call->slots, hidden = job->model->hidden;

    for (int64_t t = begin; t < end; t++) {
        const float *weights = s->weights + (job->first + t) * slots;
        char *to = gmm_view_at(out, (job->first + t) * out->strides[0]);
        for (int64_t i = 0; i < hidden; i += BLOCK) {
            int64_t count = minimum(BLOCK, hidden - i);
            float sum[BLOCK] = {0};
            for (int64_t j = 0; j < slots; j++)
                if (s->place[t * slots + j] >= 0)
                    add_scaled(weights[j], s->results + s->place[t * slots + j] * hidden + i, count, sum);
            if (job->model->shared.down.weights)
                add_scaled(s->of_shared[t], s->shared + t * hidden + i, count, sum);
            gmm_store_run(out->dtype, sum, count, to + i * out->strides[1] * out->element_bytes, out->strides[1]);
        }
    }
}

static gmm_status run_block(moe_job *job)
{
    int64_t rows = job->call->slots + (job->model->shared.down.weights != NULL);
    row_job sum = {.job = job, .count = job->tokens, .length = rows * job->model->hidden, .body = sum_rows};
    int64_t done = job->done + 2 * job->tokens * rows;
    gmm_status status = run_experts(job);

    if (!status && job->model->shared.down.weights)
        status = run_shared(job);
    if (status)
        return status;
    for_rows(&sum);
    job->done = done; /* skipped slots too */
    return GMM_OK;
}

/* ---- ids and weights ---- */

static gmm_status copy_slots(moe_job *job)
{
    const gmm_moe_call *call = job->call;
    const gmm_view *ids = &call->ids, *weights = &call->weights;

    for (int64_t t = 0; t < call->tokens; t++) {
        for (int64_t j = 0; j < call->slots; j++) {
            int64_t at = t * ids->strides[0] + j * ids->strides[1], id = gmm_index_load(ids, at);
            uint64_t big;
            if (id == -1 && ids->dtype == GMM_U64) { /* what int64 does not hold is loaded as -1 */
                memcpy(&big, gmm_view_at(ids, at), sizeof big);
                return gmm_fail(GMM_ERR_INDEX,
                                "ids[%" PRId64 ", %" PRId64 "] is %" PRIu64 "; there are %" PRId64 " experts", t, j,
                                big, job->model->count);
            }
            if (id < -1 || id >= job->model->count)
                return gmm_fail(GMM_ERR_INDEX,
                                "ids[%" PRId64 ", %" PRId64 "] is %" PRId64 "; there are %" PRId64 " experts", t, j, id,
                                job->model->count);
            job->scratch.ids[t * call->slots + j] = (int32_t)id;
        }
        gmm_load_run(weights->dtype, GMM_F32, gmm_view_at(weights, t * weights->strides[0]), weights->strides[1],
                     call->slots, job->scratch.weights + t * call->slots);
    }
    return GMM_OK;
}

/* The view of a row-major matrix. */
static gmm_view matrix_of(void *data, gmm_dtype dtype, int64_t rows, int64_t columns)
{
    return (gmm_view){.data = data,
                      .dtype = dtype,
                      .ndim = 2,
                      .element_bytes = 4,
                      .count = rows * columns,
                      .shape = {rows, columns},
                      .strides = {columns, 1}};
}

static gmm_status route_slots(moe_job *job)
{
    const gmm_moe_model *model = job->model;
    const gmm_moe_scratch *s = &job->scratch;
    int64_t slots = job->call->slots;

    for (int64_t t = 0; t < job->call->tokens; t += job->sizes->logit_tokens) {
        int64_t count = minimum(job->sizes->logit_tokens, job->call->tokens - t);
        gmm_view logits = matrix_of(s->logits, GMM_F32, count, model->count);
        gmm_view ids = matrix_of(s->ids + t * slots, GMM_I32, count, slots);
        gmm_view weights = matrix_of(s->weights + t * slots, GMM_F32, count, slots);
        moe_rows rows;
        gmm_status status;

        rows_of_x(job, t, count, &rows);
        if ((status = multiply(job, &model->router, &rows, s->logits, model->count)))
            return status;
        add_bias(job, &model->router, &rows, s->logits);
        if ((status = gmm_routing_run(job->context, &model->routing, &model->correction, &logits, t, job->sizes->tasks,
                                      s->routing, &ids, &weights)))
            return status;
    }
    return GMM_OK;
}

gmm_status gmm_moe_carry_out(const gmm_context *context, const gmm_moe_model *model, const gmm_moe_sizes *sizes,
                             void *memory, const gmm_moe_call *call)
{
    moe_job job = {.context = context, .model = model, .sizes = sizes, .call = call};
    int64_t rows = call->slots + (model->shared.down.weights != NULL);
    uint32_t features;
    gmm_status status = gmm_cpu_usable(context, &features);

    if (status)
        return status;
    job.activation = gmm_kernel_choose(GMM_CAN_ACTIVATE, "f32", features);
    job.total = 2 * call->tokens * rows;
    lay_out(model, sizes, memory, &job.scratch);
    if ((status = call->given ? copy_slots(&job) : route_slots(&job)) || (status = report(&job, 0)))
        return status;
    for (job.first = 0; job.first < call->tokens; job.first += job.tokens) {
        job.tokens = minimum(sizes->block, call->tokens - job.first);
        if ((status = run_block(&job)))
            return status;
    }
    return GMM_OK;
}
