/* class_codes_body.h - panels of codes: words transposed so that lanes lie along N, decoded a class at a time.
 * SPDX-License-Identifier: MIT
 *
 * Include after dot_grouped_body.h, whose parameters serve here too. Another parameter:
 *   column_weights  vf32 column_weights(int variant, vi32 codes, vf32 scales, vf32 biases): one code of each column,
 *                   and anything above its bits.
 * A panel is two halves of 16 columns: words, then scales, then biases; each [..][16] with a lane a column. A run of 32
 * codes is `bits` words, and a class wants the same one or two of each run: the first words of all runs come first,
 * then all second ones, and so on. */

enum {
    COLUMN_CHUNK = 16 /* groups whose scales are transposed together */
};

/* Where the parts of a half begin, and where it ends, in 4-byte elements. */
typedef struct {
    int64_t scales, biases, end;
} half_layout;

static inline half_layout lay_out_half(int64_t k, int64_t bits, int64_t size)
{
    int64_t words = (k * bits / 32 + 15) / 16 * 16,
            groups = (k / size + COLUMN_CHUNK - 1) / COLUMN_CHUNK * COLUMN_CHUNK;

    return (half_layout){.scales = words * 16, .biases = (words + groups) * 16, .end = (words + 2 * groups) * 16};
}

static int64_t class_bytes(const gmm_weights *weights, int64_t k)
{
    return 2 * 4 * lay_out_half(k, weights->bits, GROUP_SIZE(weights)).end;
}

static inline gmm_row code_row(const gmm_class_codes *codes, int64_t column)
{
    return gmm_row_at(&codes->w, column < codes->columns ? column : codes->columns - 1);
}

/* to[i] lane j = rows[j] lane i. */
static inline void transpose_to(vf32 rows[16], float *to)
{
    vf32_transpose(rows);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        vf32_store(to + i * 16, rows[i]);
}

/* Scales and biases of one half. */
static inline __attribute__((always_inline)) void fill_scales(const gmm_class_codes *codes, int variant, int64_t column,
                                                              float *scales, float *biases)
{
    const int64_t size = GROUP_SIZE(codes->weights), groups = codes->k / size;

    for (int64_t g = 0; g < groups; g += COLUMN_CHUNK) {
        int64_t count = groups - g < COLUMN_CHUNK ? groups - g : COLUMN_CHUNK;
        vf32 scale_rows[16], bias_rows[16];
        for (int c = 0; c < 16; c++) {
            float scale[COLUMN_CHUNK], bias[COLUMN_CHUNK] = {0};
            group_scales(variant, codes->weights, code_row(codes, column + c), codes->begin / size + g, count, scale,
                         bias);
            scale_rows[c] = vf32_load(scale);
            bias_rows[c] = vf32_load(bias);
        }
        transpose_to(scale_rows, scales + g * 16);
        transpose_to(bias_rows, biases + g * 16);
    }
}

static inline __attribute__((always_inline)) void class_fill_variant(const gmm_class_codes *codes, int variant)
{
    const int64_t bits = group_bits(variant), runs = (codes->k + 31) / 32;
    int64_t words = codes->k * bits / 32, first = codes->begin * bits / 32;
    half_layout layout = lay_out_half(codes->k, bits, GROUP_SIZE(codes->weights));

    for (int half = 0; half < 2; half++) {
        float *panel = (float *)(void *)codes->panel + half * layout.end;
        for (int64_t w = 0; w < words; w += 16) {
            int64_t count = words - w < 16 ? words - w : 16;
            vf32 rows[16];
            float block[16 * 16];
#pragma GCC unroll 16
            for (int c = 0; c < 16; c++)
                rows[c] = vf32_load_first(
                    count, (const void *)((const char *)code_row(codes, half * 16 + c).codes + (first + w) * 4));
            transpose_to(rows, block);
            for (int64_t i = w; i < w + count; i++)
                vf32_store(panel + (i % bits * runs + i / bits) * 16, vf32_load(block + (i - w) * 16));
        }
        fill_scales(codes, variant, half * 16, panel + layout.scales, panel + layout.biases);
    }
}

