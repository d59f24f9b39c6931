/* tile_registers.h - the eight tile registers of AMX: how they are shaped for products of a left and a right operand.
 * SPDX-License-Identifier: MIT
 *
 * Tiles 0 to 3 hold sums, rows of 4-byte numbers; 4 and 5 the left operand, the same rows of up to 64 bytes of K; 6 and
 * 7 the right one, a row for four bytes of K: for each column pairs or fours of elements. Whoever shapes them releases
 * them when done, or every switch to another thread saves and loads 8 KB. */
#ifndef GMM_TILE_REGISTERS_H
#define GMM_TILE_REGISTERS_H

#include <immintrin.h>
#include <stdint.h>

/* Up to 16 rows and columns of sums, and up to 64 bytes of K, a multiple of 4. */
static inline void tile_registers_shape_for(int rows, int columns, int depth_bytes)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};

    for (int i = 0; i < 8; i++) {
        shape.row_bytes[i] = (uint16_t)(i == 4 || i == 5 ? depth_bytes : 4 * columns);
        shape.rows[i] = (uint8_t)(i < 6 ? rows : depth_bytes / 4);
    }
    /* gcc 12 takes the instruction for one that reads eight bytes, and may leave out or put off what sets the others.
     */
    __asm__ volatile("" : : "r"(&shape) : "memory");
    _tile_loadconfig(&shape);
}

static inline void tile_registers_shape(int columns)
{
    tile_registers_shape_for(16, columns, 64);
}

#endif
