/* inttypes.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_INTTYPES_H
#define GMM_INTTYPES_H

#include <stdint.h>
#if defined(__clang__)
#define PRId64 "lld"
#define PRIu64 "llu"
#define PRIx64 "llx"
#else /* gcc's own stdint.h is Linux's */
#define PRId64 "ld"
#define PRIu64 "lu"
#define PRIx64 "lx"
#endif
#define PRId32 "d"
#define PRIu32 "u"
#define PRIx32 "x"
#define PRIdMAX "ld"

#endif
