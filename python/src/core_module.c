/* core_module.c - gathermm._core: the C library's calls on any Python arrays, on the stable ABI of Python 3.9.
 * SPDX-License-Identifier: MIT
 *
 * python/gathermm/ops.py has the public functions, with MLX's names and defaults; what is here takes every argument by
 * its place. Calls run without the interpreter's lock.
 */
#include <string.h>

#include "arguments.h"
#include "context_type.h"
#include "moe_call.h"

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* One product's objects. `rhs_object` is NULL if it is quantized. */
typedef struct product_call {
    PyObject *lhs_object, *rhs_object, *left_object, *right_object, *context_object, *out_object;
    operand lhs, rhs, left, right, out;
    packed weights;
    gmm_product product;
    const gmm_context *context;
} product_call;

/* Frames of this size are not cleared whole: only what release looks at. */
static void product_begin(product_call *self)
{
    self->rhs_object = NULL;
    self->lhs.owner = self->rhs.owner = self->left.owner = self->right.owner = self->out.owner = NULL;
    self->weights.w.owner = self->weights.scales.owner = NULL;
    self->weights.biases.owner = self->weights.global.owner = NULL;
    self->weights.mode_bytes = NULL;
    self->product = (gmm_product){.size = sizeof self->product};
}

static bool product_take(product_call *self, const char *lhs_name)
{
    gmm_product *p = &self->product;
    if (!context_of(self->context_object, &self->context) ||
        !operand_take(&self->lhs, self->lhs_object, lhs_name, OPERAND_READ))
        return false;
    if (self->rhs_object) {
        if (!operand_take(&self->rhs, self->rhs_object, "b", OPERAND_READ))
            return false;
        p->rhs = operand_array(&self->rhs);
    } else {
        if (!packed_take(&self->weights))
            return false;
        p->quantized = &self->weights.quantized;
    }
    if (!operand_take(&self->left, self->left_object, "lhs_indices", OPERAND_READ) ||
        !operand_take(&self->right, self->right_object, "rhs_indices", OPERAND_READ))
        return false;
    p->lhs = operand_array(&self->lhs);
    p->lhs_indices = operand_array(&self->left);
    p->rhs_indices = operand_array(&self->right);
    return true;
}

static void product_release(product_call *self)
{
    operand_release(&self->lhs);
    operand_release(&self->rhs);
    operand_release(&self->left);
    operand_release(&self->right);
    operand_release(&self->out);
    packed_release(&self->weights);
}

static PyObject *product_run(product_call *self)
{
    gmm_array_spec spec;
    gmm_status status = gmm_result_spec(&self->product, &spec);
    if (status != GMM_OK)
        return raise_status(status);
    PyObject *result = take_output(&self->out, self->out_object, &spec, OPERAND_WRITE);
    if (!result)
        return NULL;
    PyThreadState *thread = PyEval_SaveThread();
    status = gmm_run(self->context, &self->product, &self->out.array);
    PyEval_RestoreThread(thread);
    return answer(status, self->lhs_object, self->out_object, result, spec.dtype);
}

static PyObject *product_explain(product_call *self)
{
    char text[4096];
    gmm_status status = gmm_explain(self->context, &self->product, text, sizeof text);
    return status != GMM_OK ? raise_status(status) : PyUnicode_FromString(text);
}

/* gather_mm(explain, a, b, lhs_indices, rhs_indices, sorted_indices, context, out) */
static PyObject *core_gather_mm(PyObject *module, PyObject *args)
{
    (void)module;
    int explain, sorted;
    product_call self;
    product_begin(&self);
    if (!PyArg_ParseTuple(args, "pOOOOpOO:gather_mm", &explain, &self.lhs_object, &self.rhs_object, &self.left_object,
                          &self.right_object, &sorted, &self.context_object, &self.out_object))
        return NULL;
    self.product.sorted_indices = sorted;
    PyObject *result = NULL;
    if (product_take(&self, "a"))
        result = explain ? product_explain(&self) : product_run(&self);
    product_release(&self);
    return result;
}

