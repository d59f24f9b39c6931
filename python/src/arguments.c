/* arguments.c - what the core's calls have in common: quantized operands, outputs, results.
 * SPDX-License-Identifier: MIT
 */
#include "arguments.h"

#include <limits.h>

#include "context_type.h"

static PyObject *ndarray_type; /* numpy.ndarray */
static PyObject *finish;       /* finish(like, array, is_bfloat16): a result in its caller's kind of array */

void finished_setup(PyObject *ndarray, PyObject *function)
{
    Py_INCREF(ndarray);
    Py_INCREF(function);
    ndarray_type = ndarray;
    finish = function;
}

/* None is 0, the mode's default; an own message for 0, which to the library would mean the same. */
static bool read_size(PyObject *object, const char *name, int32_t *size)
{
    *size = 0;
    if (object == Py_None)
        return true;
    long number = PyLong_AsLong(object);
    if (number == -1 && PyErr_Occurred())
        return false;
    if (number < 1 || number > INT32_MAX) {
        PyErr_Format(PyExc_ValueError, "%s is %ld", name, number);
        return false;
    }
    *size = (int32_t)number;
    return true;
}

static bool packed_mode(packed *self, const char **mode)
{
    if (!PyUnicode_Check(self->mode_object)) {
        PyErr_SetString(PyExc_TypeError, "mode is a str");
        return false;
    }
    self->mode_bytes = PyUnicode_AsUTF8String(self->mode_object);
    *mode = self->mode_bytes ? PyBytes_AsString(self->mode_bytes) : NULL;
    return *mode != NULL;
}

bool packed_take(packed *self)
{
    gmm_quantized *q = &self->quantized;
    if (!packed_mode(self, &q->mode) || !read_size(self->group_size_object, "group_size", &q->group_size) ||
        !read_size(self->bits_object, "bits", &q->bits) || !operand_take(&self->w, self->w_object, "w", OPERAND_READ) ||
        !operand_take(&self->scales, self->scales_object, "scales", OPERAND_CODES) ||
        !operand_take(&self->biases, self->biases_object, "biases", OPERAND_READ) ||
        !operand_take(&self->global, self->global_object, "global_scale", OPERAND_READ))
        return false;
    q->w = operand_array(&self->w);
    q->scales = operand_array(&self->scales);
    q->biases = operand_array(&self->biases);
    q->global_scale = operand_array(&self->global);
    return true;
}

void packed_release(packed *self)
{
    operand_release(&self->w);
    operand_release(&self->scales);
    operand_release(&self->biases);
    operand_release(&self->global);
    Py_XDECREF(self->mode_bytes);
}

PyObject *finished(PyObject *like, PyObject *array, gmm_dtype dtype)
{
    if ((PyObject *)Py_TYPE(like) == ndarray_type && dtype != GMM_BF16)
        return array;
    PyObject *result = PyObject_CallFunctionObjArgs(finish, like, array, dtype == GMM_BF16 ? Py_True : Py_False, NULL);
    Py_DECREF(array);
    return result;
}

PyObject *take_output(operand *out, PyObject *given, const gmm_array_spec *spec, operand_use use)
{
    if (given == Py_None)
        return operand_new(out, spec);
    if (!operand_take(out, given, "out", use))
        return NULL;
    Py_INCREF(given);
    return given;
}

PyObject *answer(gmm_status status, PyObject *like, PyObject *given, PyObject *result, gmm_dtype dtype)
{
    if (status != GMM_OK) {
        Py_XDECREF(result);
        return raise_status(status);
    }
    return result && given == Py_None ? finished(like, result, dtype) : result;
}