/* How to get at one code of every run, of 16 columns. */
typedef struct {
    const float *words;
    int64_t next; /* floats to the words that follow these in their runs */
    vi32 shift, rest;
} code_place;

static inline code_place place_of(const float *panel, int64_t bits, int64_t runs, int64_t element)
{
    int64_t bit = element * bits;

    return (code_place){
        .words = panel + bit / 32 * runs * 16,
        .next = runs * 16,
        .shift = vi32_all((int32_t)(bit % 32)),
        .rest = vi32_all((int32_t)(32 - bit % 32)),
    };
}

/* The code of run number `run`, and anything above its bits. */
static inline vi32 codes_at(const code_place *place, int64_t run, bool straddles)
{
    const float *words = place->words + run * 16;
    vi32 codes = vi32_shift_right(vf32_bits(vf32_load(words)), place->shift);

    if (straddles)
        codes = vi32_or(codes, vi32_shift_left(vf32_bits(vf32_load(words + place->next)), place->rest));
    return codes;
}

static inline bool straddles(int64_t bits, int64_t element)
{
    return element * bits % 32 + bits > 32;
}

/* Elements c, c + 16, c + 32, ... of a half, a row of `to` each. The last two, which say whether codes c and c + 16 of
 * a run lie in two words, are compile-time constants. */
static inline __attribute__((always_inline)) void decode_half(const gmm_class_codes *codes, int variant,
                                                              const float *panel, int64_t c, float *to,
                                                              bool low_straddles, bool high_straddles)
{
    const int64_t bits = group_bits(variant), size = GROUP_SIZE(codes->weights);
    const int64_t runs = (codes->k + 31) / 32, whole_runs = codes->k / 32, runs_of_group = size < 32 ? 1 : size / 32;
    half_layout layout = lay_out_half(codes->k, bits, size);
    const float *scales = panel + layout.scales, *biases = panel + layout.biases;
    code_place low = place_of(panel, bits, runs, c), high = place_of(panel, bits, runs, c + 16);
    int64_t group_step = size < 32 ? 2 * 16 : 16, left = runs_of_group;

    for (int64_t run = 0; run < whole_runs; run++, to += 2 * GMM_PANEL) {
        /* All is loaded before anything is stored: compilers cannot know that `to` is elsewhere. */
        vf32 scale = vf32_load(scales), bias = vf32_load(biases);
        vf32 weights = column_weights(variant, codes_at(&low, run, low_straddles), scale, bias);
        if (size < 32) {
            scale = vf32_load(scales + 16);
            bias = vf32_load(biases + 16);
        }
        vf32_store(to + GMM_PANEL, column_weights(variant, codes_at(&high, run, high_straddles), scale, bias));
        vf32_store(to, weights);
        if (--left == 0) {
            scales += group_step;
            biases += group_step;
            left = runs_of_group;
        }
    }
    if (codes->k % 32) /* half a run, of groups of 16 */
        vf32_store(to, column_weights(variant, codes_at(&low, whole_runs, low_straddles), vf32_load(scales),
                                      vf32_load(biases)));
}

static inline __attribute__((always_inline)) void class_decode_variant(const gmm_class_codes *codes, int variant,
                                                                       int64_t c, float *to)
{
    const int64_t bits = group_bits(variant);
    const float *panel = (const float *)(const void *)codes->panel;
    int64_t half = lay_out_half(codes->k, bits, GROUP_SIZE(codes->weights)).end;

    for (int i = 0; i < 2; i++, panel += half, to += 16)
        if (straddles(bits, c) && straddles(bits, c + 16))
            decode_half(codes, variant, panel, c, to, true, true);
        else if (straddles(bits, c))
            decode_half(codes, variant, panel, c, to, true, false);
        else if (straddles(bits, c + 16))
            decode_half(codes, variant, panel, c, to, false, true);
        else
            decode_half(codes, variant, panel, c, to, false, false);
}