/* gather_qmm(explain, x, w, scales, biases, lhs_indices, rhs_indices, transpose, group_size, bits, mode, global_scale,
 * sorted_indices, context, out); quantized_matmul is without indices. */
static PyObject *core_gather_qmm(PyObject *module, PyObject *args)
{
    (void)module;
    int explain, transpose, sorted;
    product_call self;
    packed *w = &self.weights;
    product_begin(&self);
    if (!PyArg_ParseTuple(args, "pOOOOOOpOOOOpOO:gather_qmm", &explain, &self.lhs_object, &w->w_object,
                          &w->scales_object, &w->biases_object, &self.left_object, &self.right_object, &transpose,
                          &w->group_size_object, &w->bits_object, &w->mode_object, &w->global_object, &sorted,
                          &self.context_object, &self.out_object))
        return NULL;
    self.product.transpose = transpose;
    self.product.sorted_indices = sorted;
    PyObject *result = NULL;
    if (product_take(&self, "x"))
        result = explain ? product_explain(&self) : product_run(&self);
    product_release(&self);
    return result;
}

/* ---- quantize, dequantize, fp8 ----------------------------------------------------------------------------------- */

/* The new arrays of a quantization; biases only where the spec has some. */
static PyObject *quantize_run(const gmm_context *context, PyObject *like, const operand *w,
                              const gmm_quantize_options *options)
{
    enum {
        PARTS = 3
    };
    gmm_array_spec specs[PARTS];
    gmm_status status = gmm_quantize_spec(&w->array, options, &specs[0], &specs[1], &specs[2]);
    if (status != GMM_OK)
        return raise_status(status);
    int count = specs[2].ndim < 0 ? 2 : PARTS;
    operand views[PARTS];
    PyObject *arrays[PARTS] = {NULL};
    bool good = true;
    for (int i = 0; i < PARTS; i++)
        views[i].owner = NULL;
    for (int i = 0; good && i < count; i++)
        good = (arrays[i] = operand_new(&views[i], &specs[i])) != NULL;
    if (good) {
        PyThreadState *thread = PyEval_SaveThread();
        status = gmm_quantize(context, &w->array, options, &views[0].array, &views[1].array,
                              count == PARTS ? &views[2].array : NULL);
        PyEval_RestoreThread(thread);
        if (status != GMM_OK)
            raise_status(status);
        good = status == GMM_OK;
    }
    PyObject *result = good ? PyTuple_New(count) : NULL;
    for (int i = 0; i < PARTS; i++) {
        operand_release(&views[i]);
        if (result) {
            PyObject *part = i < count ? finished(like, arrays[i], specs[i].dtype) : NULL;
            if (i < count && (!part || PyTuple_SetItem(result, i, part) != 0))
                Py_CLEAR(result);
        } else {
            Py_XDECREF(arrays[i]);
        }
    }
    return result;
}

/* quantize(w, group_size, bits, mode, global_scale, exponent_rule, tie_rule, context) */
static PyObject *core_quantize(PyObject *module, PyObject *args)
{
    (void)module;
    packed p;
    memset(&p, 0, sizeof p);
    int exponent_rule, tie_rule;
    PyObject *context_object, *result = NULL;
    const gmm_context *context;
    if (!PyArg_ParseTuple(args, "OOOOOiiO:quantize", &p.w_object, &p.group_size_object, &p.bits_object, &p.mode_object,
                          &p.global_object, &exponent_rule, &tie_rule, &context_object) ||
        !context_of(context_object, &context))
        return NULL;
    p.scales_object = p.biases_object = Py_None;
    if (packed_take(&p)) {
        gmm_quantize_options options = {.size = sizeof options,
                                        .mode = p.quantized.mode,
                                        .group_size = p.quantized.group_size,
                                        .bits = p.quantized.bits,
                                        .global_scale = p.quantized.global_scale,
                                        .exponent_rule = (gmm_exponent_rule)exponent_rule,
                                        .tie_rule = (gmm_tie_rule)tie_rule};
        if (p.w.owner)
            result = quantize_run(context, p.w_object, &p.w, &options);
        else
            PyErr_SetString(PyExc_TypeError, "w is None");
    }
    packed_release(&p);
    return result;
}

