/* moe_case.c - see moe_case.h. The reference shares no code with the library but the quantizer.
 * SPDX-License-Identifier: MIT
 *
 * The bound follows the layer from left to right: docs/numerics.md has it, a line for each number, under the names that
 * are used here. */
#include "moe_case.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "oracle.h"
#include "oracle_numbers.h"

static const double unit = 0x1p-24, tiny = 0x1p-123;

static double gamma_of(double n)
{
    return n * unit / (1 - n * unit);
}

static void *take(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count + 1, size);

    assert_non_null(memory);
    return memory;
}

static size_t bytes_of(gmm_dtype dtype)
{
    return (size_t)gmm_dtype_bits(dtype) / 8;
}

/* A row-major array of random numbers of about this size; `value`, if not NULL, gets them. */
static gmm_array numbers(gmm_random *random, gmm_dtype dtype, int32_t ndim, const int64_t *shape, double size,
                         double *value)
{
    gmm_array array = {.dtype = dtype, .ndim = ndim, .shape = shape};
    int64_t count = 1;

    for (int32_t d = 0; d < ndim; d++)
        count *= shape[d];
    array.data = take(count, bytes_of(dtype));
    for (int64_t i = 0; i < count; i++) {
        double x = gmm_oracle_round(dtype, size * gmm_random_unit(random));
        uint64_t bits = gmm_oracle_encode(dtype, x);
        memcpy((char *)array.data + (size_t)i * bytes_of(dtype), &bits, bytes_of(dtype)); /* little-endian */
        if (value)
            value[i] = x;
    }
    return array;
}

/* ---- a projection ---- */

static void quantize(gmm_moe_made *made, const char *mode)
{
    gmm_quantize_options options = {.size = sizeof options, .mode = mode};
    gmm_array_spec w, scales, biases;

    assert_int_equal(gmm_quantize_spec(&made->rhs, &options, &w, &scales, &biases), GMM_OK);
    memcpy(made->w_shape, w.shape, sizeof made->w_shape);
    memcpy(made->scales_shape, scales.shape, sizeof made->scales_shape);
    made->w = (gmm_array){.dtype = w.dtype, .ndim = 3, .shape = made->w_shape};
    made->w.data = take(w.shape[0] * w.shape[1] * w.shape[2], 4);
    made->scales = (gmm_array){.dtype = scales.dtype, .ndim = 3, .shape = made->scales_shape};
    made->scales.data = take(scales.shape[0] * scales.shape[1] * scales.shape[2], 4);
    made->quantized = (gmm_quantized){.w = &made->w, .scales = &made->scales, .mode = mode};
    if (biases.ndim >= 0) {
        made->biases = made->scales;
        made->biases.data = take(scales.shape[0] * scales.shape[1] * scales.shape[2], 4);
        made->quantized.biases = &made->biases;
    }
    assert_int_equal(
        gmm_quantize(NULL, &made->rhs, &options, &made->w, &made->scales, biases.ndim >= 0 ? &made->biases : NULL),
        GMM_OK);
    made->reach = take(made->matrices * made->n * made->k, sizeof(double));
    for (int64_t i = 0; i < made->matrices * made->n * made->k; i++)
        made->value[i] = gmm_oracle_weight(&made->quantized, i / made->k / made->n, i / made->k % made->n, i % made->k,
                                           &made->reach[i]);
    made->roundings = biases.ndim >= 0 ? 1 : 0;
}

static void prepare(gmm_moe_made *made)
{
    const int64_t shape[] = {made->matrices, made->k, made->n}, strides[] = {made->n * made->k, 1, made->k};
    gmm_array turned = made->rhs;
    bool dense = !made->weights.quantized;

    turned.shape = shape;
    turned.strides = strides;
    assert_int_equal(
        gmm_prepare(NULL, dense ? &turned : NULL, dense ? NULL : &made->quantized, !dense, &made->prepared), GMM_OK);
    made->weights.rhs = NULL;
    made->weights.quantized = NULL;
    made->weights.prepared = made->prepared;
}

