/* int8_avx512vnni_body.h - int8 sums of one weight format with vpdpbusd: 64 multiply-adds of u8 by i8 into 16 i32 sums.
 * SPDX-License-Identifier: MIT
 *
 * Include after codes_avx512vnni.h and kernels/int8.h. Parameters:
 *   __m512i codes_64(int bits, const uint8_t *from, int64_t count);
 *       `count` codes, 16 to 64, in bytes; any in the others. Reads nothing else. bits is a constant at every call.
 *   void group_scales(const gmm_weights *weights, gmm_row row, int64_t first, int64_t count, float *scales,
 *                     float *biases);
 *       Of groups first, first + 1, ... as f32, with room for a multiple of 16; biases only if INT8_BIASES.
 *   __m512i from_nibbles(__m512i nibbles, int zero);
 *       The codes of these, if they have four bits, with that to be taken off them: INT8_ZERO or INT8_PANEL_ZERO.
 *   INT8_BIASES  whether the format has them.
 *   INT8_ZERO  what is to be taken off the codes.
 *   INT8_PANEL_ZERO  likewise of a panel's; INT8_ZERO if it is not defined.
 *
 * This is all but what multiplies many rows: int8_outer_avx512vnni_body.h does that, or tiles do.
 *
 * No sum of a group's products saturates: 128 * 255 * 127 is below 2^22, which f32 holds exactly as well. */

#ifndef INT8_PANEL_ZERO
#define INT8_PANEL_ZERO INT8_ZERO
#endif

enum {
    INT8_MR = 12,      /* rows whose sums stay in registers: 24 of them, two of weights, one of x */
    INT8_COLUMNS = 16, /* of the dot body: lanes of the final sums */
    INT8_GROUPS = 128, /* whose terms are kept until all columns have theirs */
    INT8_PIECE = 128,  /* codes of each column that are turned together: whole groups */
    INT8_AHEAD = 2048, /* bytes: how far the dot body fetches ahead, at least */
    INT8_FAR = 16384,
};

/* ---- activations ---- */

/* Of 16 groups: as gmm_int8_scale_of, from the bits of their largest magnitudes. */
static inline void scales_of(__m512i largest, float *scales, float *inverses)
{
    __mmask16 small = _mm512_cmplt_epu32_mask(largest, _mm512_set1_epi32(GMM_INT8_SMALLEST));
    __mmask16 finite = _mm512_cmplt_epu32_mask(largest, _mm512_set1_epi32(0x7f800000));
    __m512 values = _mm512_castsi512_ps(largest), most = _mm512_set1_ps(127);
    __m512 quotients = _mm512_maskz_div_ps((__mmask16)~small, values, most);

    _mm512_storeu_ps(scales, _mm512_mask_mov_ps(_mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000)), finite, quotients));
    _mm512_storeu_ps(inverses, _mm512_maskz_div_ps((__mmask16)(finite & ~small), most, values));
}

/* Elements of one group, none of them infinite or NaN unless inverse is 0. Returns the sum of their codes. */
static inline int32_t round_group(const float *from, int64_t size, float inverse, int8_t *codes)
{
    __m512i sum = _mm512_setzero_si512();

    for (int64_t i = 0; i < size; i += 16) {
        /* Infinity times 0 would be NaN. */
        __m512 scaled =
            _mm512_maskz_mul_ps(inverse > 0 ? 0xffff : 0, _mm512_loadu_ps(from + i), _mm512_set1_ps(inverse));
        __m512i rounded = _mm512_cvtps_epi32(scaled);
        sum = _mm512_add_epi32(sum, rounded);
        _mm_storeu_si128((__m128i *)(void *)(codes + i), _mm512_cvtepi32_epi8(rounded));
    }
    return _mm512_reduce_add_epi32(sum);
}

