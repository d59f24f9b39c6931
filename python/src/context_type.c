/* context_type.c - gathermm.Context: a gmm_context as a Python object.
 * SPDX-License-Identifier: MIT
 */
#include "context_type.h"

#include <string.h>

typedef struct context_object {
    PyObject head; /* what PyObject_HEAD expands to */
    gmm_context *context;
    PyObject *cpu_mask; /* str or None */
    int arithmetic;
} context_object;

static PyTypeObject *context_type;

PyObject *raise_status(gmm_status status)
{
    PyObject *type = status == GMM_ERR_INDEX    ? PyExc_IndexError
                     : status == GMM_ERR_MEMORY ? PyExc_MemoryError
                                                : PyExc_ValueError;
    const char *detail = gmm_error_detail();
    PyErr_SetString(type, detail[0] ? detail : gmm_status_text(status));
    return NULL;
}

bool context_of(PyObject *object, const gmm_context **context)
{
    *context = NULL;
    if (object == Py_None)
        return true;
    if (Py_TYPE(object) != context_type) {
        PyErr_Format(PyExc_TypeError, "context is a gathermm.Context or None, not %R", (PyObject *)Py_TYPE(object));
        return false;
    }
    *context = ((context_object *)object)->context;
    return true;
}

static bool read_arithmetic(const char *name, gmm_arithmetic *arithmetic)
{
    if (strcmp(name, "f32") == 0)
        *arithmetic = GMM_ARITHMETIC_F32;
    else if (strcmp(name, "int8") == 0)
        *arithmetic = GMM_ARITHMETIC_INT8;
    else
        PyErr_Format(PyExc_ValueError, "arithmetic is 'f32' or 'int8', not '%s'", name);
    return !PyErr_Occurred();
}

static PyObject *context_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char threads_name[] = "threads", mask_name[] = "cpu_mask", arithmetic_name[] = "arithmetic";
    static char *names[] = {threads_name, mask_name, arithmetic_name, NULL};
    int threads = 0;
    const char *cpu_mask = NULL, *arithmetic = "f32";
    gmm_context_options options = {.size = sizeof options};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|izs:Context", names, &threads, &cpu_mask, &arithmetic) ||
        !read_arithmetic(arithmetic, &options.arithmetic))
        return NULL;
    options.threads = threads;
    options.cpu_mask = cpu_mask;
    gmm_context *context = NULL;
    gmm_status status = gmm_context_create(&options, &context);
    if (status != GMM_OK)
        return raise_status(status);

    allocfunc allocate = (__extension__(allocfunc) PyType_GetSlot(type, Py_tp_alloc));
    context_object *self = (context_object *)allocate(type, 0);
    PyObject *mask = self ? (cpu_mask ? PyUnicode_FromString(cpu_mask) : Py_BuildValue("")) : NULL;
    if (!mask) {
        gmm_context_destroy(context);
        Py_XDECREF((PyObject *)self);
        return NULL;
    }
    self->context = context;
    self->cpu_mask = mask;
    self->arithmetic = (int)options.arithmetic;
    return (PyObject *)self;
}

static void context_dealloc(PyObject *object)
{
    context_object *self = (context_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    gmm_context_destroy(self->context);
    Py_XDECREF(self->cpu_mask);
    freefunc release = (__extension__(freefunc) PyType_GetSlot(type, Py_tp_free));
    release(object);
    Py_DECREF((PyObject *)type); /* instances of heap types own it */
}

static const char *arithmetic_text(const context_object *self)
{
    return self->arithmetic == GMM_ARITHMETIC_INT8 ? "int8" : "f32";
}

static PyObject *get_threads(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromLong(gmm_context_threads(((context_object *)object)->context));
}

static PyObject *get_cpu_mask(PyObject *object, void *closure)
{
    (void)closure;
    PyObject *mask = ((context_object *)object)->cpu_mask;
    Py_INCREF(mask);
    return mask;
}

static PyObject *get_arithmetic(PyObject *object, void *closure)
{
    (void)closure;
    return PyUnicode_FromString(arithmetic_text((context_object *)object));
}

static PyObject *context_repr(PyObject *object)
{
    context_object *self = (context_object *)object;
    return PyUnicode_FromFormat("Context(threads=%d, cpu_mask=%R, arithmetic='%s')",
                                (int)gmm_context_threads(self->context), self->cpu_mask, arithmetic_text(self));
}

PyDoc_STRVAR(context_doc,
             "Context(threads=0, cpu_mask=None, arithmetic='f32')\n--\n\n"
             "Threads, instruction sets and arithmetic for calls; immutable, and good for many threads.\n\n"
             "threads: at most this many; 0 is OpenMP's default.\n"
             "cpu_mask: CPU features to leave unused, for example 'avx512,avx2'; None is none.\n"
             "arithmetic: 'f32', or 'int8' for activations rounded to int8 (affine, mxfp4 and nvfp4\n"
             "weights with transpose; faster and less exact, docs/numerics.md has the bound).\n\n"
             ">>> import gathermm\n"
             ">>> gathermm.Context(threads=1)\n"
             "Context(threads=1, cpu_mask=None, arithmetic='f32')\n");

PyObject *context_type_new(void)
{
    static PyGetSetDef members[] = {
        {"threads", get_threads, NULL, "The number of threads that a large call uses.", NULL},
        {"cpu_mask", get_cpu_mask, NULL, "The CPU features that are left unused, or None.", NULL},
        {"arithmetic", get_arithmetic, NULL, "'f32' or 'int8'.", NULL},
        {NULL, NULL, NULL, NULL, NULL},
    };
    static PyType_Slot slots[] = {
        {Py_tp_new, (__extension__(void *) context_new)},
        {Py_tp_dealloc, (__extension__(void *) context_dealloc)},
        {Py_tp_repr, (__extension__(void *) context_repr)},
        {Py_tp_getset, members},
        {Py_tp_doc, NULL},
        {0, NULL},
    };
    static char doc[sizeof context_doc];
    memcpy(doc, context_doc, sizeof doc);
    slots[4].pfunc = doc;
    static PyType_Spec spec = {"gathermm.Context", sizeof(context_object), 0, Py_TPFLAGS_DEFAULT, slots};
    PyObject *type = PyType_FromSpec(&spec);
    context_type = (PyTypeObject *)type;
    return type;
}
