/* test_numbers.c - the number formats and conversions against their definitions in double precision. */
/* SPDX-License-Identifier: MIT */
#include "formats/numbers.h"

#include <math.h>
#include <string.h>

#include "cmocka_test.h"
#include "formats/convert.h"
#include "oracle_numbers.h"
#include "random.h"

static gmm_random seeded;

static float random_f32(void)
{
    return gmm_f32_from_bits((uint32_t)gmm_random_bits(&seeded));
}

static void assert_same_bits(float a, float b)
{
    assert_int_equal(gmm_f32_bits(a), gmm_f32_bits(b));
}

/* ---- f16, bf16 -------------------------------------------------------------------------------------------------- */

static void every_half_widens(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float f16 = gmm_f16_to_f32((uint16_t)bits), bf16 = gmm_bf16_to_f32((uint16_t)bits);
        if ((bits & 0x7fff) > 0x7c00) {
            assert_true(isnan(f16) && (signbit(f16) != 0) == (bits >> 15 != 0));
            assert_int_equal(gmm_f16_from_f32(f16), bits | 0x0200); /* quiet, the payload kept */
        } else {
            assert_same_bits(f16, (float)gmm_oracle_decode(GMM_F16, bits));
            assert_int_equal(gmm_f16_from_f32(f16), bits);
        }
        if ((bits & 0x7fff) > 0x7f80) {
            assert_true(isnan(bf16) && (signbit(bf16) != 0) == (bits >> 15 != 0));
            assert_int_equal(gmm_bf16_from_f32(bf16), bits | 0x0040);
        } else {
            assert_same_bits(bf16, (float)gmm_oracle_decode(GMM_BF16, bits));
            assert_int_equal(gmm_bf16_from_f32(bf16), bits);
        }
    }
}

static void check_narrowing(float value)
{
    if (isnan(value))
        return;
    assert_same_bits(gmm_f16_to_f32(gmm_f16_from_f32(value)), (float)gmm_oracle_round(GMM_F16, value));
    assert_same_bits(gmm_bf16_to_f32(gmm_bf16_from_f32(value)), (float)gmm_oracle_round(GMM_BF16, value));
}

/* Every half-way point between neighbours, and the f32 numbers beside it. */
static void halves_round_to_even(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x8000; bits++) {
        float points[2] = {0, 0};
        if (bits < 0x7c00)
            points[0] = bits == 0x7bff ? 65520.0f
                                       : 0.5f * (gmm_f16_to_f32((uint16_t)bits) + gmm_f16_to_f32((uint16_t)(bits + 1)));
        if (bits < 0x7f80)
            points[1] = gmm_f32_from_bits(bits << 16 | 0x8000);
        for (int p = 0; p < 2; p++)
            for (int sign = -1; sign <= 1; sign += 2) {
                check_narrowing((float)sign * points[p]);
                check_narrowing((float)sign * nextafterf(points[p], 0.0f));
                check_narrowing((float)sign * nextafterf(points[p], INFINITY));
            }
    }
    for (int i = 0; i < 1000000; i++)
        check_narrowing(random_f32());
}

static void nan_stays_nan(void **state)
{
    (void)state;
    /* A payload in the low bits only must not become an infinity. */
    assert_true(isnan(gmm_f16_to_f32(gmm_f16_from_f32(gmm_f32_from_bits(0x7f800001)))));
    assert_true(isnan(gmm_bf16_to_f32(gmm_bf16_from_f32(gmm_f32_from_bits(0xffffffff)))));
}

/* ---- E2M1, E4M3, E8M0 ------------------------------------------------------------------------------------------- */

static void small_formats_decode(void **state)
{
    static const float e2m1[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};

    (void)state;
    for (uint32_t code = 0; code < 16; code++)
        assert_same_bits(gmm_e2m1_to_f32(code), code & 8 ? -e2m1[code & 7] : e2m1[code]);
    for (uint32_t code = 0; code < 256; code++) {
        int e = (int)(code >> 3 & 15), m = (int)(code & 7);
        float magnitude = e ? ldexpf(1.0f + (float)m / 8, e - 7) : ldexpf((float)m, -9);
        float got = gmm_e4m3_to_f32(code);
        if (e == 15 && m == 7)
            assert_true(isnan(got) && (signbit(got) != 0) == (code >= 128));
        else
            assert_same_bits(got, code & 0x80 ? -magnitude : magnitude);
        assert_same_bits(gmm_e8m0_to_f32(code), code == 255 ? INFINITY : ldexpf(1.0f, (int)code - 127));
    }
}

/* The definition: the nearest of the 127 finite values, the even code of two; 448 above. */
static uint8_t nearest_e4m3(double value)
{
    double magnitude = fabs(value), best = INFINITY;
    int code = 0;

    if (isnan(value) || magnitude >= 448)
        code = 0x7e;
    else
        for (int c = 0; c < 0x7f; c++) {
            double distance = fabs(magnitude - (c < 8 ? ldexp(c, -9) : ldexp(1 + (c & 7) / 8.0, (c >> 3) - 7)));
            if (distance < best || (distance == best && c % 2 == 0)) {
                best = distance;
                code = c;
            }
        }
    return (uint8_t)(code | (signbit(value) ? 0x80 : 0));
}

