/* check_outer.c - outer bodies: heights of tiles, cuts of K, class sums and trees, what is fetched ahead; and packing.
 */
/* SPDX-License-Identifier: MIT */
#include "cmocka_test.h"

#include <stdlib.h>
#include <string.h>

#include "formats/numbers.h"
#include "kernel_check.h"

static const int64_t lengths[] = {1,  2,  3,  5,  8,  9,  13, 15, 16,  17,  21,  24,  29,  31,  32,  33, 47,
                                  48, 49, 63, 64, 65, 79, 96, 97, 127, 128, 144, 145, 255, 256, 257, 544};

void check_outer_cut(gmm_random *random, int64_t k, int64_t step, int64_t ends[4])
{
    int cuts = k > step ? (int)gmm_random_between(random, 0, 3) : 0;
    int64_t begin = 0;

    for (int i = 0; i < 4; i++) {
        int64_t steps = (k - begin - 1) / step; /* so that something is left for the last block */
        begin = ends[i] = i < cuts && steps > 0 ? begin + step * gmm_random_between(random, 1, steps) : k;
    }
}

/* Fail unless `gap` elements from `at` on are still NaN, which packed operands are before they are packed. */
static void check_gap(const float *at, int64_t gap)
{
    for (int64_t i = 0; i < gap; i++)
        if (at[i] == at[i])
            check_fail("pack writes between the classes");
}

/* Fail unless elements [begin, begin + k) of `rows` rows (zeros up to `width`) lie in `to` class after class, with
 * nothing written between them but what the last one of a class lacks to GMM_MAX_MR floats. */
static void check_packed(const float *to, int64_t classes, int64_t begin, int64_t k, const float *const *from,
                         int64_t rows, int64_t width, int64_t stride, int64_t class_stride)
{
    for (int64_t c = 0; c < classes; c++) {
        int64_t length = gmm_class_length(k, classes, c);
        for (int64_t i = 0; i < length; i++)
            for (int64_t r = 0; r < width; r++) {
                float want = r < rows ? from[r][begin + i * classes + c] : 0;
                if (!check_same(to[c * class_stride + i * stride + r], want))
                    check_fail("element %lld of row %lld is packed wrong", (long long)(i * classes + c), (long long)r);
            }
        int64_t over = length > 0 && width < GMM_MAX_MR ? GMM_MAX_MR - width : 0;
        check_gap(to + c * class_stride + length * stride + over, class_stride - length * stride - over);
    }
}

/* Pack elements [begin, end) of some rows into `to`, in one or several pieces. */
static void pack_rows(const gmm_kernel *kernel, gmm_random *random, int64_t classes, int64_t begin, int64_t end,
                      const float *const *from, int64_t rows, int64_t width, int64_t stride, float *to)
{
    int64_t class_stride = gmm_class_stride(end - begin, classes, stride);
    const float *at[GMM_MAX_MR];

    for (int64_t i = begin, next; i < end; i = next) {
        next = gmm_random_chance(random, 50) ? end : i + 16 * gmm_random_between(random, 1, 4);
        next = next < end ? next : end;
        for (int64_t r = 0; r < rows; r++)
            at[r] = from[r] + i;
        kernel->pack(&(gmm_pack){
            .rows = rows,
            .classes = classes,
            .k = next - i,
            .from = at,
            .width = width,
            .stride = stride,
            .class_stride = class_stride,
            .to = to + (i - begin) / classes * stride,
        });
    }
}

static float *pack_lhs(const gmm_kernel *kernel, gmm_random *random, gmm_guarded *memory, int64_t classes,
                       int64_t begin, int64_t end, const float *const *x, int64_t rows)
{
    int64_t tiles = gmm_tile_count(rows, kernel->mr), floats = 0;

    for (int64_t t = 0; t < tiles; t++)
        floats += classes * gmm_class_stride(end - begin, classes,
                                             gmm_tile_begin(rows, tiles, t + 1) - gmm_tile_begin(rows, tiles, t));
    float *packed = check_floats(memory, floats), *to = packed;
    for (int64_t t = 0; t < tiles; t++) {
        int64_t row = gmm_tile_begin(rows, tiles, t), height = gmm_tile_begin(rows, tiles, t + 1) - row;
        int64_t class_stride = gmm_class_stride(end - begin, classes, height);
        pack_rows(kernel, random, classes, begin, end, x + row, height, height, height, to);
        check_packed(to, classes, begin, end - begin, x + row, height, height, height, class_stride);
        to += classes * class_stride;
    }
    return packed;
}