/* 16 groups at a time, for the sake of the divisions. */
static void quantize(const float *from, int64_t k, int32_t group_size, const gmm_int8_row *x)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const int64_t size = group_size, groups = k / size;

    for (int64_t first = 0; first < groups; first += 16) {
        int64_t count = groups - first < 16 ? groups - first : 16;
        uint32_t largest[16] = {0};
        float scales[16], inverses[16];
        for (int64_t g = 0; g < count; g++) {
            const float *group = from + (first + g) * size;
            __m512i most = _mm512_setzero_si512();
            /* Non-negative floats are ordered as their bits are; infinities and NaN come last. */
            for (int64_t i = 0; i < size; i += 16)
                most = _mm512_max_epu32(most, _mm512_and_si512(magnitude, _mm512_loadu_si512(group + i)));
            largest[g] = _mm512_reduce_max_epu32(most);
        }
        scales_of(_mm512_loadu_si512(largest), scales, inverses);
        for (int64_t g = 0; g < count; g++) {
            int64_t at = first + g;
            x->scales[at] = scales[g];
            x->sums[at] = (float)round_group(from + at * size, size, inverses[g], x->codes + at * size);
        }
    }
}

/* `count` numbers of 32 bits of each of up to 16 rows, side by side: number i of row r to to[i * stride + r]. `halve`
 * puts the even ones of eight bytes before the odd ones, as fill_codes does with codes of four bits. */
static inline __attribute__((always_inline)) void side_by_side(const char *const *from, int64_t rows, int64_t count,
                                                               float *to, int64_t stride, bool halve)
{
    const __m512i even_odd =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15));
    const __mmask16 there = first_16(rows);

    for (int64_t i = 0; i < count; i += 16) {
        vf32 lanes[16];
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++)
            lanes[r] = _mm512_maskz_loadu_ps(first_16(count - i), from[r < rows ? r : 0] + i * 4);
#pragma GCC unroll 16
        for (int r = 0; r < 16 && halve; r++)
            lanes[r] = _mm512_castsi512_ps(_mm512_shuffle_epi8(_mm512_castps_si512(lanes[r]), even_odd));
        vf32_transpose(lanes);
#pragma GCC unroll 16
        for (int j = 0; j < 16; j++)
            if (i + j < count)
                _mm512_mask_storeu_ps(to + (i + j) * stride, there, lanes[j]);
    }
}

/* Of a tile, after its codes. */
static void pack_factors(const gmm_int8_row *from, int64_t rows, const gmm_weights *weights, const gmm_int8_tiles *to)
{
    const int64_t groups = to->k / weights->group_size;
    const char *scales[16], *sums[16];

    for (int64_t r = 0; r < rows; r++) {
        scales[r] = (const char *)from[r].scales;
        sums[r] = (const char *)from[r].sums;
    }
    side_by_side(scales, rows, groups, to->factors, 2 * rows, false);
    side_by_side(sums, rows, groups, to->factors + rows, 2 * rows, false);
}

/* Codes as few and the outer body of vpdpbusd want them: [k / 4][rows][4]. */
static void pack(const gmm_int8_row *from, int64_t rows, const gmm_weights *weights, const gmm_int8_tiles *to)
{
    const char *codes[16];

    for (int64_t r = 0; r < rows; r++)
        codes[r] = (const char *)from[r].codes;
    side_by_side(codes, rows, to->k / 4, (float *)(void *)to->codes, rows, weights->bits == 4);
    pack_factors(from, rows, weights, to);
}

/* ---- one row, or a few with 8 bits: lanes along K, then along groups, then along columns ---- */

static inline __m512i quarters(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}

/* The sums of 16 groups, one a lane, from vectors of sums that have 4 lanes to a group of 16, 8 to one of 32, and 16 to
 * a larger one. Adding lanes for all together takes 3 instructions a group at most. */
static inline __attribute__((always_inline)) __m512i add_lanes(int size, const __m512i *v)
{
    __m512i four[4];

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        if (size == 16) {
            four[i] = v[i];
        } else if (size == 32) {
            four[i] = quarters(v[i], v[i + 4]);
        } else {
            __m512i a = _mm512_add_epi32(_mm512_shuffle_i32x4(v[i], v[i + 4], 0x44),
                                         _mm512_shuffle_i32x4(v[i], v[i + 4], 0xee));
            __m512i b = _mm512_add_epi32(_mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x44),
                                         _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xee));
            four[i] = quarters(a, b);
        }
    }
    __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi64(four[0], four[1]), _mm512_unpackhi_epi64(four[0], four[1]));
    __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi64(four[2], four[3]), _mm512_unpackhi_epi64(four[2], four[3]));
    __m512 even = _mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0x88);
    __m512 odd = _mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0xdd);
    __m512i sums = _mm512_add_epi32(_mm512_castps_si512(even), _mm512_castps_si512(odd));
    if (size == 16)
        return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), sums);
    if (size == 32)
        return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15), sums);
    return sums;
}

