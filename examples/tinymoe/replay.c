/* replay.c - see replay.h. */
/* SPDX-License-Identifier: MIT */
#include "replay.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bar.h"
#include "stop.h"

#define BOUNDARY 64
#define MATRICES 2
#define ROWS 2 /* the bug needs one; a control has two */

enum {
    MATRIX_FLOATS = REPLAY_K * REPLAY_N
};

/* x (ROWS, K), b (MATRICES, K, N), and for every row of x with every matrix the exact result and its error bound. */
typedef struct operands {
    float *x, *b, *b_transposed; /* b_transposed is (MATRICES, N, K) */
    double *exact, *bound;       /* (MATRICES, ROWS, N) */
} operands;

/* splitmix64: any seed is good. */
static float random_float(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return (float)(z >> 40) * 0x1p-23f - 1.0f;
}

/* The sum in double precision, and gamma(K) * sum |x||b|: what f32 may be off by, in any order of additions. */
static void multiply_exactly(operands *o, int64_t matrix, int64_t row)
{
    const double u = 0x1p-24, gamma = REPLAY_K * u / (1.0 - REPLAY_K * u);
    double *exact = o->exact + (matrix * ROWS + row) * REPLAY_N, *bound = o->bound + (matrix * ROWS + row) * REPLAY_N;

    for (int64_t k = 0; k < REPLAY_K; k++)
        for (int64_t n = 0; n < REPLAY_N; n++) {
            double term = (double)o->x[row * REPLAY_K + k] * (double)o->b[matrix * MATRIX_FLOATS + k * REPLAY_N + n];
            exact[n] += term;
            bound[n] += gamma * fabs(term);
        }
}

static operands operands_create(uint64_t seed)
{
    operands o = {allocate(ROWS * REPLAY_K, sizeof(float)), allocate(MATRICES * MATRIX_FLOATS, sizeof(float)),
                  allocate(MATRICES * MATRIX_FLOATS, sizeof(float)),
                  allocate(MATRICES * ROWS * REPLAY_N, sizeof(double)),
                  allocate(MATRICES * ROWS * REPLAY_N, sizeof(double))};

    for (int64_t i = 0; i < ROWS * REPLAY_K; i++)
        o.x[i] = random_float(&seed);
    for (int64_t i = 0; i < MATRICES * MATRIX_FLOATS; i++) {
        int64_t matrix = i / MATRIX_FLOATS, k = i % MATRIX_FLOATS / REPLAY_N, n = i % REPLAY_N;
        o.b[i] = random_float(&seed);
        o.b_transposed[matrix * MATRIX_FLOATS + n * REPLAY_K + k] = o.b[i];
    }
    for (int64_t matrix = 0; matrix < MATRICES; matrix++)
        for (int64_t row = 0; row < ROWS; row++)
            multiply_exactly(&o, matrix, row);
    return o;
}

static void operands_destroy(operands *o)
{
    free(o->x);
    free(o->b);
    free(o->b_transposed);
    free(o->exact);
    free(o->bound);
}

/* Memory for the matrices at any offset from a boundary. */
static float *aligned_room(void)
{
    float *room = aligned_alloc(BOUNDARY, (MATRICES * MATRIX_FLOATS + BOUNDARY) * sizeof *room);

    if (!room)
        stop(EXIT_BROKEN, "no memory for the replay");
    return room;
}

static void fill(float *c, int64_t count, float value)
{
    for (int64_t i = 0; i < count; i++)
        c[i] = value;
}

/* Within the bound? The first product is with matrix 1, the second with matrix 0, so that the gather is one. */
static bool is_right(const operands *o, const float *c, int64_t rows)
{
    for (int64_t p = 0; p < MATRICES; p++)
        for (int64_t i = 0; i < rows * REPLAY_N; i++) {
            int64_t e = (MATRICES - 1 - p) * ROWS * REPLAY_N + i;
            if (!(fabs((double)c[p * rows * REPLAY_N + i] - o->exact[e]) <= o->bound[e]))
                return false;
        }
    return true;
}

