/* int8_avx2_body.h - int8 sums of one weight format with vpmaddubsw: 32 products of u8 by i8, added by twos in 16 bits.
 * SPDX-License-Identifier: MIT
 *
 * Include after kernels/avx2/codes_avx2.h and kernels/int8.h. Parameters, where bits is a constant at every call:
 *   __m256i codes_32(int bits, const uint8_t *from);
 *       32 codes of other sizes than four bits in bytes, in the order of K. Reads nothing else.
 *   __m256i from_nibbles(__m256i nibbles);
 *       The codes of these, if they have four bits.
 *   void group_scales(const gmm_weights *weights, gmm_row row, int64_t first, int64_t count, float *scales,
 *                     float *biases);
 *       Of groups first, first + 1, ... as f32; biases only if INT8_BIASES.
 *   int largest_code(int bits);
 *   int zero_code(int bits);
 *       What is to be taken off the codes.
 *   INT8_BIASES  whether the format has biases.
 *
 * Sums of two products are added in 16 bits as long as they cannot overflow, then by twos in 32 bits. Codes of 8 bits
 * would saturate even alone: codes_32 gives them as signed bytes, code - 128, whose magnitudes are multiplied by x with
 * their signs: 2 * 128 * 127 is below 2^15. */

enum {
    INT8_MR = 4,      /* rows whose sums stay in registers: eight of them, two of weights and their magnitudes, x */
    INT8_COLUMNS = 8, /* of the dot body: lanes of the final sums */
    INT8_GROUPS = 64, /* whose terms are kept until all columns have theirs */
    INT8_BLOCK = 64,  /* elements: 32 bytes of four-bit codes */
    INT8_STEP = 4 * GMM_PANEL, /* bytes of a panel's codes: four elements of each column */
    INT8_AHEAD = 2048,         /* bytes: how far the dot body fetches ahead, at least */
};

/* ---- products ---- */

/* How many of products' results can be added in 16 bits, as a power of two. */
static inline __attribute__((always_inline)) int sums_in_16_bits(int bits)
{
    const int most = INT16_MAX / (2 * 127 * largest_code(bits));

    return most >= 8 ? 8 : most >= 4 ? 4 : most >= 2 ? 2 : 1;
}

/* Of each two neighbours, the sum. */
static inline __attribute__((always_inline)) __m256i products(int bits, __m256i codes, __m256i x)
{
    return bits == 8 ? _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes))
                     : _mm256_maddubs_epi16(codes, x);
}

static inline __m256i in_32_bits(__m256i sums)
{
    return _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
}

/* What groups add to a sum, but for the scales of x. */
static inline __attribute__((always_inline)) __m256 group_terms(int bits, __m256i sums, __m256 x_sums, __m256 scales,
                                                                __m256 biases)
{
    __m256 exact = _mm256_cvtepi32_ps(sums);

    if (zero_code(bits) != 0)
        exact = _mm256_fnmadd_ps(_mm256_set1_ps((float)zero_code(bits)), x_sums, exact);
    return INT8_BIASES ? _mm256_fmadd_ps(biases, x_sums, _mm256_mul_ps(scales, exact)) : _mm256_mul_ps(scales, exact);
}

/* Of four-bit codes those in the lower halves of bytes, and those in the upper. */
static inline void split(__m256i both, __m256i *codes)
{
    const __m256i low = _mm256_set1_epi8(15);

    codes[0] = from_nibbles(_mm256_and_si256(both, low));
    codes[1] = from_nibbles(_mm256_and_si256(_mm256_srli_epi16(both, 4), low));
}

/* ---- activations ---- */

static inline uint32_t largest_magnitude(const float *from, int64_t size)
{
    __m256i most = _mm256_setzero_si256();

    /* Non-negative floats are ordered as their bits are; infinities and NaN come last. */
    for (int64_t i = 0; i < size; i += 8)
        most = _mm256_max_epu32(most, _mm256_and_si256(load_32_bytes(from + i), _mm256_set1_epi32(0x7fffffff)));
    __m128i four = _mm_max_epu32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(four, _mm_shuffle_epi32(four, 0xb1)));
}

