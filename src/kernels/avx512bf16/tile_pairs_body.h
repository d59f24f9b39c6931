/* tile_pairs_body.h - tile sums with vdpbf16ps: lanes along N, a pair of elements of K at a time.
 * SPDX-License-Identifier: MIT
 *
 * Words of 16 weight rows, 16 of each, a block, are transposed in registers, and decoded to pairs of bf16 numbers. One
 * tile of few rows multiplies them there. More rows share a panel of pairs, a chunk of K in the first-level cache,
 * eight rows by 32 columns at a time. Meanwhile the weights that come next are fetched, row after row: memory likes
 * runs.
 *
 * Before it is included, behind kernels/avx512bf16/tile_codes_avx512bf16.h:
 *   TILE_GROUP         elements of K, a group: their products are added up from +0, scaled, and added to the sum
 *   TILE_SHIFT(call)   2^TILE_SHIFT groups have the same scale
 *   TILE_MIDDLES       1 if groups have a middle as well, which multiplies the sum of x, else 0
 *   TILE_PAIR(bits, words, i)
 *                      an __m512bh: pair i of a unit of weights of so many bits, vectors of a word of 16 columns each
 *   TILE_SCALES(call, block, scales, middles)
 *                      decodes those of a group_block
 *
 * It defines tile_multiply, of which the number of bits is a constant, and tile_scratch_bytes. */

enum {
    CHUNK = 256,                        /* elements of K of a panel of pairs */
    PIECE = 2048,                       /* elements of K whose scales are decoded at once, at most */
    AHEAD = 65536,                      /* bytes: 16 weight rows at once are fetched from the second-level cache */
    ROWS = 8,                           /* of sums that are held in registers, of 32 columns */
    STEP = TILE_GROUP == CHUNK ? 8 : 4, /* pairs of a chunk between fetches of a column */
    PANEL_PAIRS = CHUNK / 2 * GMM_PANEL,
    PIECE_GROUPS = PIECE / TILE_GROUP,
    BLOCK_WORDS = 5 * GMM_TILE /* of a column, at most: of codes of 5 bits */
};

/* Pairs lie together in units of whole words of 32 bits: a word, if the number of bits is a power of two. */
static inline __attribute__((always_inline)) int unit_pairs(int bits)
{
    return gmm_tile_apart(bits);
}

static inline __attribute__((always_inline)) int unit_words(int bits)
{
    return 2 * unit_pairs(bits) * bits / 32;
}

/* A block is 16 units: so many lines of 16 words of each column, and elements of K, a power of two. */
static inline __attribute__((always_inline)) int64_t block_of(int bits)
{
    return 2 * GMM_TILE * unit_pairs(bits);
}