void gmm_moe_made_make(gmm_moe_made *made, gmm_random *random, gmm_moe_format format, int64_t matrices, int64_t n,
                       int64_t k, bool bias)
{
    memset(made, 0, sizeof *made);
    made->matrices = made->shape[0] = made->bias_shape[0] = matrices;
    made->n = made->shape[1] = made->bias_shape[1] = n;
    made->k = made->shape[2] = k;
    made->value = take(matrices * n * k, sizeof(double));
    made->bias_value = take(matrices * n, sizeof(double));
    made->rhs = numbers(random, format.mode ? GMM_F32 : format.dtype, 3, made->shape, 2 / sqrt((double)k), made->value);
    if (format.mode)
        quantize(made, format.mode);
    made->weights.rhs = format.mode ? NULL : &made->rhs;
    made->weights.quantized = format.mode ? &made->quantized : NULL;
    if (bias) {
        made->bias = numbers(random, GMM_BF16, 2, made->bias_shape, 0.5, made->bias_value);
        made->weights.bias = &made->bias;
    }
    if (format.prepared)
        prepare(made);
}

/* The same with a description for each expert, every second one in bf16. */
static void make_each(gmm_moe_made *made, gmm_random *random, gmm_moe_format format, int64_t matrices, int64_t n,
                      int64_t k, bool bias)
{
    memset(made, 0, sizeof *made);
    made->matrices = matrices;
    made->n = n;
    made->k = k;
    made->value = take(matrices * n * k, sizeof(double));
    made->reach = take(matrices * n * k, sizeof(double));
    made->bias_value = take(matrices * n, sizeof(double));
    made->single = take(matrices, sizeof *made->single);
    made->list = take(matrices, sizeof *made->list);
    for (int64_t e = 0; e < matrices; e++) {
        gmm_moe_made *one = &made->single[e];
        gmm_moe_made_make(one, random, e % 2 ? (gmm_moe_format){.dtype = GMM_BF16} : format, 1, n, k, bias);
        memcpy(made->value + e * n * k, one->value, (size_t)(n * k) * sizeof(double));
        for (int64_t i = 0; i < n * k; i++)
            made->reach[e * n * k + i] = one->reach ? one->reach[i] : fabs(one->value[i]);
        memcpy(made->bias_value + e * n, one->bias_value, (size_t)n * sizeof(double));
        made->list[e] = one->weights;
        made->roundings = one->roundings > made->roundings ? one->roundings : made->roundings;
    }
    made->weights.each = made->list;
    made->weights.each_count = matrices;
}

static void drop_reach(gmm_moe_made *made)
{
    free(made->reach);
    made->reach = NULL;
}

void gmm_moe_made_free(gmm_moe_made *made)
{
    for (int64_t e = 0; made->single && e < made->matrices; e++)
        gmm_moe_made_free(&made->single[e]);
    gmm_prepared_free(made->prepared);
    free(made->rhs.data);
    free(made->w.data);
    free(made->scales.data);
    free(made->biases.data);
    free(made->bias.data);
    free(made->value);
    free(made->reach);
    free(made->bias_value);
    free(made->single);
    free(made->list);
    memset(made, 0, sizeof *made);
}

/* ---- a layer ---- */

static void make_slots(gmm_moe_case *made, gmm_random *random)
{
    const gmm_moe_spec *spec = &made->spec;

    made->ids = (gmm_array){.dtype = GMM_I32, .ndim = 2, .shape = made->ids_shape};
    made->ids.data = take(spec->tokens * spec->slots, 4);
    for (int64_t i = 0; i < spec->tokens * spec->slots; i++) {
        int32_t *id = (int32_t *)made->ids.data + i;
        *id = (int32_t)gmm_random_between(random, 0, spec->experts - 1);
        if (spec->skips && gmm_random_chance(random, 20))
            *id = i > 0 && gmm_random_chance(random, 50) ? id[-1] : -1;
    }
    made->weight_value = take(spec->tokens * spec->slots, sizeof(double));
    made->weights = numbers(random, GMM_F32, 2, made->ids_shape, 1, made->weight_value);
}