/* Elements of one group, all finite. Returns the sum of their codes. */
static inline int32_t round_group(const float *from, int64_t size, float inverse, int8_t *codes)
{
    const __m256 factor = _mm256_set1_ps(inverse);
    __m128i sum = _mm_setzero_si128();

    for (int64_t i = 0; i < size; i += 16) {
        __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(from + i), factor));
        __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(from + i + 8), factor));
        /* Packing interleaves halves of its operands. */
        __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
        __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128((__m128i *)(void *)(codes + i), bytes);
        sum = _mm_add_epi32(sum, _mm_madd_epi16(_mm_maddubs_epi16(_mm_set1_epi8(1), bytes), _mm_set1_epi16(1)));
    }
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}

static void quantize(const float *from, int64_t k, int32_t group_size, const gmm_int8_row *x)
{
    for (int64_t g = 0; g < k / group_size; g++, from += group_size) {
        gmm_int8_scale scale = gmm_int8_scale_of(largest_magnitude(from, group_size));
        int8_t *codes = x->codes + g * group_size;
        x->scales[g] = scale.scale;
        if (scale.inverse > 0) {
            x->sums[g] = (float)round_group(from, group_size, scale.inverse, codes);
        } else { /* elements may be infinite or NaN */
            x->sums[g] = 0;
            memset(codes, 0, (size_t)group_size);
        }
    }
}

/* Codes lie [k / 4][rows][4]. Of eight four-bit codes fill_nibbles puts the even ones first, and so does this. */
static void pack(const gmm_int8_row *from, int64_t rows, const gmm_weights *weights, const gmm_int8_tiles *to)
{
    const __m128i even_odd = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
    const int64_t groups = to->k / weights->group_size;

    for (int64_t r = 0; r < rows; r++) {
        for (int64_t k = 0; k < to->k; k += 16) {
            __m128i codes = load_16_bytes(from[r].codes + k);
            if (weights->bits == 4)
                codes = _mm_shuffle_epi8(codes, even_odd);
            for (int i = 0; i < 4; i++, codes = _mm_srli_si128(codes, 4)) {
                int32_t four = _mm_cvtsi128_si32(codes);
                memcpy(to->codes + (k + 4 * i) * rows + 4 * r, &four, sizeof four);
            }
        }
        for (int64_t g = 0; g < groups; g++) {
            to->factors[2 * g * rows + r] = from[r].scales[g];
            to->factors[2 * g * rows + rows + r] = from[r].sums[g];
        }
    }
}

/* ---- few rows: lanes along K, then along groups, then along columns ----
 *
 * Of a block of four-bit codes the lower halves of bytes are the even ones, the upper halves the odd ones, and x is put
 * in that order; other codes are widened to bytes in the order of K. */

