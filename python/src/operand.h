/* operand.h - any Python array as a gmm_array, in place; new arrays for results; results for other packages.
 * SPDX-License-Identifier: MIT
 */
#ifndef GMM_OPERAND_H
#define GMM_OPERAND_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <gathermm/gathermm.h>

/** A borrowed array. Begin with zeros in `owner`; `array` points into the struct, so it stays where it is. */
typedef struct operand {
    gmm_array array;
    PyObject *owner;               /**< what keeps the memory: a capsule, or the array itself */
    int64_t shape[GMM_MAX_NDIM];   /**< used by arrays that come without a capsule */
    int64_t strides[GMM_MAX_NDIM]; /**< likewise */
} operand;

/** What an operand is for. */
typedef enum operand_use {
    OPERAND_READ,
    OPERAND_CODES, /**< bytes: E4M3 and E8M0 elements are taken as GMM_U8 */
    OPERAND_WRITE,
    OPERAND_WRITE_CODES
} operand_use;

/** Look up the names that the functions below need; false with an exception. */
bool operand_setup(PyObject *empty, PyObject *asarray);

/** View `object`, called `name` in messages. False with an exception; true for None too, with no owner. */
bool operand_take(operand *self, PyObject *object, const char *name, operand_use use);

/** Let go of it; for one that was not taken too. */
void operand_release(operand *self);

/** The pointer that the C calls want: NULL for None. */
const gmm_array *operand_array(const operand *self);

/** A new NumPy array of this shape and type, as `self` and as a new reference; uint16 stands for bf16. */
PyObject *operand_new(operand *self, const gmm_array_spec *spec);

/** capsule(array, is_bfloat16): a DLPack capsule that owns `array`, for packages that take those. */
PyObject *operand_capsule(PyObject *module, PyObject *args);

#endif
