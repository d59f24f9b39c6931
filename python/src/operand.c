/* operand.c - any Python array as a gmm_array, in place; new arrays for results; results for other packages.
 * SPDX-License-Identifier: MIT
 *
 * The stable ABI has the buffer protocol only since Python 3.11, and the buffer protocol has no bf16. So arrays come by
 * __dlpack__, and where that refuses (read-only arrays, element types of other packages) by __array_interface__.
 */
#include "operand.h"

#include <stdlib.h>
#include <string.h>

#include "dlpack.h"

static PyObject *numpy_empty, *numpy_asarray;
static PyObject *name_dlpack, *name_interface, *name_dtype, *name_name;
static PyObject *dtype_f32, *dtype_f16, *dtype_u32, *dtype_u16, *dtype_u8, *dtype_i32; /* strings, for NumPy */

bool operand_setup(PyObject *empty, PyObject *asarray)
{
    Py_INCREF(empty);
    Py_INCREF(asarray);
    numpy_empty = empty;
    numpy_asarray = asarray;
    name_dlpack = PyUnicode_InternFromString("__dlpack__");
    name_interface = PyUnicode_InternFromString("__array_interface__");
    name_dtype = PyUnicode_InternFromString("dtype");
    name_name = PyUnicode_InternFromString("name");
    dtype_f32 = PyUnicode_InternFromString("f4");
    dtype_f16 = PyUnicode_InternFromString("f2");
    dtype_u32 = PyUnicode_InternFromString("u4");
    dtype_u16 = PyUnicode_InternFromString("u2");
    dtype_u8 = PyUnicode_InternFromString("u1");
    dtype_i32 = PyUnicode_InternFromString("i4");
    return name_dlpack && name_interface && name_dtype && name_name && dtype_f32 && dtype_f16 && dtype_u32 &&
           dtype_u16 && dtype_u8 && dtype_i32;
}

/* ---- element types ----------------------------------------------------------------------------------------------- */