/* x block after block; zeros from `count` to `end`, which is whole blocks. */
static void turn_x(const int8_t *x, int64_t count, int64_t end, int8_t *to)
{
    const __m256i even_odd = twice(_mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
    int8_t last[INT8_BLOCK] = {0};

    memset(to + count, 0, (size_t)(end - count));
    for (int64_t i = 0; i < count; i += INT8_BLOCK) {
        const int8_t *from = count - i < INT8_BLOCK ? memcpy(last, x + i, (size_t)(count - i)) : x + i;
        __m256i low = _mm256_shuffle_epi8(load_32_bytes(from), even_odd);
        __m256i high = _mm256_shuffle_epi8(load_32_bytes(from + 32), even_odd);
        store_32_bytes(to + i, _mm256_permute4x64_epi64(_mm256_unpacklo_epi64(low, high), 0xd8));
        store_32_bytes(to + i + 32, _mm256_permute4x64_epi64(_mm256_unpackhi_epi64(low, high), 0xd8));
    }
}

/* Codes as the sums want them, for rows to share. */
static inline __attribute__((always_inline)) void turn_codes(int bits, const uint8_t *codes, int64_t count, uint8_t *to)
{
    for (int64_t i = 0; i < count && bits == 4; i += INT8_BLOCK) {
        __m256i parts[2];
        split(load_32_bytes(codes + i / 2), parts);
        store_32_bytes(to + i, parts[0]);
        store_32_bytes(to + i + 32, parts[1]);
    }
    for (int64_t i = 0; i < count && bits != 4; i += 32)
        store_32_bytes(to + i, codes_32(bits, codes + i * bits / 8));
}

/* As _mm256_hadd_epi32, of which Zen 3 begins one in two cycles. */
static inline __m256i add_pairs(__m256i a, __m256i b)
{
    __m256 c = _mm256_castsi256_ps(a), d = _mm256_castsi256_ps(b);

    return _mm256_add_epi32(_mm256_castps_si256(_mm256_shuffle_ps(c, d, 0x88)),
                            _mm256_castps_si256(_mm256_shuffle_ps(c, d, 0xdd)));
}

/* Lane g: the sum of v[g]. */
static inline __m256i sums_of_lanes(const __m256i v[8])
{
    __m256i low = add_pairs(add_pairs(v[0], v[1]), add_pairs(v[2], v[3]));
    __m256i high = add_pairs(add_pairs(v[4], v[5]), add_pairs(v[6], v[7]));

    return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31));
}

/* The integer sums of eight groups of four-bit codes, one a lane. A vector is a group, or two, or four. Codes lie
 * packed or, `turned`, as turn_codes() puts them. */
static inline __attribute__((always_inline)) __m256i sums_of_nibbles(int size, bool turned, const uint8_t *codes,
                                                                     const int8_t *x)
{
    const int vectors = size < INT8_BLOCK ? size / 8 : 8, blocks = size < INT8_BLOCK ? 1 : size / INT8_BLOCK;
    __m256i v[8];

#pragma GCC unroll 8
    for (int n = 0; n < vectors; n++) {
        __m256i sums = _mm256_setzero_si256();
#pragma GCC unroll 2
        for (int i = n * blocks * INT8_BLOCK; i < (n + 1) * blocks * INT8_BLOCK; i += INT8_BLOCK) {
            __m256i parts[2];
            if (turned) {
                parts[0] = load_32_bytes(codes + i);
                parts[1] = load_32_bytes(codes + i + 32);
            } else {
                split(load_32_bytes(codes + i / 2), parts);
            }
            /* At most 8 products in 16 bits: of 24 * 127 each. */
            sums = _mm256_add_epi16(sums, _mm256_add_epi16(products(4, parts[0], load_32_bytes(x + i)),
                                                           products(4, parts[1], load_32_bytes(x + i + 32))));
        }
        v[n] = in_32_bits(sums);
    }
    if (size == 16)
        return _mm256_permutevar8x32_epi32(add_pairs(v[0], v[1]), _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7));
    if (size == 32)
        return _mm256_permutevar8x32_epi32(add_pairs(add_pairs(v[0], v[1]), add_pairs(v[2], v[3])),
                                           _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    return sums_of_lanes(v);
}

