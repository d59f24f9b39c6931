/* affine_bits.h - the numbers of bits of affine codes, as constants. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_AFFINE_BITS_H
#define GMM_AFFINE_BITS_H

#define AFFINE_BITS_CASE(number, statement)                                                                            \
    case number: {                                                                                                     \
        enum {                                                                                                         \
            bits = number                                                                                              \
        };                                                                                                             \
        statement;                                                                                                     \
        break;                                                                                                         \
    }

/* The statement in which `bits` is a constant, the value of `of`. */
#define AFFINE_BITS(of, statement)                                                                                     \
    switch (of) {                                                                                                      \
        AFFINE_BITS_CASE(2, statement)                                                                                 \
        AFFINE_BITS_CASE(3, statement)                                                                                 \
        AFFINE_BITS_CASE(4, statement)                                                                                 \
        AFFINE_BITS_CASE(5, statement)                                                                                 \
        AFFINE_BITS_CASE(6, statement)                                                                                 \
        AFFINE_BITS_CASE(8, statement)                                                                                 \
    }

#endif