/* 0 for one that the library does not have. */
static gmm_dtype number_dtype(char kind, int64_t bits)
{
    static const struct {
        char kind;
        int bits;
        gmm_dtype dtype;
    } list[] = {
        {'b', 8, GMM_BOOL}, {'u', 8, GMM_U8},   {'i', 8, GMM_I8},   {'u', 16, GMM_U16}, {'i', 16, GMM_I16},
        {'u', 32, GMM_U32}, {'i', 32, GMM_I32}, {'u', 64, GMM_U64}, {'i', 64, GMM_I64}, {'f', 16, GMM_F16},
        {'f', 32, GMM_F32}, {'f', 64, GMM_F64}, {'c', 64, GMM_C64},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (list[i].kind == kind && list[i].bits == bits)
            return list[i].dtype;
    return (gmm_dtype)0;
}

static gmm_dtype dlpack_dtype(const dlpack_tensor *t)
{
    if (t->dtype.lanes != 1)
        return (gmm_dtype)0;
    switch (t->dtype.code) {
    case DLPACK_INT:
        return number_dtype('i', t->dtype.bits);
    case DLPACK_UINT:
        return number_dtype('u', t->dtype.bits);
    case DLPACK_FLOAT:
        return number_dtype('f', t->dtype.bits);
    case DLPACK_COMPLEX:
        return number_dtype('c', t->dtype.bits);
    case DLPACK_BOOL:
        return number_dtype('b', t->dtype.bits);
    case DLPACK_BFLOAT:
        return t->dtype.bits == 16 ? GMM_BF16 : (gmm_dtype)0;
    case DLPACK_F8_E4M3FN:
        return GMM_F8_E4M3;
    case DLPACK_F8_E4M3FNUZ:
        return GMM_F8_E4M3FNUZ;
    case DLPACK_F8_E5M2:
        return GMM_F8_E5M2;
    case DLPACK_F8_E5M2FNUZ:
        return GMM_F8_E5M2FNUZ;
    case DLPACK_F8_E8M0FNU:
        return GMM_F8_E8M0;
    default:
        return (gmm_dtype)0;
    }
}

/* Types that NumPy knows as bytes without a meaning; their dtype's name says what they are. */
static gmm_dtype named_dtype(const char *name)
{
    static const struct {
        const char *name;
        gmm_dtype dtype;
    } list[] = {
        {"bfloat16", GMM_BF16},          {"float8_e4m3fn", GMM_F8_E4M3},       {"float8_e5m2", GMM_F8_E5M2},
        {"float8_e8m0fnu", GMM_F8_E8M0}, {"float8_e4m3fnuz", GMM_F8_E4M3FNUZ}, {"float8_e5m2fnuz", GMM_F8_E5M2FNUZ},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (strcmp(list[i].name, name) == 0)
            return list[i].dtype;
    return (gmm_dtype)0;
}

/* ---- by __dlpack__ ----------------------------------------------------------------------------------------------- */

static bool from_capsule(operand *self, const char *name)
{
    const dlpack_managed *managed = PyCapsule_GetPointer(self->owner, DLPACK_CAPSULE);
    if (!managed)
        return false;
    const dlpack_tensor *t = &managed->tensor;
    if (t->device.type != DLPACK_CPU) {
        PyErr_Format(PyExc_ValueError,
                     "%s lies on a device (DLPack's number %d), not in the CPU's memory: copy it first", name,
                     (int)t->device.type);
        return false;
    }
    gmm_dtype dtype = dlpack_dtype(t);
    if (!dtype) {
        PyErr_Format(PyExc_ValueError, "%s has an element type that is not supported (DLPack's code %d, %d bits)", name,
                     (int)t->dtype.code, (int)t->dtype.bits);
        return false;
    }
    self->array = (gmm_array){.data = t->data,
                              .dtype = dtype,
                              .ndim = t->ndim,
                              .shape = t->shape,
                              .strides = t->strides,
                              .byte_offset = t->byte_offset};
    return true;
}

/* ---- by __array_interface__ -------------------------------------------------------------------------------------- */

/* The dtype of `object` by its name; 0, and no exception, where it has none that we know. */
static gmm_dtype dtype_of_object(PyObject *object)
{
    gmm_dtype dtype = (gmm_dtype)0;
    PyObject *its_dtype = PyObject_GetAttr(object, name_dtype);
    PyObject *its_name = its_dtype ? PyObject_GetAttr(its_dtype, name_name) : NULL;
    PyObject *bytes = its_name && PyUnicode_Check(its_name) ? PyUnicode_AsUTF8String(its_name) : NULL;
    const char *text = bytes ? PyBytes_AsString(bytes) : NULL;
    if (text)
        dtype = named_dtype(text);
    PyErr_Clear();
    Py_XDECREF(bytes);
    Py_XDECREF(its_name);
    Py_XDECREF(its_dtype);
    return dtype;
}

/* The numbers of a tuple; their count, or -1 with an exception. */
static int read_tuple(PyObject *tuple, int64_t *numbers, const char *name)
{
    Py_ssize_t count = PyTuple_Size(tuple);
    if (count > GMM_MAX_NDIM)
        PyErr_Format(PyExc_ValueError, "%s has %zd dimensions; %d is the largest number", name, count, GMM_MAX_NDIM);
    if (count < 0 || count > GMM_MAX_NDIM)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++)
        numbers[i] = PyLong_AsLongLong(PyTuple_GetItem(tuple, i));
    return PyErr_Occurred() ? -1 : (int)count;
}

/* The element type that a type string such as "<f4" means for `object`. False with an exception. */
static bool read_typestr(operand *self, PyObject *object, PyObject *typestr, const char *name, int64_t *size)
{
    PyObject *bytes = PyUnicode_AsUTF8String(typestr);
    const char *text = bytes ? PyBytes_AsString(bytes) : NULL;
    bool good = text && strlen(text) >= 2;
    if (text && !good)
        PyErr_Format(PyExc_ValueError, "%s has the type string '%s', which is none", name, text);
    if (good) {
        *size = strtol(text + 2, NULL, 10);
        self->array.dtype = number_dtype(text[1], 8 * *size);
        if (!self->array.dtype)
            self->array.dtype = dtype_of_object(object);
        if (text[0] == (PY_LITTLE_ENDIAN ? '>' : '<') && *size > 1) {
            PyErr_Format(PyExc_ValueError,
                         "%s is byte-swapped ('%s'): make it native first, x.astype(x.dtype.newbyteorder('='))", name,
                         text);
            good = false;
        } else if (!self->array.dtype || gmm_dtype_bits(self->array.dtype) != 8 * *size) {
            PyErr_Format(PyExc_ValueError, "%s has an element type that is not supported ('%s')", name, text);
            good = false;
        }
    }
    Py_XDECREF(bytes);
    return good;
}

static bool read_strides(operand *self, PyObject *strides, int64_t size, const char *name)
{
    if (!strides || strides == Py_None)
        return true;
    if (read_tuple(strides, self->strides, name) != self->array.ndim) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_ValueError, "%s has other numbers of strides and of dimensions", name);
        return false;
    }
    for (int i = 0; i < self->array.ndim; i++) {
        if (self->strides[i] % size != 0) {
            PyErr_Format(PyExc_ValueError, "%s has a stride of %lld bytes, no multiple of its element's %lld", name,
                         (long long)self->strides[i], (long long)size);
            return false;
        }
        self->strides[i] /= size;
    }
    self->array.strides = self->strides;
    return true;
}