/* Assembly, since gcc 12 would load each pair of x into a register first, and run out of them. */
static inline vf32 add_pairs(vf32 sum, __m512bh w, const float *x)
{
    __asm__("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(w), "m"(*x));
    return sum;
}

/* ---- fetching ---- */

/* Lines of some columns, of codes, scales or biases, column after column: memory likes runs. They go to the
 * second-level cache: 16 rows that lie 4096 bytes apart share one set of the first. Addresses and not pointers: they
 * may leave the array. */
typedef struct {
    uintptr_t from;      /* the column in hand */
    int64_t at;          /* its bytes that have been fetched */
    int64_t bytes, step; /* of a column, and from one to the next */
    int64_t columns;     /* that are left */
} run;

/* What is fetched while something else is multiplied. */
typedef struct {
    run runs[2 + TILE_MIDDLES];
    int64_t each, now; /* columns for some rows of lhs each time, and those that are left of them */
} fetching;

/* The last byte of a line is asked for: the line in which a column begins came with the one before. */
static inline run run_of(const void *first, int64_t offset, int64_t bytes, int64_t step, int64_t columns)
{
    if (!first || bytes == 0 || columns <= 0)
        return (run){0};
    return (run){(uintptr_t)first + (uintptr_t)offset + 63, 0, bytes, step, columns};
}

/* What is multiplied `pieces` pieces of `columns` columns and `count` elements of K after `at`; behind the last column
 * of the call is what the next call begins with. */
static inline fetching fetch_after(const gmm_tile_call *call, const chunk *at, int64_t columns, int64_t count,
                                   int64_t pieces)
{
    const gmm_weights *weights = call->weights;
    const gmm_rows *w = &call->w;
    const bool quantized = weights->format->quantized;
    const int64_t bits = quantized ? weights->bits : 16, group = quantized ? weights->group_size : 1;
    const int64_t scale_bytes = gmm_dtype_bits(weights->scales_dtype) / 8;
    const int64_t bias_bytes = gmm_dtype_bits(weights->biases_dtype) / 8;
    int64_t k = at->k, column = at->column;

    for (; pieces > 0; pieces--) {
        k += count;
        if (k >= call->k) {
            k = 0;
            column += columns;
        }
    }
    const int64_t left = call->prepared ? 0 : call->columns + call->columns_after - column;
    const int64_t here = call->k - k < count ? call->k - k : count, most = left < columns ? left : columns;
    fetching next = {
        .runs = {run_of(w->first.codes, column * w->code_bytes + k * bits / 8, here * bits / 8, w->code_bytes, most),
                 run_of(w->first.scales, column * w->scale_bytes + k / group * scale_bytes, here / group * scale_bytes,
                        w->scale_bytes, most)}};

    if (TILE_MIDDLES)
        next.runs[1 + TILE_MIDDLES] = run_of(w->first.biases, column * w->bias_bytes + k / group * bias_bytes,
                                             here / group * bias_bytes, w->bias_bytes, most);
    return next;
}

/* Some pieces of 16 columns that fill AHEAD bytes, or many small ones. */
static inline int64_t pieces_ahead(const gmm_tile_call *call, int bits)
{
    const int64_t piece_bytes = GMM_TILE * (call->k < PIECE ? call->k : PIECE) * bits / 8;
    const int64_t pieces = (AHEAD + piece_bytes / 2) / piece_bytes;

    return pieces < 1 ? 1 : pieces < 8 ? pieces : 8;
}

/* Columns that lie one behind the other, as one. */
static inline run joined(run of)
{
    return of.columns > 0 && of.bytes == of.step ? (run){of.from, 0, of.bytes * of.columns, of.step, 1} : of;
}

static inline __attribute__((always_inline)) void pass_lines(run *of, int64_t lines)
{
    of->at += lines * 64;
    if (of->at >= of->bytes) {
        of->at = 0;
        of->from += (uintptr_t)of->step;
        of->columns--;
    }
}

static inline __attribute__((always_inline)) void fetch_lines(run *of, int64_t lines)
{
    while (lines > 0 && of->columns > 0) {
        const int64_t left = (of->bytes - of->at + 63) / 64, here = lines < left ? lines : left;
        const char *line = (const char *)of->from + of->at;
        for (int64_t i = 0; i < here; i++)
            __builtin_prefetch(line + i * 64, 0, 2);
        lines -= here;
        pass_lines(of, here);
    }
}

/* The first of so many lines, which whoever calls is to fetch; or NULL, if they do not lie side by side: they are
 * fetched here, if there are any. */
static inline __attribute__((always_inline)) const char *take_lines(run *of, int64_t lines)
{
    const char *first = (const char *)of->from + of->at;

    if (of->columns <= 0 || of->bytes - of->at < lines * 64) {
        fetch_lines(of, lines);
        return NULL;
    }
    pass_lines(of, lines);
    return first;
}

/* All lines of the next column. */
static inline __attribute__((always_inline)) void fetch_column(fetching *next)
{
    for (int i = 0; i < 2 + TILE_MIDDLES; i++) {
        run *of = &next->runs[i];
        for (int64_t line = 0; line < of->bytes; line += 64)
            __builtin_prefetch((const void *)(of->from + (uintptr_t)line), 0, 2);
        of->from += (uintptr_t)of->step;
    }
    next->runs[0].columns--;
    next->now--;
}

/* ---- weights ---- */

/* `count` elements at k, a constant number up to a block, of 16 columns; a line at a time, and so much is fetched. */
static inline __attribute__((always_inline)) void load_block(const gmm_tile_call *call, int64_t column, int64_t k,
                                                             int64_t count, int bits, run *next, vf32 *words)
{
    const char *from = (const char *)gmm_row_at(&call->w, column).codes + k * bits / 8;

    for (int64_t left = count * bits / 32; left > 0; left -= GMM_TILE, from += 64, words += GMM_TILE) {
        if (next)
            fetch_lines(next, GMM_TILE);
        if (bits == 16 && call->prepared) {
            prepared_pairs(call, column, k, true, words);
            continue;
        }
#pragma GCC unroll 16
        for (int64_t c = 0; c < GMM_TILE; c++)
            words[c] = _mm512_maskz_loadu_ps(first_16(left), from + c * call->w.code_bytes);
        vf32_transpose(words);
    }
}

/* `count` elements at k, up to a block, of 16 columns of which `there` are not missing; what is missing is zero. */
static __attribute__((noinline)) void load_part(const gmm_tile_call *call, int64_t column, int64_t there, int64_t k,
                                                int64_t count, int bits, vf32 *words)
{
    const int64_t stride = call->w.code_bytes, bytes = count * bits / 8;
    const char *from = (const char *)gmm_row_at(&call->w, column).codes + k * bits / 8;

    if (bits == 16 && call->prepared) {
        prepared_pairs(call, column, k, false, words);
        return;
    }
    for (int64_t at = 0; at < bytes; at += 64, words += GMM_TILE) {
        const __mmask64 mask = ~(__mmask64)0 >> (64 - (bytes - at < 64 ? bytes - at : 64));
        for (int64_t c = 0; c < GMM_TILE; c++)
            words[c] =
                c < there ? _mm512_castsi512_ps(_mm512_maskz_loadu_epi8(mask, from + at + c * stride)) : vf32_zero();
        vf32_transpose(words);
    }
}

/* Elements of long groups up to the end of a cache line, if all rows have them and no pair is cut; else a block. Lines
 * that are read twice would be brought twice, as 16 rows of 4096 bytes do not fit into their set of the first level. */
static inline __attribute__((always_inline)) int64_t lead_of(const gmm_tile_call *call, int64_t column, int64_t k,
                                                             int bits)
{
    const int64_t block = block_of(bits);
    const uintptr_t from = (uintptr_t)gmm_row_at(&call->w, column).codes + (uintptr_t)(k * bits / 8);

    if (block >= TILE_GROUP || call->prepared || call->w.code_bytes % 64 != 0 || from % 4 != 0)
        return block;
    return (int64_t)(64 - from % 64) * 8 / bits;
}

/* ---- a tile of few rows ---- */

/* Sums of some rows, a constant number, and 16 columns; and of the groups in hand, which are not scaled yet. */
typedef struct {
    vf32 sums[ROWS], group[ROWS];
    const char *lines; /* to be fetched meanwhile, one for a word, unless NULL */
} row_sums;

/* What belongs to groups: of 16 columns, and of rows of lhs. `at` is the group that comes next. */
typedef struct {
    const float *scales, *middles; /* [groups >> shift][16] */
    const float *x;                /* [groups][width] */
    int64_t at;
    int shift;
} group_numbers;

/* Groups that were added up side by side, a constant number. */
static inline __attribute__((always_inline)) void end_groups(row_sums *at, int groups, int rows, group_numbers *of,
                                                             int64_t width)
{
#pragma GCC unroll 4
    for (int g = 0; g < groups; g++, of->at++) {
        const int64_t place = (of->at >> of->shift) * GMM_TILE;
        const vf32 scales = vf32_load(of->scales + place);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            at->sums[r] = vf32_fma(scales, at->group[g * rows + r], at->sums[r]);
            if (TILE_MIDDLES)
                at->sums[r] =
                    vf32_fma(vf32_load(of->middles + place), vf32_all(of->x[of->at * width + r]), at->sums[r]);
            at->group[g * rows + r] = vf32_zero();
        }
    }
}

