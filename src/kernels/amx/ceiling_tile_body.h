/* ceiling_tile_body.h - products of tile registers alone, four sums in turns.
 * SPDX-License-Identifier: MIT
 *
 * Parameter: TILE_PRODUCT(sums, left, right), an instruction's intrinsic. */
#include "kernels/amx/tile_registers.h"

static float run(const char *bytes, int64_t steps)
{
    int32_t sums[16 * 16];

    (void)bytes;
    tile_registers_shape(16);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (; steps > 0; steps--) {
        TILE_PRODUCT(0, 4, 6);
        TILE_PRODUCT(1, 4, 7);
        TILE_PRODUCT(2, 5, 6);
        TILE_PRODUCT(3, 5, 7);
    }
    _tile_stored(3, sums, 64);
    _tile_release();
    return (float)sums[0];
}