static bool from_interface(operand *self, PyObject *object, PyObject *interface, const char *name, operand_use use)
{
    if (!PyDict_Check(interface)) {
        PyErr_Format(PyExc_TypeError, "%s.__array_interface__ is no dictionary", name);
        return false;
    }
    PyObject *shape = PyDict_GetItemString(interface, "shape");
    PyObject *typestr = PyDict_GetItemString(interface, "typestr");
    PyObject *data = PyDict_GetItemString(interface, "data");
    if (!shape || !PyTuple_Check(shape) || !typestr || !PyUnicode_Check(typestr) || !data || !PyTuple_Check(data) ||
        PyTuple_Size(data) != 2) {
        PyErr_Format(PyExc_TypeError, "%s.__array_interface__ lacks shape, typestr or data", name);
        return false;
    }
    if ((use == OPERAND_WRITE || use == OPERAND_WRITE_CODES) && PyObject_IsTrue(PyTuple_GetItem(data, 1)) != 0) {
        PyErr_Format(PyExc_ValueError, "%s is read-only", name);
        return false;
    }
    int64_t size = 0;
    self->array = (gmm_array){.data = PyLong_AsVoidPtr(PyTuple_GetItem(data, 0)), .shape = self->shape};
    self->array.ndim = read_tuple(shape, self->shape, name);
    return self->array.ndim >= 0 && read_typestr(self, object, typestr, name, &size) &&
           read_strides(self, PyDict_GetItemString(interface, "strides"), size, name);
}

/* ---- any --------------------------------------------------------------------------------------------------------- */

/* A NumPy view of an object with the buffer protocol, or NULL without an exception. */
static PyObject *through_buffer(PyObject *object)
{
    PyObject *view = PyMemoryView_FromObject(object);
    PyObject *array = view ? PyObject_CallFunctionObjArgs(numpy_asarray, view, NULL) : NULL;
    Py_XDECREF(view);
    PyErr_Clear();
    return array;
}

/* Why __dlpack__ did not give a capsule is the error, unless there is another way in. */
static bool take_otherwise(operand *self, PyObject *object, const char *name, operand_use use)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return false;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *interface = PyObject_GetAttr(object, name_interface);
    bool good = false;
    if (interface) {
        good = from_interface(self, object, interface, name, use);
        Py_INCREF(object); /* the dictionary holds no memory */
        self->owner = object;
    } else {
        PyErr_Clear();
        PyObject *array = PyErr_GivenExceptionMatches(type, PyExc_AttributeError) ? through_buffer(object) : NULL;
        if (array) {
            good = operand_take(self, array, name, use);
            Py_DECREF(array); /* the owner holds it, and the buffer by it */
        } else if (PyErr_GivenExceptionMatches(type, PyExc_AttributeError)) {
            PyErr_Format(PyExc_TypeError, "%s is no array: %R has no __dlpack__, __array_interface__ or buffer", name,
                         (PyObject *)Py_TYPE(object));
        } else {
            PyErr_Restore(type, value, trace);
            return false;
        }
    }
    Py_XDECREF(interface);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return good;
}

bool operand_take(operand *self, PyObject *object, const char *name, operand_use use)
{
    self->owner = NULL;
    if (object == Py_None)
        return true;
    self->owner = PyObject_CallMethodObjArgs(object, name_dlpack, NULL);
    if (!(self->owner ? from_capsule(self, name) : take_otherwise(self, object, name, use))) {
        operand_release(self);
        return false;
    }
    if ((use == OPERAND_CODES || use == OPERAND_WRITE_CODES) &&
        (self->array.dtype == GMM_F8_E4M3 || self->array.dtype == GMM_F8_E8M0))
        self->array.dtype = GMM_U8;
    return true;
}