/* `number` is that of one of several groups, from 0 on. */
static inline __attribute__((always_inline)) void add_unit(row_sums *at, int number, int bits, int rows,
                                                           const vf32 *words, const float *x, int64_t width)
{
    if (at->lines) {
#pragma GCC unroll 5
        for (int i = 0; i < unit_words(bits); i++, at->lines += 64)
            __builtin_prefetch(at->lines, 0, 2);
    }
#pragma GCC unroll 16
    for (int i = 0; i < unit_pairs(bits); i++) {
        __m512bh pair = TILE_PAIR(bits, words, i);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            at->group[number * rows + r] = add_pairs(at->group[number * rows + r], pair, x + i * width + r);
    }
}

/* Some groups of a block, a constant number, side by side: one chain of additions alone would wait for itself. */
static inline __attribute__((always_inline)) void add_groups(row_sums *at, int groups, int bits, int rows,
                                                             const vf32 *words, const float *x, int64_t width,
                                                             group_numbers *of)
{
    const int64_t each = TILE_GROUP / 2 / unit_pairs(bits);

#pragma GCC unroll 8
    for (int64_t i = 0; i < each; i++)
#pragma GCC unroll 4
        for (int64_t g = 0; g < groups; g++) {
            const int64_t unit = g * each + i;
            add_unit(at, (int)g, bits, rows, words + unit * unit_words(bits), x + unit * unit_pairs(bits) * width,
                     width);
        }
    end_groups(at, groups, rows, of, width);
}