void gmm_moe_case_make(gmm_moe_case *made, gmm_random *random, const gmm_moe_spec *spec)
{
    void (*make)(gmm_moe_made *, gmm_random *, gmm_moe_format, int64_t, int64_t, int64_t, bool) =
        spec->each ? make_each : gmm_moe_made_make;

    memset(made, 0, sizeof *made);
    made->spec = *spec;
    made->x_shape[0] = made->ids_shape[0] = spec->tokens;
    made->x_shape[1] = spec->hidden;
    made->ids_shape[1] = spec->slots;
    made->x_value = take(spec->tokens * spec->hidden, sizeof(double));
    made->x = numbers(random, spec->x_dtype, 2, made->x_shape, 2, made->x_value);
    made->out = (gmm_array){.dtype = spec->out_dtype, .ndim = 2, .shape = made->x_shape};
    made->out.data = take(spec->tokens * spec->hidden, 4);
    make_slots(made, random);

    gmm_moe_projections *p = &made->layer.experts;
    if (spec->stacked)
        make(&made->gate_up, random, spec->gate, spec->experts, 2 * spec->inner, spec->hidden, spec->biases);
    else
        make(&made->up, random, spec->gate, spec->experts, spec->inner, spec->hidden, spec->biases);
    if (!spec->stacked && !spec->ungated)
        make(&made->gate, random, spec->gate, spec->experts, spec->inner, spec->hidden, spec->biases);
    make(&made->down, random, spec->down, spec->experts, spec->hidden, spec->inner, spec->biases);
    if (spec->x_dtype != GMM_BF16) {
        drop_reach(&made->gate);
        drop_reach(&made->up);
        drop_reach(&made->gate_up);
    }
    drop_reach(&made->down); /* what it multiplies is f32 */
    p->gate = made->gate.weights;
    p->up = made->up.weights;
    p->gate_up = made->gate_up.weights;
    p->down = made->down.weights;
    p->gate_up_layout = spec->layout;

    if (spec->shared_inner) {
        gmm_moe_format dense = {.dtype = GMM_BF16};
        p = &made->layer.shared;
        gmm_moe_made_make(&made->shared_up, random, dense, 1, spec->shared_inner, spec->hidden, false);
        if (!spec->ungated)
            gmm_moe_made_make(&made->shared_gate_proj, random, dense, 1, spec->shared_inner, spec->hidden, false);
        gmm_moe_made_make(&made->shared_down, random, dense, 1, spec->hidden, spec->shared_inner, false);
        p->gate = made->shared_gate_proj.weights;
        p->up = made->shared_up.weights;
        p->down = made->shared_down.weights;
        if (spec->shared_gate)
            gmm_moe_made_make(&made->of_shared, random, dense, 1, 1, spec->hidden, false);
        made->layer.shared_gate = made->of_shared.weights;
    }
    made->layer.size = sizeof made->layer;
    made->layer.activation = spec->activation;
}

void gmm_moe_case_free(gmm_moe_case *made)
{
    gmm_moe_made *all[] = {&made->gate,      &made->up,          &made->gate_up,  &made->down, &made->shared_gate_proj,
                           &made->shared_up, &made->shared_down, &made->of_shared};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        gmm_moe_made_free(all[i]);
    free(made->x.data);
    free(made->out.data);
    free(made->ids.data);
    free(made->weights.data);
    free(made->x_value);
    free(made->weight_value);
    free(made->weight_error);
}

size_t gmm_moe_case_row(const gmm_moe_case *made)
{
    return (size_t)made->spec.hidden * bytes_of(made->spec.out_dtype);
}

void gmm_moe_case_run(const gmm_context *context, gmm_moe_case *made)
{
    memset(made->out.data, 0xFF, (size_t)made->spec.tokens * gmm_moe_case_row(made));
    if (gmm_moe_run(context, &made->layer, &made->x, &made->ids, &made->weights, &made->out) != GMM_OK)
        fail_msg("%s", gmm_error_detail());
}

