/* context_type.h - gathermm.Context: a gmm_context as a Python object.
 * SPDX-License-Identifier: MIT
 */
#ifndef GMM_CONTEXT_TYPE_H
#define GMM_CONTEXT_TYPE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <gathermm/gathermm.h>

/** The type, made once; NULL with an exception. */
PyObject *context_type_new(void);

/** The context of a Context, NULL (the default one) of None. False with an exception for anything else. */
bool context_of(PyObject *object, const gmm_context **context);

/** Raise what a status means in Python: ValueError, IndexError, MemoryError; returns NULL. */
PyObject *raise_status(gmm_status status);

#endif