/* Likewise of codes of other sizes. */
static inline __attribute__((always_inline)) __m256i sums_of_bytes(int bits, int size, bool turned, int64_t groups,
                                                                   const uint8_t *codes, const int8_t *x)
{
    const int blocks = size / 32, adds = sums_in_16_bits(bits) < blocks ? sums_in_16_bits(bits) : blocks;
    __m256i v[8];

    for (int64_t g = 0; g < groups; g++) {
        v[g] = _mm256_setzero_si256();
#pragma GCC unroll 4
        for (int b = 0; b < blocks; b += adds) {
            __m256i sums = _mm256_setzero_si256();
#pragma GCC unroll 4
            for (int i = b; i < b + adds; i++) {
                int64_t at = g * size + i * 32;
                __m256i block = turned ? load_32_bytes(codes + at) : codes_32(bits, codes + at * bits / 8);
                sums = _mm256_add_epi16(sums, products(bits, block, load_32_bytes(x + at)));
            }
            v[g] = _mm256_add_epi32(v[g], in_32_bits(sums));
        }
    }
    for (int64_t g = groups; g < 8; g++)
        v[g] = _mm256_setzero_si256();
    return sums_of_lanes(v);
}

static inline __attribute__((always_inline)) __m256i sums_of_8(int bits, int size, bool turned, int64_t groups,
                                                               const uint8_t *codes, const int8_t *x)
{
    return bits == 4 ? sums_of_nibbles(size, turned, codes, x) : sums_of_bytes(bits, size, turned, groups, codes, x);
}

/* Terms of `count` groups of one column from group `first` on, those of row r at terms[r]. x: rows from there on. Two
 * or more rows, which `several`, a constant, says, share what codes are turned to. */
static inline __attribute__((always_inline)) void column_terms(const gmm_int8_dot *call, const int8_t *const *x,
                                                               int bits, int size, bool several, int64_t column,
                                                               int64_t first, int64_t count,
                                                               float (*terms)[INT8_COLUMNS][INT8_GROUPS], int64_t at)
{
    gmm_row row = gmm_row_at(&call->w, column);
    const uint8_t *codes = (const uint8_t *)row.codes + first * size * bits / 8;
    const int64_t row_count = several ? call->rows : 1;
    float scales[INT8_GROUPS], biases[INT8_GROUPS];
    /* Rows lie one after the other, mostly: a few KB ahead is the next one, or the one after that. */
    int64_t row_bytes = call->k * bits / 8, rows = 1 + INT8_AHEAD / row_bytes;
    uintptr_t ahead = (uintptr_t)codes + (uintptr_t)(rows * call->w.code_bytes);

    group_scales(call->weights, row, first, count, scales, biases);
    for (int64_t g = 0; g < count; g += 8, codes += size * bits) {
        int64_t groups = count - g < 8 ? count - g : 8;
        const uint8_t *from = codes;
        uint8_t last[8 * 128 / 2], turned[8 * 128];
        for (int64_t line = 0; line < size * bits; line += 64)
            __builtin_prefetch((const void *)(ahead + (uintptr_t)line));
        ahead += (uintptr_t)(size * bits);
        if (bits == 4 && groups < 8) { /* x is zeros there */
            memset(last, 0, sizeof last);
            from = memcpy(last, codes, (size_t)(groups * size / 2));
        }
        if (several) {
            turn_codes(bits, from, bits == 4 ? 8 * size : groups * size, turned);
            from = turned;
        }
        for (int64_t r = 0; r < row_count; r++) {
            __m256i sums = sums_of_8(bits, size, several, groups, from, x[r] + g * size);
            __m256 x_sums = _mm256_maskload_ps(call->x[r].sums + first + g, first_lanes(groups));
            _mm256_storeu_ps(terms[r][at] + g,
                             group_terms(bits, sums, x_sums, _mm256_loadu_ps(scales + g),
                                         INT8_BIASES ? _mm256_loadu_ps(biases + g) : _mm256_setzero_ps()));
        }
    }
}

/* Terms of eight columns added up, group after group. */
static inline __m256 add_terms(__m256 sum, float (*terms)[INT8_GROUPS], int64_t columns, int64_t count,
                               const float *scales)
{
    for (int64_t g = 0; g < count; g += 8) {
        __m256 lanes[8];
#pragma GCC unroll 8
        for (int c = 0; c < 8; c++)
            lanes[c] = c < columns ? _mm256_loadu_ps(terms[c] + g) : _mm256_setzero_ps();
        transpose_8(lanes);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++)
            if (g + i < count)
                sum = _mm256_fmadd_ps(_mm256_set1_ps(scales[g + i]), lanes[i], sum);
    }
    return sum;
}