static float *pack_panel(const gmm_kernel *kernel, gmm_random *random, gmm_guarded *memory, int64_t classes,
                         int64_t begin, int64_t end, const float *const *w, int64_t columns)
{
    int64_t class_stride = gmm_class_stride(end - begin, classes, GMM_PANEL);
    float *packed = check_floats(memory, classes * class_stride);

    for (int64_t c = 0; c < GMM_PANEL; c += GMM_MAX_MR) {
        int64_t rows = columns < c ? 0 : columns - c < GMM_MAX_MR ? columns - c : GMM_MAX_MR;
        pack_rows(kernel, random, classes, begin, end, w + c, rows, GMM_MAX_MR, GMM_PANEL, packed + c);
    }
    check_packed(packed, classes, begin, end - begin, w, columns, GMM_PANEL, GMM_PANEL, class_stride);
    return packed;
}

void check_prepare_block(gmm_dtype type, int64_t classes, int64_t begin, int64_t end, const float *const *w,
                         int64_t columns, char *block)
{
    int64_t longest = (end - begin + classes - 1) / classes, size = gmm_dtype_bits(type) / 8;

    memset(block, 0xFF, (size_t)(classes * longest * GMM_PANEL * size)); /* NaN of every type */
    for (int64_t k = begin; k < end; k++)
        for (int64_t c = 0; c < columns; c++) {
            int64_t turn = gmm_class_in_tree((k - begin) % classes, classes), element = (k - begin) / classes;
            char *to = block + ((turn * longest + element) * GMM_PANEL + c) * size;
            uint16_t half = type == GMM_BF16 ? gmm_bf16_from_f32(w[c][k]) : gmm_f16_from_f32(w[c][k]);
            memcpy(to, size == 2 ? (const void *)&half : &w[c][k], (size_t)size);
        }
}

static void *prepare_panel(gmm_guarded *memory, gmm_dtype type, int64_t classes, int64_t begin, int64_t end,
                           const float *const *w, int64_t columns)
{
    int64_t longest = (end - begin + classes - 1) / classes, size = gmm_dtype_bits(type) / 8;

    gmm_guarded_make(memory, (size_t)(classes * longest * GMM_PANEL * size), GMM_GUARD_AFTER, 0);
    check_prepare_block(type, classes, begin, end, w, columns, memory->data);
    gmm_guarded_seal(memory);
    return memory->data;
}

/* Nothing to fetch, or up to three parts at addresses that nobody may read: fetching is no reading. */
static gmm_ahead random_ahead(gmm_random *random, const char *guard_page)
{
    gmm_ahead ahead = {0};

    for (int i = 0; i < 3; i++) {
        ahead.parts[i].row = guard_page;
        ahead.parts[i].rows = gmm_random_chance(random, 50) ? gmm_random_between(random, 0, 40) : 0;
        ahead.parts[i].row_bytes = gmm_random_between(random, -100, 5000);
        ahead.parts[i].lines = gmm_random_between(random, 1, 20);
    }
    gmm_ahead_begin(&ahead, gmm_random_between(random, 0, 3000));
    return ahead;
}

/* It is some number of steps into the row that it is at. */
static void check_ahead(const gmm_ahead *ahead)
{
    if (ahead->step == 0) {
        if (ahead->part != 3)
            check_fail("ends what is to be fetched ahead too early");
        return;
    }
    if (ahead->part > 2 || ahead->step != ahead->pace)
        check_fail("leaves what is to be fetched ahead in disorder");
    int64_t steps = (ahead->parts[ahead->part].lines * 64 + ahead->pace - 1) / ahead->pace;
    if (ahead->left < 1 || ahead->left > steps ||
        ahead->at !=
            ahead->parts[ahead->part].row - ahead->parts[ahead->part].row_bytes + (steps - ahead->left) * ahead->pace)
        check_fail("leaves what is to be fetched ahead at the wrong step");
}