/* c (MATRICES, 1, N) = row 0 of x with matrix 1 and with matrix 0. */
static gmm_status gather(const gmm_context *context, const operands *o, float *b, bool transposed, float *c)
{
    int32_t indices[MATRICES] = {1, 0}, zeros[MATRICES] = {0, 0};
    int64_t x_shape[3] = {1, 1, REPLAY_K}, b_shape[3] = {MATRICES, REPLAY_K, REPLAY_N};
    int64_t strides[3] = {MATRIX_FLOATS, transposed ? 1 : REPLAY_N, transposed ? REPLAY_K : 1};
    int64_t c_shape[3] = {MATRICES, 1, REPLAY_N}, indices_shape[1] = {MATRICES};
    gmm_array lhs = {.data = o->x, .dtype = GMM_F32, .ndim = 3, .shape = x_shape};
    gmm_array rhs = {.data = b, .dtype = GMM_F32, .ndim = 3, .shape = b_shape, .strides = strides};
    gmm_array lhs_indices = {.data = zeros, .dtype = GMM_I32, .ndim = 1, .shape = indices_shape};
    gmm_array rhs_indices = {.data = indices, .dtype = GMM_I32, .ndim = 1, .shape = indices_shape};
    gmm_array out = {.data = c, .dtype = GMM_F32, .ndim = 3, .shape = c_shape};

    return gmm_gather_mm(context, &lhs, &rhs, &lhs_indices, &rhs_indices, false, &out);
}

/* ---- in fresh processes ------------------------------------------------------------------------------------------ */

/* A quantized product of NaN activations leaves NaN in whatever scratch, stack or register it used. */
static void dirty_everything(const gmm_context *context, operands *o)
{
    int64_t w_shape[2] = {REPLAY_N, REPLAY_K}, words_shape[2] = {REPLAY_N, REPLAY_K / 8};
    int64_t scales_shape[2] = {REPLAY_N, REPLAY_K / 32}, x_shape[2] = {4, REPLAY_K}, out_shape[2] = {4, REPLAY_N};
    gmm_array w = {.data = o->b_transposed, .dtype = GMM_F32, .ndim = 2, .shape = w_shape};
    gmm_array words = {allocate(REPLAY_N * REPLAY_K / 8, 4), GMM_U32, 2, words_shape, NULL, 0};
    gmm_array scales = {allocate(REPLAY_N * REPLAY_K / 32, 4), GMM_F32, 2, scales_shape, NULL, 0};
    gmm_array biases = {allocate(REPLAY_N * REPLAY_K / 32, 4), GMM_F32, 2, scales_shape, NULL, 0};
    gmm_array x = {allocate(4 * REPLAY_K, 4), GMM_F32, 2, x_shape, NULL, 0};
    gmm_array out = {allocate(4 * REPLAY_N, 4), GMM_F32, 2, out_shape, NULL, 0};
    gmm_quantize_options options = {.size = sizeof options, .group_size = 32};
    gmm_quantized quantized = {.w = &words, .scales = &scales, .biases = &biases, .group_size = 32};
    void *owned[] = {words.data, scales.data, biases.data, x.data, out.data};

    fill(x.data, 4 * REPLAY_K, NAN);
    must(gmm_quantize(context, &w, &options, &words, &scales, &biases), "replay, quantize");
    must(gmm_quantized_matmul(context, &x, &quantized, true, &out), "replay, 4 rows");
    x_shape[0] = out_shape[0] = 1;
    must(gmm_quantized_matmul(context, &x, &quantized, true, &out), "replay, 1 row");
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        free(owned[i]);
    for (size_t bytes = 256; bytes <= (size_t)1 << 22; bytes *= 4) { /* and in what malloc hands out next */
        float *block = allocate((int64_t)(bytes / sizeof *block), sizeof *block);
        fill(block, (int64_t)(bytes / sizeof *block), NAN);
        free(block);
    }
}

int replay_one(const gmm_context *context, uint64_t seed)
{
    operands o = operands_create(seed);
    float *room = aligned_room(), c[MATRICES * REPLAY_N], first[MATRICES * REPLAY_N];
    int wrong = 0;

    dirty_everything(context, &o);
    for (int transposed = 0; transposed < 2; transposed++)
        for (int offset = 0; offset < REPLAY_OFFSETS; offset++) {
            float *b = room + offset;
            bool right;
            memcpy(b, transposed ? o.b_transposed : o.b, MATRICES * MATRIX_FLOATS * sizeof *b);
            fill(c, MATRICES * REPLAY_N, NAN);
            must(gather(context, &o, b, transposed, c), "replay");
            if (offset == 0)
                memcpy(first, c, sizeof first);
            right = is_right(&o, c, 1) && memcmp(first, c, sizeof first) == 0;
            wrong += !right;
        }
    free(room);
    operands_destroy(&o);
    return wrong;
}