/* Some elements at k: whole groups, if a block has any, else of a group that ends where K does, at `end`. The rows of
 * lhs behind them. */
static inline __attribute__((always_inline)) const float *add_part(row_sums *at, int groups, int64_t k, int64_t count,
                                                                   int64_t end, int bits, int rows, const vf32 *words,
                                                                   const float *x, int64_t width, group_numbers *of)
{
    const int64_t group_words = TILE_GROUP * bits / 32;

    if (block_of(bits) >= TILE_GROUP) {
        for (; count >= groups * TILE_GROUP; count -= groups * TILE_GROUP) {
            add_groups(at, groups, bits, rows, words, x, width, of);
            words += groups * group_words;
            x += groups * TILE_GROUP / 2 * width;
        }
        for (; groups > 1 && count > 0; count -= TILE_GROUP, words += group_words, x += TILE_GROUP / 2 * width)
            add_groups(at, 1, bits, rows, words, x, width, of);
        return x;
    }
    for (int64_t i = 0; i < count; words++, x += width) {
        add_unit(at, 0, bits, rows, words, x, width);
        i += 2 * unit_pairs(bits);
        if ((k + i) % TILE_GROUP == 0 || k + i >= end)
            end_groups(at, 1, rows, of, width);
    }
    return x;
}