static bool all_nan(const float *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (from[i] == from[i])
            return false;
    return true;
}

/* One block. All memory is just as large as it must be. Weights are prepared if of->prepared_type says so. */
static void run_block(const check_outer *of, gmm_random *random, gmm_outer call, int64_t begin)
{
    gmm_guarded a, b, tree, panel = {0};
    int64_t end = begin + call.k;
    gmm_class_codes codes = {
        .weights = of->weights, .w = of->codes, .columns = of->columns, .begin = begin, .k = call.k};

    call.a = pack_lhs(of->kernel, random, &a, call.classes, begin, end, of->x, call.rows);
    if (of->decoder) {
        check_class_fill(of->decoder, &codes, &panel);
        call.b = check_floats(&b, gmm_classes_together(call.k, GMM_CLASSES) * gmm_class_length(call.k, GMM_CLASSES, 0) *
                                      GMM_PANEL);
        call.codes = &codes;
        call.class_decode = of->decoder->class_decode;
    } else if (of->prepared_type) {
        call.prepared = prepare_panel(&b, of->prepared_type, call.classes, begin, end, of->w, of->columns);
        call.prepared_type = of->prepared_type;
    } else {
        call.b = pack_panel(of->kernel, random, &b, call.classes, begin, end, of->w, of->columns);
    }
    call.tree = check_floats(&tree, (int64_t)GMM_TREE_LEVELS * call.rows * GMM_PANEL);
    gmm_ahead ahead = random_ahead(random, a.map);
    call.ahead = &ahead;
    of->kernel->outer(&call);
    check_ahead(&ahead);
    if (!call.last && !all_nan(call.out, call.rows * GMM_PANEL))
        check_fail("writes out before the last block");
    if (call.first && call.last && !all_nan(call.sums, call.classes * call.rows * GMM_PANEL))
        check_fail("writes class sums of a single block");
    gmm_guarded_free(&a);
    gmm_guarded_free(&b);
    gmm_guarded_free(&tree);
    gmm_guarded_free(&panel);
}

void check_outer_run(const check_outer *of, gmm_random *random, const int64_t *ends, float *out)
{
    gmm_guarded sums, result;
    float *sums_at = check_floats(&sums, of->classes * of->rows * GMM_PANEL);
    float *result_at = check_floats(&result, of->rows * GMM_PANEL);

    for (int64_t begin = 0, block = 0; begin < of->k; begin = ends[block++])
        run_block(of, random,
                  (gmm_outer){
                      .rows = of->rows,
                      .classes = of->classes,
                      .k = ends[block] - begin,
                      .sums = sums_at,
                      .first = begin == 0,
                      .last = ends[block] == of->k,
                      .out = result_at,
                  },
                  begin);
    if (!gmm_guarded_intact(&sums) || !gmm_guarded_intact(&result))
        check_fail("writes before its sums or results");
    memcpy(out, result_at, (size_t)(of->rows * GMM_PANEL) * sizeof(float));
    gmm_guarded_free(&sums);
    gmm_guarded_free(&result);
}

/* What must come out: with classes, what the dot body gives; without, the sum of the contract. */
static void outer_want(const check_outer *of, float *want)
{
    static const gmm_weights f32 = {.format = &gmm_format_dense_f32, .dtype = GMM_F32, .code_stride = 1};

    if (of->classes == 1) {
        for (int64_t r = 0; r < of->rows; r++)
            for (int64_t c = 0; c < of->columns; c++)
                want[r * GMM_PANEL + c] = check_contract_sum(of->kernel->needs != 0, 1, of->k, of->x[r], of->w[c]);
        return;
    }
    check_sibling(of->kernel, "dot")
        ->dot(&(gmm_dot){
            .weights = &f32,
            .w = {.first.codes = of->w[0], .code_bytes = of->k * (int64_t)sizeof(float)},
            .rows = of->rows,
            .columns = of->columns,
            .k = of->k,
            .x = of->x,
            .out = want,
            .out_stride = GMM_PANEL,
        });
}

