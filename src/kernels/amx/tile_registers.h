/* tile_registers.h - the eight tile registers of AMX: how they are shaped for a product of 16 x 16 sums.
 * SPDX-License-Identifier: MIT
 *
 * Tiles 0 to 3 hold sums, 16 rows of `columns` 4-byte numbers; 4 and 5 the left operand, 16 rows of 64 bytes; 6 and 7
 * the right one, 16 rows of `columns` times 4 bytes: pairs or fours of elements of K. Whoever shapes them releases them
 * when done, or every switch to another thread saves and loads 8 KB. */
#ifndef GMM_TILE_REGISTERS_H
#define GMM_TILE_REGISTERS_H

#include <immintrin.h>
#include <stdint.h>

static inline void tile_registers_shape(int columns)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};

    for (int i = 0; i < 8; i++) {
        shape.row_bytes[i] = (uint16_t)(i == 4 || i == 5 ? 64 : 4 * columns);
        shape.rows[i] = 16;
    }
    _tile_loadconfig(&shape);
}

#endif
