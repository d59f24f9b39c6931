/* dlpack.h - the structs by which arrays pass between Python packages: DLPack's public specification, version 1.1.
 * SPDX-License-Identifier: MIT
 *
 * Written from https://dmlc.github.io/dlpack/latest/c_api.html; only what a capsule named "dltensor" holds. Field order
 * and numbers are the specification's, names are ours.
 */
#ifndef GMM_DLPACK_H
#define GMM_DLPACK_H

#include <stdint.h>

enum dlpack_device {
    DLPACK_CPU = 1
};

enum dlpack_code {
    DLPACK_INT = 0,
    DLPACK_UINT = 1,
    DLPACK_FLOAT = 2,
    DLPACK_BFLOAT = 4,
    DLPACK_COMPLEX = 5,
    DLPACK_BOOL = 6,
    DLPACK_F8_E4M3FN = 10,
    DLPACK_F8_E4M3FNUZ = 11,
    DLPACK_F8_E5M2 = 12,
    DLPACK_F8_E5M2FNUZ = 13,
    DLPACK_F8_E8M0FNU = 14
};

/** DLDataType, DLDevice, DLTensor: the memory is data + byte_offset, strides are in elements, NULL means row-major. */
typedef struct dlpack_tensor {
    void *data;
    struct {
        int32_t type;
        int32_t id;
    } device;
    int32_t ndim;
    struct {
        uint8_t code;
        uint8_t bits;
        uint16_t lanes;
    } dtype;
    int64_t *shape;
    int64_t *strides;
    uint64_t byte_offset;
} dlpack_tensor;

/** DLManagedTensor: whoever took it out of its capsule calls the deleter, once. */
typedef struct dlpack_managed {
    dlpack_tensor tensor;
    void *manager;
    void (*deleter)(struct dlpack_managed *self);
} dlpack_managed;

#define DLPACK_CAPSULE "dltensor"

#endif