/* All rows in one block, all rows in several, and one row alone. */
static void check_cuts(const check_outer *of, gmm_random *random, check_values values)
{
    float *want = check_allocate(of->rows * GMM_PANEL, sizeof(float));
    float *out = check_allocate(of->rows * GMM_PANEL, sizeof(float));
    int64_t one = gmm_random_between(random, 0, of->rows - 1), ends[4];
    check_outer alone = *of;

    alone.rows = 1;
    alone.x += one;
    check_outer_cut(random, of->k, 16, ends);
    check_case("%lld rows, %lld columns, %lld classes, k = %lld, cut at %lld, %lld, %lld, %s", (long long)of->rows,
               (long long)of->columns, (long long)of->classes, (long long)of->k, (long long)ends[0], (long long)ends[1],
               (long long)ends[2], check_values_text(values));
    outer_want(of, want);
    check_outer_run(of, random, &of->k, out);
    for (int64_t r = 0; r < of->rows; r++) {
        check_all_same(out + r * GMM_PANEL, want + r * GMM_PANEL, of->columns, "the contract says");
        for (int64_t c = 0; c < of->columns && values == CHECK_TAME; c++)
            check_bound(of->k, of->x[r], of->w[c], out[r * GMM_PANEL + c]);
    }
    check_outer_run(of, random, ends, want);
    check_all_same(want, out, of->rows * GMM_PANEL, "without cuts");
    check_outer_run(&alone, random, ends, want);
    check_all_same(want, out + one * GMM_PANEL, GMM_PANEL, "among other rows");
    free(want);
    free(out);
}

static void check_shape(const gmm_kernel *kernel, gmm_random *random, int64_t k, int64_t rows, check_values values)
{
    int64_t columns = gmm_random_chance(random, 70) ? GMM_PANEL : gmm_random_between(random, 1, GMM_PANEL);
    gmm_guarded memory[2];
    float *x = check_floats(&memory[0], rows * k), *w = check_floats(&memory[1], columns * k);
    const float **x_rows = check_allocate(rows, sizeof *x_rows), *w_rows[GMM_PANEL] = {0};

    check_floats_fill(random, values, rows * k, x);
    for (int64_t i = 0; i < columns * k; i++)
        w[i] = 0.25f;
    if (values != CHECK_TINY)
        check_floats_fill(random, values, columns * k, w);
    for (int64_t r = 0; r < rows; r++)
        x_rows[r] = x + r * k;
    for (int64_t c = 0; c < columns; c++)
        w_rows[c] = w + c * k;
    for (int64_t classes = 1; classes <= GMM_CLASSES; classes += GMM_CLASSES - 1)
        check_cuts(&(check_outer){.kernel = kernel,
                                  .classes = classes,
                                  .k = k,
                                  .rows = rows,
                                  .columns = columns,
                                  .x = x_rows,
                                  .w = w_rows},
                   random, values);
    free(x_rows);
    gmm_guarded_free(&memory[0]);
    gmm_guarded_free(&memory[1]);
}

void check_outer_lengths(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "outer_lengths", &random);

    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++)
        for (int values = CHECK_TAME; values <= CHECK_TINY; values++)
            if (gmm_test_wanted(&random))
                check_shape(kernel, &random, lengths[l], gmm_random_between(&random, 1, kernel->mr + 1),
                            (check_values)values);
}

void check_outer_rows(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "outer_rows", &random);

    for (int64_t rows = 1; rows <= 3 * kernel->mr + 1; rows++)
        for (int values = CHECK_TAME; values <= CHECK_TINY; values++)
            if (gmm_test_wanted(&random))
                check_shape(kernel, &random, gmm_random_between(&random, 1, 100), rows, (check_values)values);
}

/* Numbers that the type has: f32 rows of them. */
static void fill_exactly(gmm_random *random, gmm_dtype type, check_values values, int64_t count, float *to)
{
    uint16_t half;

    check_floats_fill(random, values, count, to);
    for (int64_t i = 0; i < count && type != GMM_F32; i++) {
        half = type == GMM_BF16 ? gmm_bf16_from_f32(to[i]) : gmm_f16_from_f32(to[i]);
        to[i] = type == GMM_BF16 ? gmm_bf16_to_f32(half) : gmm_f16_to_f32(half);
    }
}