/* ---- the reference ---- */

typedef struct approximate {
    double value, error;
} approximate;

/* A row of a projection times x, whose elements carry errors. */
static approximate dot(const gmm_moe_made *made, int64_t matrix, int64_t row, const approximate *x)
{
    const double *w = made->value + (matrix * made->n + row) * made->k;
    const double *reach = made->reach ? made->reach + (matrix * made->n + row) * made->k : NULL;
    double bias = made->bias_value[matrix * made->n + row], sum = bias, magnitude = fabs(bias), carried = 0;
    double sizes = (double)made->k;

    for (int64_t k = 0; k < made->k; k++) {
        sum += w[k] * x[k].value;
        double size = reach ? reach[k] : fabs(w[k]);
        magnitude += size * (fabs(x[k].value) + x[k].error);
        carried += fabs(w[k]) * x[k].error;
        sizes += fabs(x[k].value) + x[k].error + size;
    }
    return (approximate){sum, carried + gamma_of((double)made->k + 6 + made->roundings) * magnitude + sizes * tiny};
}

static double logistic(double z)
{
    return 1 / (1 + exp(-z));
}

/* F, its slope's bound in [g - error, g + error], and c: docs/numerics.md. */
static double function(gmm_activation activation, double g, double error, double *slope, double *c)
{
    double inner = sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g), clamped = g > 7 ? 7 : g;

    *slope = 1.2;
    switch (activation) {
    case GMM_ACTIVATION_SILU:
        *c = 8;
        return g * logistic(g);
    case GMM_ACTIVATION_GELU:
        *c = 32 + 3 * g * g;
        return g * erfc(-g / sqrt(2)) / 2;
    case GMM_ACTIVATION_GELU_TANH:
        *c = 8 + 14 * fabs(inner);
        return g * logistic(2 * inner);
    case GMM_ACTIVATION_SWIGLU_CLAMPED:
        *c = 10 + 2 * fabs(1.702 * clamped);
        return clamped * logistic((double)1.702f * clamped);
    default:
        *slope = 2 * (fabs(g) + error);
        *c = 1;
        return g > 0 ? g * g : 0;
    }
}

/* a = f(g, u); u NULL: there is no gate. */
static approximate activate(gmm_activation activation, approximate g, const approximate *u)
{
    double slope, c, value = function(activation, g.value, g.error, &slope, &c);
    double error = slope * g.error + 1.01 * c * unit * (fabs(value) + slope * g.error) + tiny;
    approximate other = u ? *u : (approximate){1, 0};

    if (activation == GMM_ACTIVATION_SWIGLU_CLAMPED) {
        other.value = (other.value > 7 ? 7 : other.value < -7 ? -7 : other.value) + 1;
        other.error += unit * (fabs(other.value) + other.error);
    }
    double product = fabs(value) * other.error + error * (fabs(other.value) + other.error);
    return (approximate){value * other.value, product + unit * (fabs(value * other.value) + product) + tiny};
}

/* An expert's y for a token; `up` may hold both (gate_up), `gate` be empty. */
static void expert(const gmm_moe_case *made, const gmm_moe_made *gate, const gmm_moe_made *up,
                   const gmm_moe_made *gate_up, const gmm_moe_made *down, int64_t e, const approximate *x,
                   approximate *y)
{
    int64_t inner = down->k;
    approximate *a = take(inner, sizeof *a);

    for (int64_t i = 0; i < inner; i++) {
        bool interleaved = made->spec.layout == GMM_GATE_UP_INTERLEAVED;
        approximate g, u;
        if (gate_up->value) {
            g = dot(gate_up, e, interleaved ? 2 * i : i, x);
            u = dot(gate_up, e, interleaved ? 2 * i + 1 : inner + i, x);
        } else {
            u = dot(up, e, i, x);
            g = gate->value ? dot(gate, e, i, x) : u;
        }
        a[i] = activate(made->spec.activation, g, gate_up->value || gate->value ? &u : NULL);
    }
    for (int64_t i = 0; i < down->n; i++)
        y[i] = dot(down, e, i, a);
    free(a);
}