/* The integer sums of up to 16 groups, one a lane; 0 in the others. */
static inline __attribute__((always_inline)) __m512i group_sums(int bits, int size, int64_t groups,
                                                                const uint8_t *codes, const int8_t *x)
{
    const int vectors = size >= 64 ? 16 : size / 4, each = size > 64 ? size / 64 : 1;
    __m512i v[16];

#pragma GCC unroll 16
    for (int i = 0; i < vectors; i++) {
        v[i] = _mm512_setzero_si512();
#pragma GCC unroll 2
        for (int j = 0; j < each; j++) {
            int64_t at = (i * each + j) * 64, left = groups * size - at;
            if (left >= 64)
                v[i] = _mm512_dpbusd_epi32(v[i], codes_64(bits, codes + at * bits / 8, 64), _mm512_loadu_si512(x + at));
            else if (left > 0)
                v[i] = _mm512_dpbusd_epi32(v[i], codes_64(bits, codes + at * bits / 8, left),
                                           _mm512_maskz_loadu_epi8(first_64(left), x + at));
        }
    }
    return add_lanes(size, v);
}

/* What groups add to the sum of one column, but for the scales of x: one a lane. `exact` are sums of products with
 * codes from which `zero` is to be taken. */
static inline __attribute__((always_inline)) __m512 exact_terms(__m512 exact, int zero, __m512 x_sums, __m512 scales,
                                                                __m512 biases)
{
    if (INT8_BIASES)
        return _mm512_fmadd_ps(biases, x_sums, _mm512_mul_ps(scales, exact));
    return _mm512_mul_ps(scales, zero ? _mm512_fnmadd_ps(_mm512_set1_ps((float)zero), x_sums, exact) : exact);
}

static inline __attribute__((always_inline)) __m512 group_terms(__m512i sums, __m512 x_sums, __m512 scales,
                                                                __m512 biases)
{
    return exact_terms(_mm512_cvtepi32_ps(sums), INT8_ZERO, x_sums, scales, biases);
}

/* Numbers of groups from `first` on, of a row so many bytes behind. */
static inline void fetch_numbers(gmm_dtype dtype, const void *row, int64_t behind, int64_t first, int64_t count)
{
    const int64_t bytes = gmm_dtype_bits(dtype) / 8;

    for (int64_t at = first * bytes; at < (first + count) * bytes; at += 64)
        __builtin_prefetch((const void *)((uintptr_t)row + (uintptr_t)(behind + at)), 0, 2);
}