int64_t replay_processes(const char *self, int64_t processes, int32_t threads)
{
    char seed_text[24], threads_text[16];
    int64_t right = 0;

    snprintf(threads_text, sizeof threads_text, "%d", threads);
    fflush(stdout);
    for (int64_t seed = 1; seed <= processes; seed++) {
        int status;
        pid_t child;
        bar_show("replay", seed - 1, processes);
        snprintf(seed_text, sizeof seed_text, "%" PRId64, seed);
        child = fork();
        if (child < 0)
            stop(EXIT_BROKEN, "fork: %s", strerror(errno));
        if (child == 0) {
            execl(self, self, "--replay-one", seed_text, "--threads", threads_text, (char *)NULL);
            _exit(EXIT_BROKEN);
        }
        while (waitpid(child, &status, 0) < 0)
            if (errno != EINTR)
                stop(EXIT_BROKEN, "waitpid: %s", strerror(errno));
        if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_BROKEN)
            stop(EXIT_BROKEN, "%s --replay-one %s could not run", self, seed_text);
        right += WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FINE;
    }
    bar_clear();
    return right;
}

/* ---- through a faulty BLAS --------------------------------------------------------------------------------------- */

/* cblas_sgemm with its enumerations as int, which is how they are passed. */
typedef void sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a,
                   int lda, const float *b, int ldb, float beta, float *c, int ldc);

enum {
    ROW_MAJOR = 101,
    NO_TRANSPOSE = 111
};

/* What MLX does: one call per index. c is (MATRICES, rows, N). */
static void naive(sgemm *blas, const operands *o, const float *b, int rows, float *c)
{
    for (int p = 0; p < MATRICES; p++)
        blas(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, rows, REPLAY_N, REPLAY_K, 1.0f, o->x, REPLAY_K,
             b + (MATRICES - 1 - p) * MATRIX_FLOATS, REPLAY_N, 0.0f, c + p * rows * REPLAY_N, REPLAY_N);
}

/* Fill in a case from what its product left in c. */
static void judge(replay_case *result, const operands *o, const float *c, int rows)
{
    result->right = is_right(o, c, rows);
    result->nan_count = 0;
    for (int i = 0; i < MATRICES * rows * REPLAY_N; i++)
        if (isnan(c[i])) {
            int column = i % REPLAY_N;
            if (result->nan_count == 0 || column < result->first_nan)
                result->first_nan = column;
            if (result->nan_count == 0 || column > result->last_nan)
                result->last_nan = column;
            result->nan_count++;
        }
}

bool replay_faulty(const gmm_context *context, const char *path, replay_case cases[REPLAY_CASES], const char **why)
{
    static const struct {
        const char *operands;
        float c;
        int offset, rows;
    } calls[REPLAY_CASES] = {
        {"C full of NaN, B 4 bytes off a boundary", NAN, 1, 1},
        {"the same, C full of 0", 0.0f, 1, 1},
        {"the same, C full of 1e30", 1e30f, 1, 1},
        {"the same, B on a boundary", NAN, 0, 1},
        {"the same, M = 2", NAN, 1, 2},
        {"C full of NaN, B 4 bytes off a boundary", NAN, 1, 1},
    };
    float *room, *c;
    operands o;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *symbol = library ? dlsym(library, "cblas_sgemm") : NULL;
    sgemm *blas;

    if (!symbol) {
        *why = library ? "it exports no cblas_sgemm" : dlerror();
        return false;
    }
    memcpy(&blas, &symbol, sizeof blas); /* ISO C has no conversion from void * to a function */
    o = operands_create(1);
    room = aligned_room();
    c = allocate(MATRICES * ROWS * REPLAY_N, sizeof *c);
    for (int i = 0; i < REPLAY_CASES; i++) {
        float *b = room + calls[i].offset;
        bool ours = i == REPLAY_CASES - 1;
        memcpy(b, o.b, MATRICES * MATRIX_FLOATS * sizeof *b);
        fill(c, MATRICES * ROWS * REPLAY_N, calls[i].c);
        if (ours)
            must(gather(context, &o, b, false, c), "replay");
        else
            naive(blas, &o, b, calls[i].rows, c);
        cases[i].product = ours ? "gathermm" : "cblas_sgemm";
        cases[i].operands = calls[i].operands;
        judge(&cases[i], &o, c, calls[i].rows);
    }
    free(c);
    free(room);
    operands_destroy(&o);
    dlclose(library);
    return true;
}