static void check_e4m3(float value)
{
    assert_int_equal(gmm_e4m3_from_f32(value), nearest_e4m3(value));
    assert_int_equal(gmm_e4m3_from_f32(-value), nearest_e4m3(-value));
}

static void e4m3_encodes_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x7e; code++) {
        float half = 0.5f * (gmm_e4m3_to_f32(code) + gmm_e4m3_to_f32(code + 1));
        check_e4m3(gmm_e4m3_to_f32(code));
        check_e4m3(half);
        check_e4m3(nextafterf(half, 0.0f));
        check_e4m3(nextafterf(half, INFINITY));
    }
    check_e4m3(448.0f);
    check_e4m3(1e30f);
    check_e4m3(INFINITY);
    check_e4m3(gmm_f32_from_bits(1));
    for (uint32_t bits = 0; bits < 0x10000; bits++)
        check_e4m3(gmm_f16_to_f32((uint16_t)bits));
    for (int i = 0; i < 100000; i++)
        check_e4m3(random_f32());
}

/* ---- runs ------------------------------------------------------------------------------------------------------- */

static const gmm_dtype types[] = {GMM_BOOL, GMM_U8,  GMM_I8,  GMM_U16, GMM_I16,  GMM_U32,
                                  GMM_I32,  GMM_U64, GMM_I64, GMM_F16, GMM_BF16, GMM_F32};
static const gmm_dtype floats[] = {GMM_F32, GMM_F16, GMM_BF16};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The integer, bool or float of type `dtype` whose bits are the low ones of `bits`. */
static double element_value(gmm_dtype dtype, uint64_t bits)
{
    int width = gmm_dtype_bits(dtype);

    return gmm_oracle_decode(dtype, width == 64 ? bits : bits & ((UINT64_C(1) << width) - 1));
}

static void check_load(gmm_dtype dtype, gmm_dtype cast, int64_t stride)
{
    enum {
        ELEMENTS = 67
    };
    size_t bytes = (size_t)gmm_dtype_bits(dtype) / 8;
    uint64_t bits[ELEMENTS];
    char memory[1 + 8 * 3 * ELEMENTS];
    char *first = memory + 1 + (stride < 0 ? (ELEMENTS - 1) * -stride * (int64_t)bytes : 0); /* odd address */
    float out[ELEMENTS];

    for (int i = 0; i < ELEMENTS; i++) {
        /* Any width of number: large integers meet every rounding. */
        bits[i] = gmm_random_bits(&seeded) >> gmm_random_between(&seeded, 0, 63);
        if (stride == 0)
            bits[i] = bits[0];
        if (dtype == GMM_BOOL)
            bits[i] &= 1;
        memcpy(first + i * stride * (int64_t)bytes, &bits[i], bytes); /* the tests' machines are little-endian */
    }
    gmm_load_run(dtype, cast, first, stride, ELEMENTS, out);
    for (int i = 0; i < ELEMENTS; i++) {
        double want = gmm_oracle_round(cast, element_value(dtype, bits[i]));
        if (isnan(want))
            assert_true(isnan(out[i]));
        else
            assert_same_bits(out[i], (float)want);
    }
}

static void runs_load(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++)
        for (size_t t = 0; t < COUNT(types); t++)
            for (size_t c = 0; c < COUNT(floats); c++)
                for (int64_t stride = -2; stride <= 3; stride++)
                    check_load(types[t], floats[c], stride);
}

static void runs_store(void **state)
{
    enum {
        ELEMENTS = 41
    };
    float values[ELEMENTS];
    unsigned char memory[1 + 4 * 3 * ELEMENTS + 4];

    (void)state;
    for (size_t t = 0; t < COUNT(floats); t++)
        for (int64_t stride = 1; stride <= 3; stride++) {
            size_t bytes = (size_t)gmm_dtype_bits(floats[t]) / 8;
            memset(memory, 0xa5, sizeof memory);
            for (int i = 0; i < ELEMENTS; i++)
                values[i] = (float)gmm_random_unit(&seeded) * 3.0f;
            gmm_store_run(floats[t], values, ELEMENTS, memory + 1, stride);
            for (int i = 0; i < ELEMENTS * stride; i++) {
                uint64_t got = 0;
                memcpy(&got, memory + 1 + (size_t)i * bytes, bytes);
                if (i % stride == 0)
                    assert_same_bits((float)gmm_oracle_decode(floats[t], got),
                                     (float)gmm_oracle_round(floats[t], values[i / stride]));
                else
                    assert_int_equal(got, UINT64_C(0xa5a5a5a5) & ((UINT64_C(1) << bytes * 8) - 1));
            }
        }
}

static void types_promote(void **state)
{
    (void)state;
    for (int a = 0; a <= GMM_F4; a++)
        for (int b = 0; b <= GMM_F4; b++)
            assert_int_equal(gmm_promote((gmm_dtype)a, (gmm_dtype)b), gmm_oracle_promote((gmm_dtype)a, (gmm_dtype)b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_widens),
        cmocka_unit_test(halves_round_to_even),
        cmocka_unit_test(nan_stays_nan),
        cmocka_unit_test(small_formats_decode),
        cmocka_unit_test(e4m3_encodes_to_nearest_even),
        cmocka_unit_test(runs_load),
        cmocka_unit_test(runs_store),
        cmocka_unit_test(types_promote),
    };

    gmm_random_start(&seeded, "test_numbers");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