/* Up to 16 columns by some rows of lhs, a constant number. */
static inline __attribute__((always_inline)) void columns_by_rows(const gmm_tile_call *call, int64_t column, int bits,
                                                                  int rows)
{
    const int64_t width = rows > 4 ? 8 : rows > 2 ? 4 : rows; /* of the packed rows: a constant */
    const int64_t block = block_of(bits), group_words = TILE_GROUP * bits / 32;
    const int64_t ahead = pieces_ahead(call, bits);
    /* Codes that take longer to decode than to read: lines are fetched meanwhile, not before. Neither this nor joined
     * runs pay with short groups. */
    const bool spread = bits <= 6 && TILE_GROUP >= 32;
    const int64_t most = block / TILE_GROUP < 4 ? block / TILE_GROUP : 4;
    const int side = (int)(ROWS / rows < most ? ROWS / rows : most); /* groups side by side */
    const int shift = TILE_SHIFT(call);
    const int64_t left = call->columns - column;
    const float *x = (const float *)(const void *)call->x->pairs;
    chunk at = {column, left < GMM_TILE ? left : GMM_TILE, 0, 0};
    float scales[PIECE_GROUPS * GMM_TILE], middles[TILE_MIDDLES ? PIECE_GROUPS * GMM_TILE : 1];
    row_sums all;

    for (int r = 0; r < ROWS; r++)
        all.sums[r] = all.group[r] = vf32_zero();
    for (; at.k < call->k; at.k += at.count) {
        at.count = call->k - at.k < PIECE ? call->k - at.k : PIECE;
        fetching next = fetch_after(call, &at, GMM_TILE, PIECE, ahead);
        for (int i = 0; i < 2 + TILE_MIDDLES && TILE_GROUP >= 32; i++)
            next.runs[i] = joined(next.runs[i]);
        for (int i = 1; i < 2 + TILE_MIDDLES; i++)
            fetch_lines(&next.runs[i], INT64_MAX);
        const int64_t end = at.k + at.count, lead = lead_of(call, column, at.k, bits);
        group_numbers of = {scales, middles, TILE_MIDDLES ? gmm_tile_sums(call->x, 0) + at.k / TILE_GROUP * width : x,
                            .shift = shift};
        const group_block numbers = {.column = column,
                                     .there = at.columns,
                                     .first = at.k / TILE_GROUP >> shift,
                                     .count = (at.count + TILE_GROUP - 1) / TILE_GROUP >> shift,
                                     .stride = GMM_TILE};
        TILE_SCALES(call, &numbers, scales, middles);
        for (int64_t k = at.k, here; k < end; k += here) {
            const int64_t group_left = TILE_GROUP - k % TILE_GROUP;
            here = k == at.k ? lead : block;
            here = here < end - k ? here : end - k;
            const bool whole = here == block && at.columns >= GMM_TILE && (block >= TILE_GROUP || group_left >= block);
            all.lines = spread && whole ? take_lines(&next.runs[0], GMM_TILE * unit_words(bits)) : NULL;
            if (!whole || unit_words(bits) > 1) {
                vf32 some[BLOCK_WORDS];
                if (whole) {
                    load_block(call, column, k, block, bits, spread ? NULL : &next.runs[0], some);
                } else {
                    fetch_lines(&next.runs[0], GMM_TILE * unit_words(bits));
                    load_part(call, column, at.columns, k, here, bits, some);
                }
                x = add_part(&all, side, k, here, call->k, bits, rows, some, x, width, &of);
                continue;
            }
            vf32 words[GMM_TILE];
            load_block(call, column, k, block, bits, spread ? NULL : &next.runs[0], words);
            if (block < TILE_GROUP) {
#pragma GCC unroll 16
                for (int i = 0; i < GMM_TILE; i++, x += width)
                    add_unit(&all, 0, bits, rows, words + i, x, width);
                if (group_left == block || k + block >= call->k)
                    end_groups(&all, 1, rows, &of, width);
                continue;
            }
#pragma GCC unroll 16
            for (int64_t g = 0; g < block / TILE_GROUP; g += side, x += side * TILE_GROUP / 2 * width)
                add_groups(&all, side, bits, rows, words + g * group_words, x, width, &of);
        }
    }
    for (int r = 0; r < rows; r++)
        _mm512_mask_storeu_ps(call->out + r * call->out_stride + column, first_16(at.columns), all.sums[r]);
}

/* ---- many rows ---- */

/* Pairs of a chunk of a panel of columns, [pairs][GMM_PANEL]; scales of a piece, [groups][GMM_PANEL]. */
typedef struct {
    float *pairs, *scales, *middles;
} panel;

/* The scales of the piece that begins with a chunk. */
static inline __attribute__((always_inline)) void fill_scales(const gmm_tile_call *call, const chunk *at,
                                                              const panel *to)
{
    const int64_t count = call->k - at->k < PIECE ? call->k - at->k : PIECE;
    const int shift = TILE_SHIFT(call);

    for (int64_t c = 0; c < GMM_PANEL; c += GMM_TILE) {
        const group_block numbers = {.column = at->column + c,
                                     .there = at->columns - c,
                                     .first = at->k / TILE_GROUP >> shift,
                                     .count = (count + TILE_GROUP - 1) / TILE_GROUP >> shift,
                                     .stride = GMM_PANEL};
        TILE_SCALES(call, &numbers, to->scales + c, to->middles + c);
    }
}

static inline __attribute__((always_inline)) void store_pairs(const vf32 *words, int64_t count, int bits, float *pairs)
{
#pragma GCC unroll 16
    for (int64_t i = 0; i < count; i += 2 * unit_pairs(bits), words += unit_words(bits))
#pragma GCC unroll 16
        for (int j = 0; j < unit_pairs(bits); j++, pairs += GMM_PANEL)
            vf32_store(pairs, (vf32)TILE_PAIR(bits, words, j));
}

