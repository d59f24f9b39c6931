/* cmocka_test.h - cmocka with the headers that it needs, in the order that it needs. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CMOCKA_TEST_H
#define GMM_CMOCKA_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