/* Rows of x from `begin` on, in the order of the codes: in `turned`, with zeros up to `end`, unless they lie that way.
 */
static inline void x_in_order(const gmm_int8_dot *call, int bits, int64_t begin, int64_t count, int64_t end,
                              int8_t (*turned)[INT8_GROUPS * 128], const int8_t **x)
{
    for (int64_t r = 0; r < call->rows; r++) {
        x[r] = call->x[r].codes + begin;
        if (bits == 4) {
            turn_x(x[r], count, end, turned[r]);
            x[r] = turned[r];
        }
    }
}

static inline __attribute__((always_inline)) void dot_rows(const gmm_int8_dot *call, int bits, int size, bool several)
{
    const int64_t rows = several ? call->rows : 1, groups = call->k / size;
    float terms[GMM_INT8_MOST_DOT_ROWS][INT8_COLUMNS][INT8_GROUPS];
    int8_t turned[GMM_INT8_MOST_DOT_ROWS][INT8_GROUPS * 128];

    for (int64_t panel = 0; panel < call->columns; panel += GMM_PANEL) {
        int64_t end = panel + GMM_PANEL < call->columns ? panel + GMM_PANEL : call->columns;
        __m256 sums[GMM_PANEL / INT8_COLUMNS][GMM_INT8_MOST_DOT_ROWS];
        for (int i = 0; i < GMM_PANEL / INT8_COLUMNS; i++)
            for (int64_t r = 0; r < rows; r++)
                sums[i][r] = _mm256_setzero_ps();
        for (int64_t first = 0; first < groups; first += INT8_GROUPS) {
            int64_t count = groups - first < INT8_GROUPS ? groups - first : INT8_GROUPS;
            const int8_t *x[GMM_INT8_MOST_DOT_ROWS];
            x_in_order(call, bits, first * size, count * size, (count + 7) / 8 * 8 * size, turned, x);
            for (int64_t column = panel; column < end; column += INT8_COLUMNS) {
                int64_t columns = end - column < INT8_COLUMNS ? end - column : INT8_COLUMNS;
                __m256 *of = sums[(column - panel) / INT8_COLUMNS];
                for (int64_t c = 0; c < columns; c++)
                    column_terms(call, x, bits, size, several, column + c, first, count, terms, c);
                for (int64_t r = 0; r < rows; r++)
                    of[r] = add_terms(of[r], terms[r], columns, count, call->x[r].scales + first);
            }
        }
        for (int64_t column = panel; column < end; column += INT8_COLUMNS)
            for (int64_t r = 0; r < rows; r++)
                _mm256_maskstore_ps(call->out + r * call->out_stride + column, first_lanes(end - column),
                                    sums[(column - panel) / INT8_COLUMNS][r]);
    }
}

static inline __attribute__((always_inline)) void dot_variant(const gmm_int8_dot *call, int bits, int size)
{
    if (call->rows == 1)
        dot_rows(call, bits, size, false);
    else
        dot_rows(call, bits, size, true);
}

/* ---- many rows: lanes along N, four elements of K in each ---- */

/* Up to 64 codes of four bits of eight columns. 32 bits of each column, turned as they lie, are two steps of four
 * elements, the even ones and the odd ones. `bytes` of each column are read. */