static inline __attribute__((always_inline)) void fill_panel(const gmm_tile_call *call, const chunk *at, int bits,
                                                             const panel *to)
{
    const int64_t block = block_of(bits) < CHUNK ? block_of(bits) : CHUNK;

    if (at->k % PIECE == 0)
        fill_scales(call, at, to);
    for (int64_t k = 0, here; k < at->count; k += here) {
        here = k == 0 ? lead_of(call, at->column, at->k, bits) : block;
        here = here < at->count - k ? here : at->count - k;
        for (int64_t c = 0; c < GMM_PANEL; c += GMM_TILE) {
            float *pairs = to->pairs + k / 2 * GMM_PANEL + c;
            vf32 words[BLOCK_WORDS];
            if (here == block && at->columns - c >= GMM_TILE) {
                load_block(call, at->column + c, at->k + k, block, bits, NULL, words);
                store_pairs(words, block, bits, pairs);
            } else {
                vf32 some[BLOCK_WORDS];
                load_part(call, at->column + c, at->columns - c, at->k + k, here, bits, some);
                store_pairs(some, here, bits, pairs);
            }
        }
    }
    for (int64_t pair = (at->count + 1) / 2; pair < gmm_tile_blocks(at->count) * GMM_TILE; pair++)
        memset(to->pairs + pair * GMM_PANEL, 0, GMM_PANEL * sizeof(float));
}