/* Terms of `count` groups of one column from group `first` on, those of row r at terms[r]. */
static inline __attribute__((always_inline)) void column_terms(const gmm_int8_dot *call, int bits, int size,
                                                               int64_t column, int64_t first, int64_t count,
                                                               float (*terms)[INT8_COLUMNS][INT8_GROUPS], int64_t at)
{
    gmm_row row = gmm_row_at(&call->w, column);
    const uint8_t *codes = (const uint8_t *)row.codes + first * size * bits / 8;
    float scales[INT8_GROUPS], biases[INT8_GROUPS];
    /* Rows lie one after the other, mostly: a few KB ahead is the next one, or the one after that. */
    int64_t row_bytes = call->k * bits / 8, rows = 1 + (call->far ? INT8_FAR : INT8_AHEAD) / row_bytes;
    uintptr_t ahead = (uintptr_t)codes + (uintptr_t)(rows * call->w.code_bytes);

    if (call->far) {
        fetch_numbers(call->weights->scales_dtype, row.scales, rows * call->w.scale_bytes, first, count);
        if (INT8_BIASES)
            fetch_numbers(call->weights->biases_dtype, row.biases, rows * call->w.bias_bytes, first, count);
    }
    group_scales(call->weights, row, first, count, scales, biases);
    for (int64_t g = 0; g < count; g += 16, codes += 2 * size * bits) {
        int64_t groups = count - g;
        for (int64_t line = 0; line < 2 * size * bits; line += 64)
            if (call->far)
                __builtin_prefetch((const void *)(ahead + (uintptr_t)line), 0, 2);
            else
                __builtin_prefetch((const void *)(ahead + (uintptr_t)line));
        ahead += (uintptr_t)(2 * size * bits);
        /* With more rows than one the codes come from the first level again. */
        for (int64_t r = 0; r < (bits == 8 ? call->rows : 1); r++) {
            const int8_t *x = call->x[r].codes + (first + g) * size;
            __m512i sums =
                groups >= 16 ? group_sums(bits, size, 16, codes, x) : group_sums(bits, size, groups, codes, x);
            __m512 x_sums = _mm512_maskz_loadu_ps(first_16(groups), call->x[r].sums + first + g);
            _mm512_storeu_ps(terms[r][at] + g,
                             group_terms(sums, x_sums, _mm512_loadu_ps(scales + g),
                                         INT8_BIASES ? _mm512_loadu_ps(biases + g) : _mm512_setzero_ps()));
        }
    }
}

/* Terms of 16 columns added up, group after group. */
static inline __m512 add_terms(__m512 sum, float (*terms)[INT8_GROUPS], int64_t columns, int64_t count,
                               const float *scales)
{
    for (int64_t g = 0; g < count; g += 16) {
        vf32 lanes[16];
#pragma GCC unroll 16
        for (int c = 0; c < 16; c++)
            lanes[c] = c < columns ? _mm512_loadu_ps(terms[c] + g) : _mm512_setzero_ps();
        vf32_transpose(lanes);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            if (g + i < count)
                sum = _mm512_fmadd_ps(_mm512_set1_ps(scales[g + i]), lanes[i], sum);
    }
    return sum;
}

static inline __attribute__((always_inline)) void dot_variant(const gmm_int8_dot *call, int bits, int size)
{
    const int64_t groups = call->k / size, rows = bits == 8 ? call->rows : 1;
    float terms[GMM_INT8_MOST_DOT_ROWS][INT8_COLUMNS][INT8_GROUPS];

    for (int64_t column = 0; column < call->columns; column += INT8_COLUMNS) {
        int64_t columns = call->columns - column < INT8_COLUMNS ? call->columns - column : INT8_COLUMNS;
        __m512 sums[GMM_INT8_MOST_DOT_ROWS];
        for (int64_t r = 0; r < rows; r++)
            sums[r] = _mm512_setzero_ps();
        for (int64_t first = 0; first < groups; first += INT8_GROUPS) {
            int64_t count = groups - first < INT8_GROUPS ? groups - first : INT8_GROUPS;
            for (int64_t c = 0; c < columns; c++)
                column_terms(call, bits, size, column + c, first, count, terms, c);
            for (int64_t r = 0; r < rows; r++)
                sums[r] = add_terms(sums[r], terms[r], columns, count, call->x[r].scales + first);
        }
        for (int64_t r = 0; r < rows; r++)
            _mm512_mask_storeu_ps(call->out + r * call->out_stride + column, first_16(columns), sums[r]);
    }
}

/* ---- many rows: lanes along N, four elements of K in each ---- */

/* Where the codes of 16 of a panel's columns begin. Columns that are missing get those of the last one. */
static inline void begin_columns(const gmm_rows *w, int64_t column, int64_t columns, int64_t bytes,
                                 const uint8_t *from[16])
{
    for (int64_t c = 0; c < 16; c++)
        from[c] = (const uint8_t *)gmm_row_at(w, column + c < columns ? column + c : columns - 1).codes + bytes;
}

/* Codes of 16 columns, 4 or 8 bits each: 32 bits of each column, turned as they lie, are one step of four elements or
 * two. In the second case the first one has the even elements, and x is packed in this order. `count` is that of bytes,
 * `stride` from one step to the next. */
