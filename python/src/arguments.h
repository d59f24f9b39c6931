/* arguments.h - what the core's calls have in common: quantized operands, outputs, results.
 * SPDX-License-Identifier: MIT
 */
#ifndef GMM_ARGUMENTS_H
#define GMM_ARGUMENTS_H

#include "operand.h"

/** A quantized operand as Python has it: borrowed objects, then what is taken of them. */
typedef struct packed {
    PyObject *w_object, *scales_object, *biases_object, *global_object;
    PyObject *group_size_object, *bits_object, *mode_object;
    PyObject *mode_bytes;
    operand w, scales, biases, global;
    gmm_quantized quantized;
} packed;

/** View it; false with an exception. Begin with NULL in `mode_bytes` and the owners. */
bool packed_take(packed *self);

/** Let go of it; for one that was not taken too. */
void packed_release(packed *self);

/** Keep numpy.ndarray, and finish(like, array, is_bfloat16), which gives a result in its caller's kind of array. */
void finished_setup(PyObject *ndarray, PyObject *function);

/** A new result as its caller's kind of array. Takes over `array`. */
PyObject *finished(PyObject *like, PyObject *array, gmm_dtype dtype);

/** The output: what the caller gave, or a new array. A new reference; NULL with an exception. */
PyObject *take_output(operand *out, PyObject *given, const gmm_array_spec *spec, operand_use use);

/** The end of every call: the result, or the exception of `status`. Takes over `result`. */
PyObject *answer(gmm_status status, PyObject *like, PyObject *given, PyObject *result, gmm_dtype dtype);

#endif