/* A panel by some rows, a constant number, of a tile of lhs: added to what is in out, unless it is the first of K. */
static inline __attribute__((always_inline)) void chunk_by_rows(const gmm_tile_call *call, const chunk *at,
                                                                const panel *of, const float *x, const float *x_sums,
                                                                float *out, int rows, fetching *next)
{
    const int64_t width = call->x->width, pairs = gmm_tile_blocks(at->count) * GMM_TILE;
    const int shift = TILE_SHIFT(call);
    const float *w = of->pairs;
    int64_t number = at->k % PIECE / TILE_GROUP; /* of a group */
    const __mmask16 there[2] = {first_16(at->columns), first_16(at->columns > GMM_TILE ? at->columns - GMM_TILE : 0)};
    vf32 sums[ROWS][2];

    out += at->column;
    for (int r = 0; r < rows; r++)
        for (int half = 0; half < 2; half++)
            sums[r][half] = at->k == 0
                                ? vf32_zero()
                                : _mm512_maskz_loadu_ps(there[half], out + r * call->out_stride + half * GMM_TILE);
    for (int64_t group = 0; group < pairs; group += TILE_GROUP / 2, number++) {
        const float *scales = of->scales + (number >> shift) * GMM_PANEL;
        const float *middles = of->middles + (number >> shift) * GMM_PANEL;
        const int64_t end = group + TILE_GROUP / 2 < pairs ? group + TILE_GROUP / 2 : pairs;
        vf32 products[ROWS][2];
        for (int r = 0; r < rows; r++)
            products[r][0] = products[r][1] = vf32_zero();
        for (int64_t p = group; p < end; p++, w += GMM_PANEL, x += width) {
            const __m512bh first = (__m512bh)vf32_load(w), second = (__m512bh)vf32_load(w + GMM_TILE);
            if (p % STEP == 0 && next->now > 0)
                fetch_column(next);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                const __m512bh both = (__m512bh)vf32_all(x[r]);
                products[r][0] = _mm512_dpbf16_ps(products[r][0], first, both);
                products[r][1] = _mm512_dpbf16_ps(products[r][1], second, both);
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            for (int half = 0; half < 2; half++) {
                sums[r][half] = vf32_fma(vf32_load(scales + half * GMM_TILE), products[r][half], sums[r][half]);
                if (TILE_MIDDLES)
                    sums[r][half] = vf32_fma(vf32_load(middles + half * GMM_TILE), vf32_all(x_sums[r]), sums[r][half]);
            }
        x_sums += TILE_MIDDLES ? width : 0;
    }
    for (int r = 0; r < rows; r++)
        for (int half = 0; half < 2; half++)
            _mm512_mask_storeu_ps(out + r * call->out_stride + half * GMM_TILE, there[half], sums[r][half]);
}

/* CALL with a number of rows, 1 to ROWS, as a constant. */
#define CASE(rows, CALL)                                                                                               \
    case rows:                                                                                                         \
        CALL(rows);                                                                                                    \
        break;
#define BY_ROWS(count, CALL)                                                                                           \
    switch (count) {                                                                                                   \
        CASE(1, CALL)                                                                                                  \
        CASE(2, CALL)                                                                                                  \
        CASE(3, CALL)                                                                                                  \
        CASE(4, CALL)                                                                                                  \
        CASE(5, CALL)                                                                                                  \
        CASE(6, CALL)                                                                                                  \
        CASE(7, CALL)                                                                                                  \
        CASE(8, CALL)                                                                                                  \
    }

static void chunk_by_tile(const gmm_tile_call *call, const chunk *at, const panel *of, int64_t tile, fetching *next)
{
    const gmm_tile_rows *x = call->x;
    const char *pairs = x->pairs + tile * gmm_tile_bytes(x) + at->k / GMM_TILE_BLOCK * gmm_tile_block_bytes(x);
    const float *sums = TILE_MIDDLES ? gmm_tile_sums(x, tile) + at->k / TILE_GROUP * x->width : NULL;
    const int64_t first = tile * x->rows, rows = call->rows - first < x->rows ? call->rows - first : x->rows;
    const int64_t parts = gmm_tile_count(rows, ROWS);

    for (int64_t i = 0; i < parts; i++) {
        int64_t row = gmm_tile_begin(rows, parts, i), count = gmm_tile_begin(rows, parts, i + 1) - row;
        const float *from = (const float *)(const void *)pairs + row, *from_sums = TILE_MIDDLES ? sums + row : NULL;
        float *out = call->out + (first + row) * call->out_stride;
        next->now = next->each < next->runs[0].columns ? next->each : next->runs[0].columns;
#define CALL(rows) chunk_by_rows(call, at, of, from, from_sums, out, rows, next)
        BY_ROWS(count, CALL)
#undef CALL
    }
}

static inline __attribute__((always_inline)) void tile_multiply(const gmm_tile_call *call, int bits)
{
    const int64_t tiles = gmm_tile_count(call->rows, call->x->rows);
    float *pairs = (float *)(void *)call->scratch, *scales = pairs + PANEL_PAIRS;
    const panel chunk_panel = {pairs, scales, scales + TILE_MIDDLES * PIECE_GROUPS * GMM_PANEL};

    if (call->rows <= ROWS) {
        const chunk first = {0, GMM_TILE, 0, PIECE};
        const int64_t ahead = pieces_ahead(call, bits);
        for (int64_t i = 0; i < ahead && call->begins; i++) {
            fetching next = fetch_after(call, &first, GMM_TILE, PIECE, i);
            for (int j = 0; j < 2 + TILE_MIDDLES; j++)
                fetch_lines(&next.runs[j], INT64_MAX);
        }
        for (int64_t column = 0; column < call->columns; column += GMM_TILE) {
#define CALL(rows) columns_by_rows(call, column, bits, rows)
            BY_ROWS(call->rows, CALL)
#undef CALL
        }
        return;
    }
    for (chunk at = chunk_at(call, 0, 0, CHUNK); at.columns > 0; at = chunk_after(call, &at, CHUNK)) {
        fetching next = fetch_after(call, &at, GMM_PANEL, CHUNK, 1);
        /* All of them in three quarters of the time. */
        next.each = 4 * GMM_PANEL / (3 * ((call->rows + ROWS - 1) / ROWS)) + 1;
        fill_panel(call, &at, bits, &chunk_panel);
        for (int64_t tile = 0; tile < tiles; tile++)
            chunk_by_tile(call, &at, &chunk_panel, tile, &next);
    }
}

static __attribute__((unused)) int64_t tile_scratch_bytes(int64_t tiles)
{
    (void)tiles;
    return (PANEL_PAIRS + (1 + TILE_MIDDLES) * PIECE_GROUPS * GMM_PANEL) * (int64_t)sizeof(float);
}
