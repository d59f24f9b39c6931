/* moe_call.h - whole expert layers and routing from Python.
 * SPDX-License-Identifier: MIT
 */
#ifndef GMM_MOE_CALL_H
#define GMM_MOE_CALL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/** moe(x, ids, weights, experts, shared, shared_gate, routing, activation, alpha, limit, context, out) */
PyObject *core_moe(PyObject *module, PyObject *args);

/** route(routing, logits, context): (ids, weights) */
PyObject *core_route(PyObject *module, PyObject *args);

#endif