static void check_prepared_shape(const gmm_kernel *kernel, gmm_random *random, gmm_dtype type, int64_t k, int64_t rows,
                                 check_values values)
{
    int64_t columns = gmm_random_chance(random, 70) ? GMM_PANEL : gmm_random_between(random, 1, GMM_PANEL), ends[4];
    gmm_guarded memory[2];
    float *x = check_floats(&memory[0], rows * k), *w = check_floats(&memory[1], columns * k);
    float *want = check_allocate(rows * GMM_PANEL, sizeof(float)),
          *got = check_allocate(rows * GMM_PANEL, sizeof(float));
    const float **x_rows = check_allocate(rows, sizeof *x_rows), *w_rows[GMM_PANEL] = {0};

    check_floats_fill(random, values, rows * k, x);
    fill_exactly(random, type, values, columns * k, w);
    for (int64_t r = 0; r < rows; r++)
        x_rows[r] = x + r * k;
    for (int64_t c = 0; c < columns; c++)
        w_rows[c] = w + c * k;
    for (int64_t classes = 1; classes <= GMM_CLASSES; classes += GMM_CLASSES - 1) {
        check_outer_cut(random, k, 16, ends);
        check_case("prepared, %s, %lld rows, %lld columns, %lld classes, k = %lld, cut at %lld, %lld, %lld, %s",
                   gmm_dtype_name(type), (long long)rows, (long long)columns, (long long)classes, (long long)k,
                   (long long)ends[0], (long long)ends[1], (long long)ends[2], check_values_text(values));
        check_outer of = {
            .kernel = kernel, .classes = classes, .k = k, .rows = rows, .columns = columns, .x = x_rows, .w = w_rows};
        check_outer_run(&of, random, ends, want);
        of.prepared_type = type;
        check_outer_run(&of, random, ends, got);
        for (int64_t r = 0; r < rows; r++)
            check_all_same(got + r * GMM_PANEL, want + r * GMM_PANEL, columns, "from packed weights");
    }
    free(x_rows);
    free(want);
    free(got);
    gmm_guarded_free(&memory[0]);
    gmm_guarded_free(&memory[1]);
}

void check_prepared(void **state)
{
    static const gmm_dtype types[] = {GMM_F32, GMM_BF16, GMM_F16};
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "prepared", &random);

    for (int64_t rows = 1; rows <= 2 * kernel->mr + 1; rows++)
        for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
            for (int values = CHECK_TAME; values <= CHECK_WILD; values++)
                if (gmm_test_wanted(&random))
                    check_prepared_shape(kernel, &random, types[t], gmm_random_between(&random, 1, 300), rows,
                                         (check_values)values);
}

void check_pack(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "pack", &random);

    for (int64_t rows = 0; rows <= GMM_MAX_MR; rows++)
        for (int64_t classes = 1; classes <= GMM_CLASSES; classes += GMM_CLASSES - 1)
            for (int64_t k = 1; k <= 66; k += rows % 3 ? 3 : 1) {
                int64_t width = gmm_random_between(&random, rows > 0 ? rows : 1, GMM_MAX_MR);
                int64_t class_stride = gmm_class_stride(k, classes, width);
                size_t shift = sizeof(float) * (size_t)gmm_random_between(&random, 0, 1);
                const float *from[GMM_MAX_MR];
                check_rows memory;
                gmm_guarded packed;
                check_case("%lld rows, width %lld, %lld classes, k = %lld", (long long)rows, (long long)width,
                           (long long)classes, (long long)k);
                check_rows_make(&memory, &random, rows, k * 4, k % 2 ? GMM_GUARD_AFTER : GMM_GUARD_BEFORE, shift);
                for (int64_t r = 0; r < rows; r++) {
                    from[r] = (const float *)(void *)check_rows_at(&memory, r);
                    check_floats_fill(&random, CHECK_WILD, k, (float *)(void *)check_rows_at(&memory, r));
                }
                float *to = check_floats(&packed, classes * class_stride);
                pack_rows(kernel, &random, classes, 0, k, from, rows, width, width, to);
                check_packed(to, classes, 0, k, from, rows, width, width, class_stride);
                check_rows_free(&memory);
                gmm_guarded_free(&packed);
            }
}