static inline void fill_nibbles(const uint8_t *const *from, int64_t at, int64_t bytes, uint8_t *to)
{
    uint8_t padded[32] = {0};
    __m256 lanes[8];

    for (int c = 0; c < 8; c++) {
        const uint8_t *column = from[c] + at;
        if (bytes < 32)
            column = memcpy(padded, column, (size_t)bytes);
        lanes[c] = _mm256_castsi256_ps(load_32_bytes(column));
    }
    transpose_8(lanes);
    for (int i = 0; i * 4 < bytes; i++) {
        __m256i parts[2];
        split(_mm256_castps_si256(lanes[i]), parts);
        store_32_bytes(to + 2 * i * INT8_STEP, parts[0]);
        store_32_bytes(to + (2 * i + 1) * INT8_STEP, parts[1]);
    }
}

/* 32 codes of any number of bits of eight columns, in the order of K. */
static inline __attribute__((always_inline)) void fill_bytes(const uint8_t *const *from, int64_t at, int bits,
                                                             uint8_t *to)
{
    __m256 lanes[8];

#pragma GCC unroll 8
    for (int c = 0; c < 8; c++)
        lanes[c] = _mm256_castsi256_ps(codes_32(bits, from[c] + at));
    transpose_8(lanes);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        _mm256_store_ps((float *)(void *)(to + i * INT8_STEP), lanes[i]);
}

/* Lane c of number g at to[g * GMM_PANEL]: from[c][g]. */
static inline void turn_floats(float (*from)[8], int64_t count, float *to)
{
    __m256 lanes[8];

    for (int c = 0; c < 8; c++)
        lanes[c] = _mm256_loadu_ps(from[c]);
    transpose_8(lanes);
    for (int g = 0; g < count; g++)
        _mm256_store_ps(to + g * GMM_PANEL, lanes[g]);
}

static inline void fill_scales(const gmm_int8_panel *panel, const gmm_row *rows, int64_t column)
{
    const int64_t size = panel->weights->group_size, begin = panel->begin / size, groups = panel->k / size;
    float scales[8][8] = {0}, biases[8][8] = {0};

    for (int64_t g = 0; g < groups; g += 8) {
        int64_t count = groups - g < 8 ? groups - g : 8;
        for (int c = 0; c < 8; c++)
            group_scales(panel->weights, rows[c], begin + g, count, scales[c], biases[c]);
        turn_floats(scales, count, panel->scales + g * GMM_PANEL + column);
        if (INT8_BIASES)
            turn_floats(biases, count, panel->biases + g * GMM_PANEL + column);
    }
}

static inline __attribute__((always_inline)) void fill_variant(const gmm_int8_panel *panel, int bits)
{
    for (int64_t column = 0; column < GMM_PANEL; column += 8) {
        const uint8_t *from[8];
        gmm_row rows[8];
        for (int64_t c = 0; c < 8; c++) { /* columns that are missing get the last one's */
            rows[c] = gmm_row_at(&panel->w, column + c < panel->columns ? column + c : panel->columns - 1);
            from[c] = (const uint8_t *)rows[c].codes + panel->begin * bits / 8;
        }
        uint8_t *to = panel->codes + column * 4;
        if (bits == 4)
            for (int64_t k = 0; k < panel->k; k += 64)
                fill_nibbles(from, k / 2, panel->k - k < 64 ? (panel->k - k) / 2 : 32, to + k / 4 * INT8_STEP);
        else
            for (int64_t k = 0; k < panel->k; k += 32)
                fill_bytes(from, k * bits / 8, bits, to + k / 4 * INT8_STEP);
        fill_scales(panel, rows, column);
    }
}

/* `steps` of them at once: compilers spill sums around one step's branches. */
static __attribute__((noinline)) void fetch_ahead(gmm_ahead *ahead, int64_t steps)
{
    while (steps > 0 && ahead->step > 0) {
        int64_t run = steps < ahead->left ? steps : ahead->left;
        const char *end = ahead->at + run * ahead->step;
        for (const char *line = ahead->at; line < end; line += 64)
            __builtin_prefetch(line, 0, 2);
        ahead->at = end;
        ahead->left -= run;
        steps -= run;
        if (ahead->left == 0)
            gmm_ahead_row(ahead);
    }
}

