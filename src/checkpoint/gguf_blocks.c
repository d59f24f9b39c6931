/* gguf_blocks.c - see gguf_blocks.h. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/gguf_blocks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/numbers.h"

/* The largest scale code that is a number: beyond it are NaN, and signs, which these scales do not have. */
#define LAST_E4M3 0x7E
#define NAN_E4M3 0x7F

#define MAX_F16 65504.0f

/* Half of a block's 32 codes lie in the low halves of its bytes, half in the high ones; nvfp4 has this for 16. */
static const gmm_block_format formats[] = {
    {"Q4_0", "affine", 4, 32, 8, 2, 0}, {"Q4_1", "affine", 4, 32, 0, 4, 0},   {"Q5_0", "affine", 5, 32, 16, 6, 2},
    {"Q5_1", "affine", 5, 32, 0, 8, 4}, {"Q8_0", "affine", 8, 32, 128, 2, 0}, {"MXFP4", "mxfp4", 4, 32, 0, 1, 0},
    {"NVFP4", "nvfp4", 4, 16, 0, 4, 0},
};

#define FORMATS (sizeof formats / sizeof formats[0])

const gmm_block_format *gmm_block_format_of(const gmm_gguf_type *type)
{
    for (size_t i = 0; i < FORMATS; i++)
        if (strcmp(formats[i].type, type->name) == 0)
            return &formats[i];
    return NULL;
}

const char *gmm_block_format_names(char *text, size_t text_size)
{
    size_t used = 0;

    for (size_t i = 0; i < FORMATS && used < text_size; i++)
        used += (size_t)snprintf(text + used, text_size - used, "%s%s", i ? ", " : "", formats[i].type);
    return text;
}

static float f16_at(const unsigned char *bytes)
{
    uint16_t half;

    memcpy(&half, bytes, sizeof half);
    return gmm_f16_to_f32(half);
}

static bool is_affine(const gmm_block_format *format)
{
    return strcmp(format->mode, "affine") == 0;
}

gmm_dtype gmm_blocks_scales_dtype(const gmm_block_format *format, const gmm_gguf_type *type, const void *blocks,
                                  int64_t count)
{
    const unsigned char *block = blocks;

    if (!is_affine(format))
        return GMM_U8;
    for (int64_t i = 0; i < count && format->zero > 0; i++, block += type->block_bytes) {
        float scale = f16_at(block);
        if (isfinite(scale) && fabsf(scale) * (float)format->zero > MAX_F16)
            return GMM_F32;
    }
    return GMM_F16;
}

/* ---- codes ---- */

/* The low halves of eight bytes, in order, as four bytes. */
static uint32_t join_nibbles(uint64_t bytes)
{
    bytes &= 0x0F0F0F0F0F0F0F0F;
    bytes = (bytes | bytes >> 4) & 0x00FF00FF00FF00FF;
    bytes = (bytes | bytes >> 8) & 0x0000FFFF0000FFFF;
    return (uint32_t)(bytes | bytes >> 16);
}

/* 16 times `words` codes: the low halves of 8 times `words` bytes come first, then the high ones. */
static void copy_nibbles(const unsigned char *bytes, int32_t words, unsigned char *out)
{
    for (int32_t w = 0; w < words; w++) {
        uint64_t eight;
        memcpy(&eight, bytes + 8 * w, sizeof eight);
        uint32_t low = join_nibbles(eight), high = join_nibbles(eight >> 4);
        memcpy(out + 4 * w, &low, sizeof low);
        memcpy(out + 4 * (words + w), &high, sizeof high);
    }
}

/* Signed codes: -128 becomes 0. */
static void copy_bytes(const unsigned char *bytes, unsigned char *out)
{
    for (int32_t i = 0; i < 32; i++)
        out[i] = bytes[i] ^ 0x80;
}

/* Four bits as above, and the fifth ones in 32 bits of their own. */
static void copy_fives(const unsigned char *bytes, const unsigned char *fifth, unsigned char *out)
{
    uint32_t high;

    memcpy(&high, fifth, sizeof high);
    for (int32_t i = 0; i < 32; i += 8, out += 5) {
        uint64_t stream = 0;
        for (int32_t c = 0; c < 8; c++) {
            unsigned char pair = bytes[(i + c) % 16];
            uint64_t code = (i < 16 ? pair & 15 : pair >> 4) | (high >> (i + c) & 1) << 4;
            stream |= code << (5 * c);
        }
        memcpy(out, &stream, 5);
    }
}

static void copy_codes(const gmm_block_format *format, const unsigned char *block, unsigned char *out)
{
    const unsigned char *codes = block + format->codes_at;

    if (format->bits == 4)
        copy_nibbles(codes, 2, out);
    else if (format->bits == 5)
        copy_fives(codes, block + format->high_at, out);
    else
        copy_bytes(codes, out);
}

/* ---- blocks ---- */

static void store(void *to, int64_t i, gmm_dtype dtype, float value)
{
    if (dtype == GMM_F32)
        ((float *)to)[i] = value;
    else
        ((uint16_t *)to)[i] = gmm_f16_from_f32(value);
}

static void repack_affine(const gmm_block_format *format, const gmm_gguf_type *type, const unsigned char *block,
                          int64_t count, gmm_dtype scales_dtype, unsigned char *out, void *scales, void *biases)
{
    for (int64_t i = 0; i < count; i++, block += type->block_bytes, out += 4 * format->bits) {
        float scale = f16_at(block);
        copy_codes(format, block, out);
        store(scales, i, scales_dtype, scale);
        store(biases, i, scales_dtype, format->zero > 0 ? -(float)format->zero * scale : f16_at(block + 2));
    }
}

static void repack_mxfp4(const gmm_gguf_type *type, const unsigned char *block, int64_t count, unsigned char *out,
                         unsigned char *scales)
{
    for (int64_t i = 0; i < count; i++, block += type->block_bytes, out += 16) {
        copy_nibbles(block + 1, 2, out);
        scales[i] = block[0];
    }
}

static void repack_nvfp4(const gmm_gguf_type *type, const unsigned char *block, int64_t count, unsigned char *out,
                         unsigned char *scales)
{
    for (int64_t i = 0; i < count; i++, block += type->block_bytes)
        for (int32_t part = 0; part < 4; part++, out += 8) {
            copy_nibbles(block + 4 + 8 * part, 1, out);
            *scales++ = block[part] <= LAST_E4M3 ? block[part] : NAN_E4M3;
        }
}

void gmm_blocks_repack(const gmm_block_format *format, const gmm_gguf_type *type, const void *blocks, int64_t count,
                       gmm_dtype scales_dtype, void *codes, void *scales, void *biases)
{
    if (is_affine(format))
        repack_affine(format, type, blocks, count, scales_dtype, codes, scales, biases);
    else if (strcmp(format->mode, "mxfp4") == 0)
        repack_mxfp4(type, blocks, count, codes, scales);
    else
        repack_nvfp4(type, blocks, count, codes, scales);
}
