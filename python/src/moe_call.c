/* moe_call.c - whole expert layers and routing from Python.
 * SPDX-License-Identifier: MIT
 *
 * layer.py makes the tuples that are taken apart here:
 * - a projection: (dense, w, scales, biases, global_scale, group_size, bits, mode, bias), a list of these, or None
 *
 * - experts: (gate, up, gate_up, down, layout)
 *
 * - a routing: (kind, top_k, renormalise, scale, correction_bias, n_group, topk_group, drop_to_zero, router)
 */
#include "moe_call.h"

#include <gathermm/moe.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "context_type.h"

/* ---- projections ------------------------------------------------------------------------------------------------- */

typedef struct projection {
    operand dense, bias;
    packed packed;
    gmm_moe_weights weights;
    struct projection *each;
    gmm_moe_weights *each_weights;
    Py_ssize_t count; /* of each */
} projection;

/* As in product_begin: only what release looks at. */
static void projection_begin(projection *self)
{
    self->dense.owner = self->bias.owner = NULL;
    self->packed.w.owner = self->packed.scales.owner = NULL;
    self->packed.biases.owner = self->packed.global.owner = NULL;
    self->packed.mode_bytes = NULL;
    self->weights = (gmm_moe_weights){.rhs = NULL};
    self->each = NULL;
    self->each_weights = NULL;
    self->count = 0;
}

static void projection_release(projection *self)
{
    operand_release(&self->dense);
    operand_release(&self->bias);
    packed_release(&self->packed);
    for (Py_ssize_t i = 0; i < self->count; i++)
        projection_release(&self->each[i]);
    free(self->each);
    free(self->each_weights);
}

static bool matrices_take(projection *self, PyObject *given)
{
    PyObject *dense, *bias;
    packed *p = &self->packed;
    if (!PyArg_ParseTuple(given, "OOOOOOOOO:projection", &dense, &p->w_object, &p->scales_object, &p->biases_object,
                          &p->global_object, &p->group_size_object, &p->bits_object, &p->mode_object, &bias) ||
        !operand_take(&self->bias, bias, "bias", OPERAND_READ))
        return false;
    self->weights.bias = operand_array(&self->bias);
    if (dense != Py_None) {
        if (!operand_take(&self->dense, dense, "it", OPERAND_READ))
            return false;
        self->weights.rhs = operand_array(&self->dense);
        return true;
    }
    if (!packed_take(p))
        return false;
    self->weights.quantized = &p->quantized;
    return true;
}

/* "down: w is no array: ..." */
static void name_error(const char *name, Py_ssize_t index)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (index < 0)
        PyErr_Format(type, "%s: %S", name, value);
    else
        PyErr_Format(type, "%s[%zd]: %S", name, index, value);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
}

static bool projection_take(projection *self, PyObject *given, const char *name)
{
    if (given == Py_None)
        return true;
    if (!PyList_Check(given)) {
        bool good = matrices_take(self, given);
        if (!good)
            name_error(name, -1);
        return good;
    }
    Py_ssize_t count = PyList_Size(given);
    self->each = malloc(((size_t)count + 1) * sizeof *self->each);
    self->each_weights = malloc(((size_t)count + 1) * sizeof *self->each_weights);
    if (!self->each || !self->each_weights) {
        PyErr_NoMemory();
        return false;
    }
    self->weights.each = self->each_weights;
    self->weights.each_count = count;
    for (Py_ssize_t i = 0; i < count; i++) {
        projection_begin(&self->each[i]);
        self->count = i + 1;
        if (!matrices_take(&self->each[i], PyList_GetItem(given, i))) {
            name_error(name, i);
            return false;
        }
        self->each_weights[i] = self->each[i].weights;
    }
    return true;
}

/* ---- an expert's projections ------------------------------------------------------------------------------------- */

typedef struct mlp {
    projection gate, up, gate_up, down;
} mlp;

static void mlp_begin(mlp *self)
{
    projection_begin(&self->gate);
    projection_begin(&self->up);
    projection_begin(&self->gate_up);
    projection_begin(&self->down);
}