static inline __attribute__((always_inline)) void turn_packed(const uint8_t *const *from, int64_t at, int64_t count,
                                                              int bits, int zero, int64_t stride, uint8_t *to)
{
    const __m512i low = _mm512_set1_epi8(15);
    __m512i v[16];

    columns_turned(from, at, count, v);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        if (i * 4 >= count)
            break;
        if (bits == 8) {
            _mm512_store_si512(to + i * stride, v[i]);
        } else {
            _mm512_store_si512(to + 2 * i * stride, from_nibbles(_mm512_and_si512(v[i], low), zero));
            _mm512_store_si512(to + (2 * i + 1) * stride,
                               from_nibbles(_mm512_and_si512(_mm512_srli_epi32(v[i], 4), low), zero));
        }
    }
}

/* Up to 64 codes of each of 16 columns, of any number of bits, in the order of K. */
static inline __attribute__((always_inline)) void turn_unpacked(const uint8_t *const *from, int64_t at, int64_t count,
                                                                int bits, int64_t stride, uint8_t *to)
{
    vf32 lanes[16];

#pragma GCC unroll 16
    for (int c = 0; c < 16; c++)
        lanes[c] = _mm512_castsi512_ps(codes_64(bits, from[c] + at, count));
    vf32_transpose(lanes);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        if (i * 4 < count)
            _mm512_store_ps((float *)(void *)(to + i * stride), lanes[i]);
}

/* Up to INT8_PIECE codes of 16 columns from element k on: a step of four elements takes `stride` bytes. */
static inline __attribute__((always_inline)) void turn_piece(const uint8_t *const *from, int64_t k, int64_t count,
                                                             int bits, int zero, int64_t stride, uint8_t *to)
{
    if (bits == 4) {
        if (count == INT8_PIECE)
            turn_packed(from, k / 2, 64, 4, zero, stride, to);
        else
            turn_packed(from, k / 2, count / 2, 4, zero, stride, to);
        return;
    }
    for (int64_t half = 0; half < count; half += 64, to += 16 * stride) {
        int64_t at = (k + half) * bits / 8;
        if (bits == 8 && count - half >= 64)
            turn_packed(from, at, 64, 8, zero, stride, to);
        else if (bits == 8)
            turn_packed(from, at, count - half, 8, zero, stride, to);
        else if (count - half >= 64)
            turn_unpacked(from, at, 64, bits, stride, to);
        else
            turn_unpacked(from, at, count - half, bits, stride, to);
    }
}

/* Codes of 16 columns: a step of four elements takes 4 * GMM_PANEL bytes. */
static inline __attribute__((always_inline)) void fill_codes(const gmm_int8_panel *panel, int bits, int64_t column,
                                                             uint8_t *to)
{
    const uint8_t *from[16];

    begin_columns(&panel->w, column, panel->columns, panel->begin * bits / 8, from);
    for (int64_t k = 0; k < panel->k; k += INT8_PIECE, to += INT8_PIECE * GMM_PANEL)
        turn_piece(from, k, panel->k - k < INT8_PIECE ? panel->k - k : INT8_PIECE, bits, INT8_PANEL_ZERO, 4 * GMM_PANEL,
                   to);
}

/* Lane c of number g at to[g * stride]: from[c][g]. */
static inline void turn_floats(float (*from)[16], int64_t count, int64_t stride, float *to)
{
    vf32 lanes[16];

#pragma GCC unroll 16
    for (int c = 0; c < 16; c++)
        lanes[c] = _mm512_loadu_ps(from[c]);
    vf32_transpose(lanes);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        if (i < count)
            _mm512_store_ps(to + i * stride, lanes[i]);
}

/* Scales and biases of up to 16 groups of 16 columns as f32, lanes along N. Not copied into each variant of few: that
 * takes compilers minutes. */