/* Add weight * y to sums and to their magnitudes. */
static void add(approximate weight, const approximate *y, int64_t count, approximate *sum, double *magnitude)
{
    for (int64_t i = 0; i < count; i++) {
        double error = fabs(weight.value) * y[i].error + weight.error * (fabs(y[i].value) + y[i].error);
        sum[i].value += weight.value * y[i].value;
        sum[i].error += error;
        magnitude[i] += fabs(weight.value * y[i].value) + error;
    }
}

static approximate weight_of_shared(const gmm_moe_case *made, const approximate *x)
{
    if (!made->of_shared.value)
        return (approximate){1, 0};
    approximate z = dot(&made->of_shared, 0, 0, x);
    return (approximate){logistic(z.value), 0.25 * z.error + 8 * unit};
}

static void check_token(const gmm_moe_case *made, int64_t t, const approximate *x)
{
    static const gmm_moe_made none;
    int64_t hidden = made->spec.hidden, slots = made->spec.slots;
    approximate *y = take(hidden, sizeof *y), *sum = take(hidden, sizeof *sum);
    double *magnitude = take(hidden, sizeof *magnitude), errors = 0, magnitudes = 0;

    for (int64_t j = 0; j < slots; j++) {
        int32_t id = ((const int32_t *)made->ids.data)[t * slots + j];
        if (id < 0)
            continue;
        expert(made, &made->gate, &made->up, &made->gate_up, &made->down, id, x, y);
        double error = made->weight_error ? made->weight_error[t * slots + j] : 0;
        add((approximate){made->weight_value[t * slots + j], error}, y, hidden, sum, magnitude);
    }
    if (made->spec.shared_inner) {
        expert(made, &made->shared_gate_proj, &made->shared_up, &none, &made->shared_down, 0, x, y);
        add(weight_of_shared(made, x), y, hidden, sum, magnitude);
    }
    for (int64_t i = 0; i < hidden; i++) {
        double error = sum[i].error + gamma_of((double)slots + 4) * magnitude[i] + tiny;
        if (made->expected && !(fabs(sum[i].value - made->expected[t * hidden + i]) <= 0x1p-40 * magnitude[i]))
            fail_msg("y[%" PRId64 ", %" PRId64 "] is %.17g here, and %.17g elsewhere", t, i, sum[i].value,
                     made->expected[t * hidden + i]);
        double got = gmm_oracle_decode(made->spec.out_dtype, gmm_oracle_bits(&made->out, t * hidden + i));
        double low = gmm_oracle_round(made->spec.out_dtype, sum[i].value - error);
        double high = gmm_oracle_round(made->spec.out_dtype, sum[i].value + error);
        if (!(got >= low && got <= high))
            fail_msg("out[%" PRId64 ", %" PRId64 "] is %.9g; it must be in [%.9g, %.9g]", t, i, got, low, high);
        errors += error;
        magnitudes += magnitude[i];
    }
    /* A bound that lets anything pass is none. That of a sum of k products grows as k^2, the sum itself, its terms
       being random, as sqrt(k). */
    double k = (double)(made->spec.inner > hidden ? made->spec.inner : hidden);
    if (errors > (0.05 + 4 * unit * k * sqrt(k)) * magnitudes + 1e-30)
        fail_msg("the bounds of token %" PRId64 ", %g, are too wide for %g", t, errors, magnitudes);
    free(y);
    free(sum);
    free(magnitude);
}

void gmm_moe_case_check(const gmm_moe_case *made)
{
    approximate *x = take(made->spec.hidden, sizeof *x);

    for (int64_t t = 0; t < made->spec.tokens; t++) {
        for (int64_t i = 0; i < made->spec.hidden; i++)
            x[i] = (approximate){made->x_value[t * made->spec.hidden + i], 0};
        check_token(made, t, x);
    }
    free(x);
}