/* dequantize(w, scales, biases, group_size, bits, mode, global_scale, dtype, context, out); dtype 0: the default */
static PyObject *core_dequantize(PyObject *module, PyObject *args)
{
    (void)module;
    packed p;
    memset(&p, 0, sizeof p);
    operand out = {.owner = NULL};
    int dtype;
    PyObject *context_object, *out_object, *result = NULL;
    const gmm_context *context;
    if (!PyArg_ParseTuple(args, "OOOOOOOiOO:dequantize", &p.w_object, &p.scales_object, &p.biases_object,
                          &p.group_size_object, &p.bits_object, &p.mode_object, &p.global_object, &dtype,
                          &context_object, &out_object) ||
        !context_of(context_object, &context))
        return NULL;
    if (packed_take(&p)) {
        gmm_array_spec spec;
        gmm_status status = gmm_dequantize_spec(&p.quantized, &spec);
        if (status != GMM_OK) {
            raise_status(status);
        } else {
            if (dtype)
                spec.dtype = (gmm_dtype)dtype;
            result = take_output(&out, out_object, &spec, OPERAND_WRITE);
        }
        if (result) {
            PyThreadState *thread = PyEval_SaveThread();
            status = gmm_dequantize(context, &p.quantized, &out.array);
            PyEval_RestoreThread(thread);
            result = answer(status, p.w_object, out_object, result, spec.dtype);
        }
    }
    operand_release(&out);
    packed_release(&p);
    return result;
}

/* fp8(x, dtype, out): to codes if dtype is 0, else from codes to that type */
static PyObject *core_fp8(PyObject *module, PyObject *args)
{
    (void)module;
    int dtype;
    PyObject *x_object, *out_object, *result = NULL;
    operand x = {.owner = NULL}, out = {.owner = NULL};
    if (!PyArg_ParseTuple(args, "OiO:fp8", &x_object, &dtype, &out_object))
        return NULL;
    if (operand_take(&x, x_object, "x", dtype ? OPERAND_CODES : OPERAND_READ)) {
        gmm_array_spec spec = {.dtype = dtype ? (gmm_dtype)dtype : GMM_U8, .ndim = x.array.ndim};
        if (!x.owner)
            PyErr_SetString(PyExc_TypeError, "x is None");
        else if (x.array.ndim > GMM_MAX_NDIM)
            PyErr_Format(PyExc_ValueError, "x has %d dimensions; %d is the largest number", (int)x.array.ndim,
                         GMM_MAX_NDIM);
        else {
            memcpy(spec.shape, x.array.shape, (size_t)x.array.ndim * sizeof spec.shape[0]);
            result = take_output(&out, out_object, &spec, dtype ? OPERAND_WRITE : OPERAND_WRITE_CODES);
        }
        if (result) {
            PyThreadState *thread = PyEval_SaveThread();
            gmm_status status = dtype ? gmm_from_fp8(&x.array, &out.array) : gmm_to_fp8(&x.array, &out.array);
            PyEval_RestoreThread(thread);
            result = answer(status, x_object, out_object, result, spec.dtype);
        }
    }
    operand_release(&out);
    operand_release(&x);
    return result;
}

/* ---- what there is ----------------------------------------------------------------------------------------------- */

/* Append `item` to `list` and let go of it; false with an exception. */
static bool append(PyObject *list, PyObject *item)
{
    bool good = item && PyList_Append(list, item) == 0;
    Py_XDECREF(item);
    return good;
}

static PyObject *number_list(const int32_t *numbers)
{
    PyObject *list = PyList_New(0);
    for (; list && numbers && *numbers; numbers++)
        if (!append(list, PyLong_FromLong(*numbers)))
            Py_CLEAR(list);
    return list;
}