static __attribute__((noinline)) void turn_scales(const gmm_weights *weights, const gmm_rows *w, int64_t column,
                                                  int64_t columns, int64_t first, int64_t count, int64_t stride,
                                                  float *scales, float *biases)
{
    if (INT8_BIASES && weights->scales_dtype == GMM_BF16 && weights->biases_dtype == GMM_BF16) {
        /* Two numbers of 16 bits of each column are turned together. */
        const __m512i high = _mm512_set1_epi32((int)0xffff0000);
        __m512i v[2][8], turned[16];
#pragma GCC unroll 8
        for (int c = 0; c < 8; c++) {
            int64_t near = column + c / 4 * 8 + c % 4, far = near + 4;
            gmm_row a = gmm_row_at(w, near < columns ? near : columns - 1),
                    b = gmm_row_at(w, far < columns ? far : columns - 1);
            v[0][c] =
                two_halves((const uint8_t *)a.scales + first * 2, (const uint8_t *)b.scales + first * 2, count * 2);
            v[1][c] =
                two_halves((const uint8_t *)a.biases + first * 2, (const uint8_t *)b.biases + first * 2, count * 2);
        }
        turn_halves(v, turned);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            if (2 * i < count) {
                _mm512_store_si512(scales + 2 * i * stride, _mm512_slli_epi32(turned[i], 16));
                _mm512_store_si512(biases + 2 * i * stride, _mm512_slli_epi32(turned[8 + i], 16));
            }
            if (2 * i + 1 < count) {
                _mm512_store_si512(scales + (2 * i + 1) * stride, _mm512_and_si512(turned[i], high));
                _mm512_store_si512(biases + (2 * i + 1) * stride, _mm512_and_si512(turned[8 + i], high));
            }
        }
        return;
    }
    float as_they_lie[2][16][16];
    for (int64_t c = 0; c < 16; c++)
        group_scales(weights, gmm_row_at(w, column + c < columns ? column + c : columns - 1), first, count,
                     as_they_lie[0][c], as_they_lie[1][c]);
    turn_floats(as_they_lie[0], count, stride, scales);
    if (INT8_BIASES)
        turn_floats(as_they_lie[1], count, stride, biases);
}

static void fill_scales(const gmm_int8_panel *panel, int64_t column)
{
    int64_t size = panel->weights->group_size, begin = panel->begin / size, groups = panel->k / size;

    for (int64_t g = 0; g < groups; g += 16)
        turn_scales(panel->weights, &panel->w, column, panel->columns, begin + g, groups - g < 16 ? groups - g : 16,
                    GMM_PANEL, panel->scales + g * GMM_PANEL + column, panel->biases + g * GMM_PANEL + column);
}

static inline __attribute__((always_inline)) void fill_variant(const gmm_int8_panel *panel, int bits)
{
    for (int64_t column = 0; column < GMM_PANEL; column += 16) {
        fill_codes(panel, bits, column, panel->codes + column * 4);
        fill_scales(panel, column);
    }
}

/* As _mm512_dpbusd_epi32: gcc 12 copies and spills the sums of a tile around that one. */
static inline __attribute__((always_inline)) __m512i add_products(__m512i sum, __m512i codes, __m512i x)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(x));
    return sum;
}

/* ---- few rows: lanes along N as well, but 16 columns go from memory to sums in one go ---- */

static __attribute__((noinline)) void turn_few(const uint8_t *const *from, int64_t k, int64_t count, uint8_t *to)
{
    turn_piece(from, k, count, GMM_INT8_FEW_BITS, INT8_ZERO, 64, to);
}

/* Groups of a piece go on the sums of `rows` rows, a constant. */
static inline __attribute__((always_inline)) void piece_rows(const uint8_t *codes, int64_t groups, int64_t size,
                                                             const int8_t *x, const float *factors, const float *scales,
                                                             const float *biases, int rows, __m512 *sums)
{
    for (int64_t g = 0; g < groups; g++, factors += 2 * rows, scales += 16, biases += 16) {
        __m512i sum[GMM_INT8_MOST_FEW][2];
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            sum[r][0] = sum[r][1] = _mm512_setzero_si512();
        for (int64_t k = 0; k < size; k += 8, codes += 128, x += 8 * rows) {
            __m512i first = _mm512_load_si512(codes), second = _mm512_load_si512(codes + 64);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                int32_t four[2];
                memcpy(&four[0], x + 4 * r, 4);
                memcpy(&four[1], x + 4 * (rows + r), 4);
                sum[r][0] = add_products(sum[r][0], first, _mm512_set1_epi32(four[0]));
                sum[r][1] = add_products(sum[r][1], second, _mm512_set1_epi32(four[1]));
            }
        }
        const __m512 scale = _mm512_load_ps(scales), bias = INT8_BIASES ? _mm512_load_ps(biases) : _mm512_setzero_ps();
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            __m512 terms =
                group_terms(_mm512_add_epi32(sum[r][0], sum[r][1]), _mm512_set1_ps(factors[rows + r]), scale, bias);
            sums[r] = _mm512_fmadd_ps(_mm512_set1_ps(factors[r]), terms, sums[r]);
        }
    }
}