static void mlp_release(mlp *self)
{
    projection_release(&self->gate);
    projection_release(&self->up);
    projection_release(&self->gate_up);
    projection_release(&self->down);
}

static bool mlp_take(mlp *self, PyObject *given, const char *const names[4], gmm_moe_projections *projections)
{
    PyObject *gate, *up, *gate_up, *down;
    int layout;
    if (given == Py_None)
        return true;
    if (!PyArg_ParseTuple(given, "OOOOi:experts", &gate, &up, &gate_up, &down, &layout) ||
        !projection_take(&self->gate, gate, names[0]) || !projection_take(&self->up, up, names[1]) ||
        !projection_take(&self->gate_up, gate_up, names[2]) || !projection_take(&self->down, down, names[3]))
        return false;
    *projections = (gmm_moe_projections){.gate = self->gate.weights,
                                         .up = self->up.weights,
                                         .gate_up = self->gate_up.weights,
                                         .down = self->down.weights,
                                         .gate_up_layout = (gmm_gate_up)layout};
    return true;
}

/* ---- routing ----------------------------------------------------------------------------------------------------- */

typedef struct router {
    operand correction_bias;
    projection weights;
    gmm_routing routing;
} router;

static void router_begin(router *self)
{
    self->correction_bias.owner = NULL;
    projection_begin(&self->weights);
}

static void router_release(router *self)
{
    operand_release(&self->correction_bias);
    projection_release(&self->weights);
}