/* `rows` is a constant as well. */
static inline __attribute__((always_inline)) void outer_rows(const gmm_int8_outer *call, int64_t row, int rows,
                                                             int bits)
{
    const gmm_int8_panel *panel = call->panel;
    const int64_t size = panel->weights->group_size, groups = panel->k / size;
    const int adds = sums_in_16_bits(bits);

    for (int64_t column = 0; column < GMM_PANEL; column += 16) {
        const int8_t *x = call->x.codes + row * call->x.k + panel->begin * rows;
        const float *factors = call->x.factors + 2 * (row * call->x.k + panel->begin * rows) / size;
        const uint8_t *w = panel->codes + column * 4;
        for (int64_t g = 0; g < groups; g++, factors += 2 * rows) {
            __m256i sum[INT8_MR][2];
            if (column == 0)
                fetch_ahead(call->ahead, size / 4);
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++)
                sum[r][0] = sum[r][1] = _mm256_setzero_si256();
            for (int64_t k = 0; k < size; k += 4 * adds) {
                __m256i part[INT8_MR][2];
#pragma GCC unroll 8
                for (int i = 0; i < adds; i++, w += INT8_STEP, x += 4 * rows) {
                    __m256i first = load_32_bytes(w), second = load_32_bytes(w + 32);
#pragma GCC unroll 4
                    for (int r = 0; r < rows; r++) {
                        int32_t four;
                        memcpy(&four, x + 4 * r, sizeof four);
                        __m256i both[2] = {products(bits, first, _mm256_set1_epi32(four)),
                                           products(bits, second, _mm256_set1_epi32(four))};
                        for (int v = 0; v < 2; v++) {
                            if (adds == 1) {
                                sum[r][v] = _mm256_add_epi32(sum[r][v], in_32_bits(both[v]));
                                continue;
                            }
                            part[r][v] = i > 0 ? _mm256_add_epi16(part[r][v], both[v]) : both[v];
                            /* Else compilers put the products of all steps first, and spill them. */
                            __asm__("" : "+x"(part[r][v]));
                        }
                    }
                }
#pragma GCC unroll 4
                for (int r = 0; r < rows && adds > 1; r++) {
                    sum[r][0] = _mm256_add_epi32(sum[r][0], in_32_bits(part[r][0]));
                    sum[r][1] = _mm256_add_epi32(sum[r][1], in_32_bits(part[r][1]));
                }
            }
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++) {
                const int64_t at = column + v * 8;
                const __m256 scales = _mm256_load_ps(panel->scales + g * GMM_PANEL + at);
                const __m256 biases =
                    INT8_BIASES ? _mm256_load_ps(panel->biases + g * GMM_PANEL + at) : _mm256_setzero_ps();
#pragma GCC unroll 4
                for (int r = 0; r < rows; r++) {
                    float *to = call->sums + (row + r) * GMM_PANEL + at;
                    __m256 terms = group_terms(bits, sum[r][v], _mm256_set1_ps(factors[rows + r]), scales, biases);
                    _mm256_store_ps(to, _mm256_fmadd_ps(_mm256_set1_ps(factors[r]), terms, _mm256_load_ps(to)));
                }
            }
        }
    }
}

static inline __attribute__((always_inline)) void outer_variant(const gmm_int8_outer *call, int bits)
{
    int64_t tiles = gmm_tile_count(call->rows, INT8_MR);

    for (int64_t t = 0; t < tiles; t++) {
        int64_t row = gmm_tile_begin(call->rows, tiles, t);
        switch (gmm_tile_begin(call->rows, tiles, t + 1) - row) {
#define INT8_CASE(rows)                                                                                                \
    case rows:                                                                                                         \
        outer_rows(call, row, rows, bits);                                                                             \
        break
            INT8_CASE(1);
            INT8_CASE(2);
            INT8_CASE(3);
            INT8_CASE(4);
#undef INT8_CASE
        }
    }
}