void operand_release(operand *self)
{
    Py_XDECREF(self->owner);
    self->owner = NULL;
}

const gmm_array *operand_array(const operand *self)
{
    return self->owner ? &self->array : NULL;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

PyObject *operand_new(operand *self, const gmm_array_spec *spec)
{
    PyObject *dtype = spec->dtype == GMM_F32    ? dtype_f32
                      : spec->dtype == GMM_F16  ? dtype_f16
                      : spec->dtype == GMM_BF16 ? dtype_u16
                      : spec->dtype == GMM_U32  ? dtype_u32
                      : spec->dtype == GMM_I32  ? dtype_i32
                                                : dtype_u8;
    self->owner = NULL;
    PyObject *shape = PyTuple_New(spec->ndim);
    for (int i = 0; shape && i < spec->ndim; i++) {
        PyObject *size = PyLong_FromLongLong(spec->shape[i]);
        if (!size || PyTuple_SetItem(shape, i, size) != 0)
            Py_CLEAR(shape);
    }
    PyObject *array = shape ? PyObject_CallFunctionObjArgs(numpy_empty, shape, dtype, NULL) : NULL;
    Py_XDECREF(shape);
    if (!array || !operand_take(self, array, "result", OPERAND_WRITE)) {
        Py_XDECREF(array);
        return NULL;
    }
    self->array.dtype = spec->dtype;
    return array;
}

/* ---- capsules for other packages --------------------------------------------------------------------------------- */

/* What a consumer of a capsule owns: the tensor, its sizes and, through `view`, the array. */
typedef struct exported {
    dlpack_managed managed;
    operand view;
} exported;

/* Consumers call this from any thread, and possibly after the interpreter has gone. */
static void exported_delete(dlpack_managed *managed)
{
    exported *self = managed->manager;
    if (Py_IsInitialized()) {
        PyGILState_STATE state = PyGILState_Ensure();
        operand_release(&self->view);
        PyGILState_Release(state);
    }
    free(self);
}

static void capsule_delete(PyObject *capsule)
{
    if (PyCapsule_IsValid(capsule, DLPACK_CAPSULE)) { /* nobody took it: they rename it when they do */
        dlpack_managed *managed = PyCapsule_GetPointer(capsule, DLPACK_CAPSULE);
        managed->deleter(managed);
    }
}

static uint8_t dlpack_code_of(gmm_dtype dtype)
{
    switch (dtype) {
    case GMM_F32:
    case GMM_F16:
        return DLPACK_FLOAT;
    case GMM_BF16:
        return DLPACK_BFLOAT;
    case GMM_I32:
        return DLPACK_INT;
    default:
        return DLPACK_UINT;
    }
}

PyObject *operand_capsule(PyObject *module, PyObject *args)
{
    PyObject *array;
    int is_bfloat16;
    (void)module;
    if (!PyArg_ParseTuple(args, "Op:capsule", &array, &is_bfloat16))
        return NULL;
    exported *self = calloc(1, sizeof *self);
    if (!self)
        return PyErr_NoMemory();
    if (!operand_take(&self->view, array, "array", OPERAND_WRITE)) {
        free(self);
        return NULL;
    }
    const gmm_array *a = &self->view.array;
    memcpy(self->view.shape, a->shape, (size_t)a->ndim * sizeof *a->shape);
    int64_t stride = 1;
    for (int i = a->ndim - 1; i >= 0; i--) { /* results are row-major */
        self->view.strides[i] = stride;
        stride *= a->shape[i];
    }
    dlpack_tensor *t = &self->managed.tensor;
    *t = (dlpack_tensor){.data = a->data, .ndim = a->ndim, .byte_offset = a->byte_offset};
    t->shape = self->view.shape;
    t->strides = self->view.strides;
    t->device.type = DLPACK_CPU;
    t->dtype.code = dlpack_code_of(is_bfloat16 ? GMM_BF16 : a->dtype);
    t->dtype.bits = (uint8_t)gmm_dtype_bits(a->dtype);
    t->dtype.lanes = 1;
    self->managed.manager = self;
    self->managed.deleter = exported_delete;
    PyObject *capsule = PyCapsule_New(&self->managed, DLPACK_CAPSULE, capsule_delete);
    if (!capsule)
        exported_delete(&self->managed);
    return capsule;
}