static bool list_all(const gmm_context *context, PyObject *features, PyObject *kernels, PyObject *formats)
{
    gmm_cpu_feature_info f;
    for (size_t i = 0; gmm_cpu_feature_at(context, i, &f); i++)
        if (!append(features, Py_BuildValue("{s:s,s:O,s:O}", "name", f.name, "present", f.present ? Py_True : Py_False,
                                            "masked", f.masked ? Py_True : Py_False)))
            return false;
    gmm_kernel_info k;
    for (size_t i = 0; gmm_kernel_at(context, i, &k); i++)
        if (!append(kernels, Py_BuildValue("{s:s,s:s,s:s,s:i,s:i,s:O,s:O}", "name", k.name, "body", k.body, "reads",
                                           k.reads, "mr", (int)k.mr, "nr", (int)k.nr, "usable",
                                           k.usable ? Py_True : Py_False, "used", k.used ? Py_True : Py_False)))
            return false;
    gmm_format_info m;
    for (size_t i = 0; gmm_format_at(i, &m); i++)
        if (!append(formats,
                    Py_BuildValue("{s:s,s:O,s:O,s:N,s:N}", "mode", m.mode, "quantized",
                                  m.quantized ? Py_True : Py_False, "has_biases", m.has_biases ? Py_True : Py_False,
                                  "group_sizes", number_list(m.group_sizes), "bits", number_list(m.bits))))
            return false;
    return true;
}

/* info(context) */
static PyObject *core_info(PyObject *module, PyObject *object)
{
    (void)module;
    const gmm_context *context;
    if (!context_of(object, &context))
        return NULL;
    PyObject *features = PyList_New(0), *kernels = PyList_New(0), *formats = PyList_New(0), *info = NULL;
    if (features && kernels && formats && list_all(context, features, kernels, formats))
        info = Py_BuildValue("{s:s,s:s,s:i,s:O,s:O,s:O}", "version", gmm_version(), "build", gmm_build_info(),
                             "threads", (int)gmm_context_threads(context), "cpu_features", features, "kernels", kernels,
                             "formats", formats);
    Py_XDECREF(features);
    Py_XDECREF(kernels);
    Py_XDECREF(formats);
    return info;
}

/* setup(numpy.ndarray, numpy.empty, numpy.asarray, finish): once, by the package */
static PyObject *core_setup(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *empty, *asarray, *type, *function;
    if (!PyArg_ParseTuple(args, "OOOO:setup", &type, &empty, &asarray, &function) || !operand_setup(empty, asarray))
        return NULL;
    finished_setup(type, function);
    return Py_BuildValue("");
}

PyMODINIT_FUNC PyInit__core(void); /* Python's headers do not declare it */

PyMODINIT_FUNC PyInit__core(void)
{
    static PyMethodDef methods[] = {
        {"gather_mm", core_gather_mm, METH_VARARGS, NULL},
        {"gather_qmm", core_gather_qmm, METH_VARARGS, NULL},
        {"quantize", core_quantize, METH_VARARGS, NULL},
        {"dequantize", core_dequantize, METH_VARARGS, NULL},
        {"fp8", core_fp8, METH_VARARGS, NULL},
        {"moe", core_moe, METH_VARARGS, NULL},
        {"route", core_route, METH_VARARGS, NULL},
        {"capsule", operand_capsule, METH_VARARGS, NULL},
        {"info", core_info, METH_O, NULL},
        {"setup", core_setup, METH_VARARGS, NULL},
        {NULL, NULL, 0, NULL},
    };
    static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_core", NULL, -1, methods, NULL, NULL, NULL, NULL};
    PyObject *module = PyModule_Create(&definition);
    if (!module)
        return NULL;
    PyObject *type = context_type_new();
    if (!type || PyModule_AddObject(module, "Context", type) != 0 ||
        PyModule_AddStringConstant(module, "version", gmm_version()) != 0) {
        Py_XDECREF(type);
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
