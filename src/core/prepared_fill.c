/* prepared_fill.c - copy weights into the kernels' own order, many threads at once. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "core/prepared_weights.h"
#include "threads/parallel.h"

enum {
    /* Elements along K that are copied together: with dot layout, one of each class. */
    TILE = GMM_CLASSES,
    /* Rows of codes in one piece of work. */
    ROWS_PER_TASK = 32,
};

typedef struct {
    const gmm_prepared *prepared;
    const gmm_view *from;
    char *to;
    int64_t tasks_per_matrix;
} fill_job;

static int64_t minimum(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* A piece of a matrix, and where it goes. Strides are in bytes. */
typedef struct {
    int64_t elements, columns;
    const char *from;
    int64_t from_element, from_column;
    char *to;              /* columns are next to one another */
    const int64_t *places; /* [elements]: where each begins in `to` */
} tile;

/* `size`, the bytes of an element, is a compile-time constant at every call. */
static inline __attribute__((always_inline)) void copy_elements(const tile *t, size_t size)
{
    for (int64_t i = 0; i < t->elements; i++) {
        const char *from = t->from + i * t->from_element;
        char *to = t->to + t->places[i];
        for (int64_t c = 0; c < t->columns; c++)
            memcpy(to + (size_t)c * size, from + c * t->from_column, size);
    }
}

static void copy_tile(const tile *t, int64_t size)
{
    switch (size) {
    case 1:
        copy_elements(t, 1);
        break;
    case 2:
        copy_elements(t, 2);
        break;
    case 4:
        copy_elements(t, 4);
        break;
    default:
        copy_elements(t, 8);
    }
}

/* Where elements of a block of `count` go, from its beginning: element k is element k / 16 of class k % 16. */
static void find_places(bool dot, int64_t count, int64_t k, int64_t elements, int64_t element_bytes, int64_t *places)
{
    int64_t panel_bytes = GMM_PANEL * element_bytes, longest = (count + GMM_CLASSES - 1) / GMM_CLASSES;

    for (int64_t i = 0; i < elements; i++) {
        int64_t turn = gmm_class_in_tree((k + i) % GMM_CLASSES, GMM_CLASSES);
        places[i] = (dot ? turn * longest + (k + i) / GMM_CLASSES : k + i) * panel_bytes;
    }
}

/* One panel. Memory is zero already where nothing is copied. */
static void fill_panel(void *arg, int64_t task)
{
    const fill_job *job = arg;
    const gmm_prepared *p = job->prepared;
    const gmm_prepared_part *part = &p->parts[0];
    const gmm_view *rhs = job->from;
    int64_t matrix = task / job->tasks_per_matrix, panel = task % job->tasks_per_matrix, size = rhs->element_bytes;
    int64_t places[TILE];
    tile t = {
        .columns = minimum(GMM_PANEL, p->n - panel * GMM_PANEL),
        .from_element = rhs->strides[rhs->ndim - 2] * size,
        .from_column = rhs->strides[rhs->ndim - 1] * size,
        .to = job->to + part->offset + matrix * part->matrix_bytes + panel * part->columns * size,
        .places = places,
    };
    const char *from =
        gmm_view_at(rhs, gmm_view_offset(rhs, rhs->ndim - 2, matrix) + panel * GMM_PANEL * rhs->strides[rhs->ndim - 1]);

    for (int64_t begin = 0; begin < p->k; begin += p->block, t.to += p->block * GMM_PANEL * size) {
        int64_t count = minimum(p->block, p->k - begin);
        for (int64_t k = 0; k < count; k += TILE) {
            t.elements = minimum(TILE, count - k);
            t.from = from + (begin + k) * t.from_element;
            find_places(p->dot, count, k, t.elements, size, places);
            copy_tile(&t, size);
        }
    }
}

void gmm_prepared_fill_dense(const gmm_context *context, const gmm_prepared *prepared, const gmm_view *rhs, char *to)
{
    fill_job job = {.prepared = prepared, .from = rhs, .to = to, .tasks_per_matrix = prepared->parts[0].rows};

    if (prepared->bytes > 0)
        gmm_parallel(context, prepared->matrices * job.tasks_per_matrix, fill_panel, &job);
}

/* ---- quantized --------------------------------------------------------------------------------------------------- */

/* Some rows of one array. */
static void fill_rows(const fill_job *job, int i, int64_t matrix, int64_t row, int64_t rows)
{
    const gmm_prepared_part *part = &job->prepared->parts[i];
    const gmm_view *from = &job->from[i];
    int64_t size = from->element_bytes, row_stride = from->strides[from->ndim - 2], offset;
    char *to = job->to + part->offset + matrix * part->matrix_bytes + row * part->columns * size;
    static const int64_t first[1];
    tile t = {
        .elements = 1,
        .columns = part->columns,
        .from_column = from->strides[from->ndim - 1] * size,
        .places = first,
    };

    offset = gmm_view_offset(from, from->ndim - 2, matrix);
    for (int64_t r = row; r < row + rows; r++, to += part->columns * size) {
        const char *at = gmm_view_at(from, offset + r * row_stride);
        if (t.from_column == size) {
            memcpy(to, at, (size_t)(part->columns * size));
            continue;
        }
        t.from = at;
        t.to = to;
        copy_tile(&t, size);
    }
}

static void fill_task(void *arg, int64_t task)
{
    const fill_job *job = arg;
    int64_t matrix = task / job->tasks_per_matrix, row = task % job->tasks_per_matrix * ROWS_PER_TASK;
    int64_t rows = minimum(ROWS_PER_TASK, job->prepared->parts[0].rows - row);

    for (int i = 0; i < job->prepared->part_count; i++)
        fill_rows(job, i, matrix, row, rows);
}

void gmm_prepared_fill_quantized(const gmm_context *context, const gmm_prepared *prepared, const gmm_view views[3],
                                 char *to)
{
    fill_job job = {.prepared = prepared,
                    .from = views,
                    .to = to,
                    .tasks_per_matrix = (prepared->parts[0].rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK};

    if (prepared->bytes > 0)
        gmm_parallel(context, prepared->matrices * job.tasks_per_matrix, fill_task, &job);
}
