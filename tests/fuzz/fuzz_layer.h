/* fuzz_layer.h - what must hold for every path that is opened as a checkpoint. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_FUZZ_LAYER_H
#define GMM_FUZZ_LAYER_H

/* Open it. It is refused with a message that names it; or every layer loads, in all ways, and converts or
 * is refused that, and all bytes are there. */
void fuzz_checkpoint_open(const char *path);

#endif