static bool router_take(router *self, PyObject *given)
{
    PyObject *bias, *weights;
    int kind, top_k, renormalise, n_group, topk_group, drop_to_zero;
    float scale;
    if (!PyArg_ParseTuple(given, "iipfOiipO:routing", &kind, &top_k, &renormalise, &scale, &bias, &n_group, &topk_group,
                          &drop_to_zero, &weights) ||
        !operand_take(&self->correction_bias, bias, "correction_bias", OPERAND_READ) ||
        !projection_take(&self->weights, weights, "router"))
        return false;
    self->routing = (gmm_routing){.size = sizeof self->routing,
                                  .kind = (gmm_routing_kind)kind,
                                  .top_k = top_k,
                                  .renormalise = renormalise,
                                  .scale = scale,
                                  .correction_bias = operand_array(&self->correction_bias),
                                  .n_group = n_group,
                                  .topk_group = topk_group,
                                  .drop_to_zero = drop_to_zero,
                                  .router = self->weights.weights};
    return true;
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

/* The library takes (T, H): see the axes before the last as one. False with an exception where strides forbid it. */
static bool fold(operand *self, const char *name)
{
    gmm_array *a = &self->array;
    if (!self->owner)
        return true;
    if (a->ndim < 1 || a->ndim > GMM_MAX_NDIM) {
        PyErr_Format(PyExc_ValueError, "%s has %d axes; it may have 1 to %d", name, (int)a->ndim, GMM_MAX_NDIM);
        return false;
    }
    int last = a->ndim - 1;
    int64_t count = 1, step = a->shape[last], columns = a->shape[last], stride = a->strides ? a->strides[last] : 1;
    for (int i = last - 1; i >= 0; i--) {
        if (a->strides && a->shape[i] != 1) {
            if (count > 1 && a->strides[i] != step * count) {
                PyErr_Format(PyExc_ValueError, "the strides of %s do not let its first %d axes be one: copy it", name,
                             last);
                return false;
            }
            if (count <= 1)
                step = a->strides[i];
        }
        count *= a->shape[i];
    }
    self->shape[0] = count;
    self->shape[1] = columns;
    self->strides[0] = step;
    self->strides[1] = stride;
    a->ndim = 2;
    a->shape = self->shape;
    a->strides = self->strides;
    return true;
}

/* Like x's but for the last axis; false with an exception. */
static bool expect_tokens(const operand *self, const char *name, const gmm_array_spec *x, const char *x_name)
{
    const gmm_array *a = &self->array;
    if (!self->owner)
        return true;
    if (a->ndim != x->ndim) {
        PyErr_Format(PyExc_ValueError, "%s has %d axes; %s has %d", name, (int)a->ndim, x_name, (int)x->ndim);
        return false;
    }
    for (int i = 0; i < a->ndim - 1; i++) {
        if (a->shape[i] != x->shape[i]) {
            PyErr_Format(PyExc_ValueError, "axis %d of %s is %lld; that of %s is %lld", i, name, (long long)a->shape[i],
                         x_name, (long long)x->shape[i]);
            return false;
        }
    }
    return true;
}

/* Shape and type of tokens; false with an exception. */
static bool tokens_spec(const operand *x, const char *name, gmm_array_spec *spec)
{
    if (!x->owner) {
        PyErr_Format(PyExc_TypeError, "%s is None", name);
        return false;
    }
    if (x->array.ndim > GMM_MAX_NDIM) {
        PyErr_Format(PyExc_ValueError, "%s has %d axes; %d is the largest number", name, (int)x->array.ndim,
                     GMM_MAX_NDIM);
        return false;
    }
    *spec = (gmm_array_spec){.dtype = x->array.dtype, .ndim = x->array.ndim};
    if (spec->ndim > 0)
        memcpy(spec->shape, x->array.shape, (size_t)spec->ndim * sizeof spec->shape[0]);
    return true;
}

/* ---- moe --------------------------------------------------------------------------------------------------------- */

/* Too large for the stack of a small thread. */
typedef struct layer_call {
    PyObject *x_object, *ids_object, *weights_object, *experts_object, *shared_object, *shared_gate_object;
    PyObject *routing_object, *context_object, *out_object;
    operand x, ids, weights, out;
    mlp experts, shared;
    projection shared_gate;
    router router;
    gmm_moe_layer layer;
    const gmm_context *context;
} layer_call;

static void layer_begin(layer_call *self)
{
    self->x.owner = self->ids.owner = self->weights.owner = self->out.owner = NULL;
    mlp_begin(&self->experts);
    mlp_begin(&self->shared);
    projection_begin(&self->shared_gate);
    router_begin(&self->router);
    self->layer = (gmm_moe_layer){.size = sizeof self->layer};
}

static void layer_release(layer_call *self)
{
    operand_release(&self->x);
    operand_release(&self->ids);
    operand_release(&self->weights);
    operand_release(&self->out);
    mlp_release(&self->experts);
    mlp_release(&self->shared);
    projection_release(&self->shared_gate);
    router_release(&self->router);
}

static bool layer_take(layer_call *self)
{
    static const char *const names[] = {"gate", "up", "gate_up", "down"};
    static const char *const shared_names[] = {"shared.gate", "shared.up", "shared.gate_up", "shared.down"};
    if (!context_of(self->context_object, &self->context) ||
        !operand_take(&self->x, self->x_object, "x", OPERAND_READ) ||
        !operand_take(&self->ids, self->ids_object, "ids", OPERAND_READ) ||
        !operand_take(&self->weights, self->weights_object, "weights", OPERAND_READ) ||
        !mlp_take(&self->experts, self->experts_object, names, &self->layer.experts) ||
        !mlp_take(&self->shared, self->shared_object, shared_names, &self->layer.shared) ||
        !projection_take(&self->shared_gate, self->shared_gate_object, "shared_gate"))
        return false;
    self->layer.shared_gate = self->shared_gate.weights;
    if (self->routing_object != Py_None) {
        if (!router_take(&self->router, self->routing_object))
            return false;
        self->layer.routing = &self->router.routing;
    }
    return true;
}

static PyObject *layer_run(layer_call *self)
{
    gmm_array_spec spec;
    if (!tokens_spec(&self->x, "x", &spec) || !expect_tokens(&self->ids, "ids", &spec, "x") ||
        !expect_tokens(&self->weights, "weights", &spec, "x") || !fold(&self->x, "x") || !fold(&self->ids, "ids") ||
        !fold(&self->weights, "weights"))
        return NULL;
    gmm_status status = gmm_moe_describe(&self->layer, &(gmm_moe_info){0});
    if (status != GMM_OK)
        return raise_status(status);
    PyObject *result = take_output(&self->out, self->out_object, &spec, OPERAND_WRITE);
    if (!result)
        return NULL;
    if (!expect_tokens(&self->out, "out", &spec, "x") || !fold(&self->out, "out")) {
        Py_DECREF(result);
        return NULL;
    }
    PyThreadState *thread = PyEval_SaveThread();
    status = gmm_moe_run(self->context, &self->layer, &self->x.array, operand_array(&self->ids),
                         operand_array(&self->weights), &self->out.array);
    PyEval_RestoreThread(thread);
    return answer(status, self->x_object, self->out_object, result, spec.dtype);
}

PyObject *core_moe(PyObject *module, PyObject *args)
{
    (void)module;
    int activation;
    float alpha, limit;
    layer_call *self = malloc(sizeof *self);
    if (!self)
        return PyErr_NoMemory();
    layer_begin(self);
    PyObject *result = NULL;
    if (PyArg_ParseTuple(args, "OOOOOOOiffOO:moe", &self->x_object, &self->ids_object, &self->weights_object,
                         &self->experts_object, &self->shared_object, &self->shared_gate_object, &self->routing_object,
                         &activation, &alpha, &limit, &self->context_object, &self->out_object)) {
        self->layer.activation = (gmm_activation)activation;
        self->layer.alpha = alpha;
        self->layer.limit = limit;
        if (layer_take(self))
            result = layer_run(self);
    }
    layer_release(self);
    free(self);
    return result;
}

/* ---- route ------------------------------------------------------------------------------------------------------- */

/* Two new arrays as a tuple. */
static PyObject *route_run(const gmm_context *context, const gmm_routing *routing, PyObject *like, operand *logits)
{
    enum {
        PARTS = 2
    };
    gmm_array_spec spec;
    if (!tokens_spec(logits, "logits", &spec) || !fold(logits, "logits"))
        return NULL;
    int64_t experts = logits->array.shape[1], slots = routing->top_k < experts ? routing->top_k : experts;
    spec.shape[spec.ndim - 1] = slots < 1 ? 1 : slots; /* a top_k that cannot be is the library's to refuse */
    operand views[PARTS] = {{.owner = NULL}, {.owner = NULL}};
    PyObject *arrays[PARTS] = {NULL};
    gmm_dtype dtypes[PARTS] = {GMM_I32, GMM_F32};
    bool good = true;
    for (int i = 0; good && i < PARTS; i++) {
        spec.dtype = dtypes[i];
        good = (arrays[i] = operand_new(&views[i], &spec)) != NULL && fold(&views[i], "result");
    }
    if (good) {
        PyThreadState *thread = PyEval_SaveThread();
        gmm_status status = gmm_route(context, routing, &logits->array, &views[0].array, &views[1].array);
        PyEval_RestoreThread(thread);
        if (status != GMM_OK)
            raise_status(status);
        good = status == GMM_OK;
    }
    PyObject *result = NULL;
    for (int i = 0; i < PARTS; i++) {
        operand_release(&views[i]);
        if (good)
            good = (arrays[i] = finished(like, arrays[i], dtypes[i])) != NULL;
    }
    if (good)
        result = PyTuple_Pack(PARTS, arrays[0], arrays[1]);
    for (int i = 0; i < PARTS; i++)
        Py_XDECREF(arrays[i]);
    return result;
}

PyObject *core_route(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *routing_object, *logits_object, *context_object, *result = NULL;
    const gmm_context *context;
    operand logits = {.owner = NULL};
    router choice;
    router_begin(&choice);
    if (PyArg_ParseTuple(args, "OOO:route", &routing_object, &logits_object, &context_object) &&
        context_of(context_object, &context) && router_take(&choice, routing_object) &&
        operand_take(&logits, logits_object, "logits", OPERAND_READ))
        result = route_run(context, &choice.routing, logits_object, &logits);
    operand_release(&logits);
    router_release(&choice);
    return result;
}