static inline __attribute__((always_inline)) void few_rows(const gmm_int8_few *call, int rows)
{
    const int64_t size = call->weights->group_size, groups = call->k / size;
    /* The next 16 columns, of this item or what may follow it, are fetched; line after line where rows lie one after
     * the other, since the CPU helps with that. */
    const bool in_order = call->w.code_bytes == call->k * GMM_INT8_FEW_BITS / 8;
    const int64_t line_step = in_order ? 64 : call->w.code_bytes, pace = in_order ? 16 : 1;
    const uintptr_t codes_ahead = (uintptr_t)(16 * call->w.code_bytes),
                    scales_ahead = (uintptr_t)(16 * call->w.scale_bytes),
                    biases_ahead = (uintptr_t)(16 * call->w.bias_bytes);
    __attribute__((aligned(64))) uint8_t codes[INT8_PIECE * 16];
    __attribute__((aligned(64))) float scales[16 * 16], biases[16 * 16];

    for (int64_t column = 0; column < call->columns; column += 16) {
        const __mmask16 there = first_16(call->columns - column);
        const uint8_t *from[16];
        __m512 sums[GMM_INT8_MOST_FEW];
        begin_columns(&call->w, column, call->columns, 0, from);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            sums[r] = _mm512_setzero_ps();
        for (int64_t first = 0; first < groups; first += 16) {
            int64_t end = groups - first < 16 ? groups : first + 16;
            for (int64_t c = 0; c < 16; c++) {
                gmm_row row = gmm_row_at(&call->w, column + c);
                __builtin_prefetch((const void *)((uintptr_t)row.scales + scales_ahead + (uintptr_t)first * 2), 0, 2);
                if (INT8_BIASES)
                    __builtin_prefetch((const void *)((uintptr_t)row.biases + biases_ahead + (uintptr_t)first * 2), 0,
                                       2);
            }
            turn_scales(call->weights, &call->w, column, call->columns, first, end - first, 16, scales, biases);
            for (int64_t k = first * size; k < end * size; k += INT8_PIECE) {
                int64_t count = end * size - k < INT8_PIECE ? end * size - k : INT8_PIECE;
                for (int line = 0; line < INT8_PIECE * GMM_INT8_FEW_BITS / 8; line += 64)
#pragma GCC unroll 16
                    for (int c = 0; c < 16; c++)
                        __builtin_prefetch(
                            (const void *)((uintptr_t)from[0] + codes_ahead +
                                           (uintptr_t)((k * GMM_INT8_FEW_BITS / 8 + line) * pace + c * line_step)));
                turn_few(from, k, count, codes);
                piece_rows(codes, count / size, size, call->x.codes + k * rows, call->x.factors + k / size * 2 * rows,
                           scales + (k / size - first) * 16, biases + (k / size - first) * 16, rows, sums);
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            _mm512_mask_storeu_ps(call->out + r * GMM_PANEL + column, there, sums[r]);
    }
}

static inline __attribute__((always_inline)) void few_variant(const gmm_int8_few *call)
{
    switch (call->rows) {
#define INT8_CASE(rows)                                                                                                \
    case rows:                                                                                                         \
        few_rows(call, rows);                                                                                          \
        break
        INT8_CASE(2);
        INT8_CASE(3);
        INT8_CASE(4);
        INT8_CASE(5);
        INT8_CASE(6);
        INT8_CASE(7);
        INT8_CASE(8);
#undef INT8_CASE
    }
}
