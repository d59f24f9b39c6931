/* audit_repro.c - write a finding as a C program that needs nothing but the BLAS. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "blas/audit_memory.h"
#include "blas/audit_reference.h"
#include "blas/audit_state.h"
#include "blas/call_types.h"
#include "blas/repro_text.h"

typedef struct writer {
    const gmm_audit *audit;
    const gmm_audit_record *record;
    const gmm_audit_case *c;
    gmm_audit_memory memory;
    FILE *to;
    bool failed;
    int situation; /* whose expected values are written */
} writer;

__attribute__((format(printf, 2, 3))) static void put(writer *w, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(w->to, format, arguments);
    va_end(arguments);
}

static void put_block(writer *w, const char *const *lines)
{
    for (; *lines; lines++)
        put(w, "%s\n", *lines);
}

/* Paths and versions are strangers' text: nothing in them may end a comment. */
static void put_comment(writer *w, const char *text)
{
    for (; *text; text++)
        put(w, "%c", (text[0] == '*' && text[1] == '/') || (unsigned char)*text < 0x20 ? '?' : *text);
}

/* ---- symbols ----------------------------------------------------------------------------------------------------- */

enum {
    SYMBOL_BYTES = 2 * GMM_BLAS_NAME_BYTES
};

static void symbol_text(const writer *w, const gmm_blas_routine *routine, char type, bool fortran,
                        char text[SYMBOL_BYTES])
{
    const gmm_blas_symbol_form *form = gmm_blas_symbol_form_at(fortran ? w->audit->crew.fortran : w->audit->crew.cblas);
    char base[GMM_BLAS_NAME_BYTES];

    gmm_blas_routine_name(routine, type, base);
    snprintf(text, SYMBOL_BYTES, "%s%s%s%s", form ? form->prefix : "", fortran ? "" : "cblas_", base,
             form ? form->suffix : "");
}

static void put_symbol(writer *w, const gmm_blas_routine *routine, char type, bool fortran)
{
    char symbol[SYMBOL_BYTES];

    symbol_text(w, routine, type, fortran, symbol);
    put(w, "%s", symbol);
}

/* A complex number, by the way of some Fortran compilers. */
static bool returns_through_address(const writer *w)
{
    return w->c->call.routine->complex_value && w->c->call.fortran && w->audit->crew.hidden_result;
}

static void put_prototype(writer *w)
{
    char symbol[SYMBOL_BYTES];

    symbol_text(w, w->c->call.routine, w->c->call.type, w->c->call.fortran, symbol);
    gmm_blas_write_prototype(w->to, &w->c->call, symbol, returns_through_address(w));
}

static void write_argument(FILE *to, const void *context, char argument, int *operand)
{
    const gmm_blas_call *call = context;
    bool fortran = call->fortran;

    if (argument == 'o') {
        fprintf(to, "s->order");
    } else if (gmm_blas_is_flag(argument)) {
        if (fortran)
            fprintf(to, "\"%c\"", gmm_blas_flag(call, argument));
        else
            fprintf(to, "%d", gmm_blas_flag_number(argument, gmm_blas_flag(call, argument)));
    } else if (strchr("MNKLU", argument)) {
        const char *name = argument == 'M'   ? "m"
                           : argument == 'N' ? "n"
                           : argument == 'K' ? "k"
                           : argument == 'L' ? "kl"
                                             : "ku";
        fprintf(to, "%s%s", fortran ? "&" : "(integer)s->", name);
    } else if (strchr("*+", argument)) {
        const char *name = argument == '*' ? "alpha" : "beta";
        fprintf(to, gmm_blas_by_value(call, argument) ? "%s[0]" : "%s", name);
    } else if (argument == 'R') {
        fprintf(to, "complex_result");
    } else {
        fprintf(to, "data[%d]", *operand);
        if (argument != 'P')
            fprintf(to, fortran ? ", &step[%d]" : ", (integer)s->step[%d]", *operand);
        (*operand)++;
    }
}

/* A function that makes the call of a situation, on operands at data[]. */
static void put_call(writer *w)
{
    const gmm_blas_call *call = &w->c->call;
    const gmm_blas_routine *r = call->routine;
    char symbol[SYMBOL_BYTES];

    put(w, "static void make_call(const struct situation *s, char *const *data, double *result)\n{\n");
    if (gmm_blas_has_argument(r, '*'))
        put(w, "    static const real alpha[2] = {%.17g, %.17g};\n", call->alpha[0], call->alpha[1]);
    if (gmm_blas_has_argument(r, '+'))
        put(w, "    static const real beta[2] = {%.17g, %.17g};\n", call->beta[0], call->beta[1]);
    if (call->fortran) {
        put(w, "    const integer m = (integer)s->m, n = (integer)s->n, k = (integer)s->k, kl = (integer)s->kl, ku = "
               "(integer)s->ku;\n");
        put(w, "    const integer step[4] = {(integer)s->step[0], (integer)s->step[1], (integer)s->step[2], "
               "(integer)s->step[3]};\n");
        put(w, "    (void)m, (void)n, (void)k, (void)kl, (void)ku, (void)step;\n");
    }
    symbol_text(w, r, call->type, call->fortran, symbol);
    gmm_blas_write_call(w->to, call, symbol, returns_through_address(w), write_argument, call);
    put(w, "    (void)s, (void)data, (void)result;\n}\n\n");
}

/* ---- which elements are looked at -------------------------------------------------------------------------------- */

static const char *size_text(char letter, const gmm_blas_call *call)
{
    bool turned = call->transpose_a != 'N';

    switch (letter) {
    case 'M':
        return "s->m";
    case 'N':
        return "s->n";
    case 'K':
        return "s->k";
    case 'S':
        return call->side == 'R' ? "s->n" : "s->m";
    case 'X':
        return turned ? "s->m" : "s->n";
    case 'Y':
        return turned ? "s->n" : "s->m";
    case '5':
        return "5L";
    default:
        return "1L";
    }
}

static void put_parts(writer *w)
{
    const gmm_blas_call *call = &w->c->call;

    put(w, "static int part(const struct situation *s, int operand, long i)\n{\n");
    for (int o = 0; o < gmm_blas_operand_count(call); o++) {
        const gmm_blas_operand_spec *spec = &call->routine->operands[o];
        char transpose = spec->swap == 't' ? call->transpose_a : spec->swap == 'r' ? call->transpose_b : 'N';
        char rows = transpose == 'N' ? spec->rows : spec->columns,
             columns = transpose == 'N' ? spec->columns : spec->rows;
        bool general = spec->form == GMM_FORM_GENERAL, lower = call->uplo == 'L';
        put(w, "    if (operand == %d) /* %c */\n", o, spec->name);
        put(w, "        return part_of('%c', '%c', %s, %s, %s, %s, s->step[%d], s->order, i);\n", " vgsht"[spec->form],
            "fbp"[spec->storage], size_text(rows, call), size_text(columns, call),
            general ? "s->kl"
            : lower ? "s->k"
                    : "0",
            general ? "s->ku"
            : lower ? "0"
                    : "s->k",
            o);
    }
    put(w, "    return 0;\n}\n\n");
    const gmm_blas_operand_spec *first = &call->routine->operands[0];
    put(w, "#define TRIANGLE(s) ((double)%s)\n\n", size_text(first->rows, call));
}

/* ---- constants --------------------------------------------------------------------------------------------------- */

static void put_flags(writer *w, const char *name, bool (*is)(const gmm_blas_call *, int))
{
    const gmm_blas_call *call = &w->c->call;
    int count = gmm_blas_operand_count(call);

    put(w, "static const int %s[4] = {%d, %d, %d, %d};\n", name, count > 0 && is(call, 0), count > 1 && is(call, 1),
        count > 2 && is(call, 2), count > 3 && is(call, 3));
}

static void put_constants(writer *w)
{
    const gmm_audit_case *c = w->c;
    static const char judges[] = "pvrufl", values[] = "ri1";

    put(w, "typedef %s integer;\ntypedef %s real;\n\n", w->audit->crew.info.integer_bits == 64 ? "int64_t" : "int",
        gmm_blas_real_bytes(c->call.type) == sizeof(float) ? "float" : "double");
    if (c->call.routine->complex_value)
        put(w, "typedef %s _Complex complex_real;\n\n",
            gmm_blas_real_bytes(c->call.type) == sizeof(float) ? "float" : "double");
    put(w, "#define SEED UINT64_C(0x%016" PRIx64 ")\n\n", c->seed);
    put(w, "enum {\n    PARTS = %d, /* of a number: real, imaginary */\n", gmm_blas_is_complex(c->call.type) ? 2 : 1);
    put(w, "    OPERANDS = %d,\n", gmm_blas_operand_count(&c->call));
    put(w, "    VALUES = '%c', /* r: reals in [-1, 1); i: small integers; 1: ones */\n", values[c->values]);
    put(w,
        "    JUDGE = '%c', /* p: two settings give the same bits; v: values as expected; f: finite ones where "
        "expected;\n"
        "                   r: it returns; u: wrong arguments, outputs untouched; l: stretched operands, same numbers "
        "*/\n",
        judges[c->judge]);
    put(w, "    SOLVES = %d,\n    UPLO = '%c',\n    DIAG = '%c',\n", c->call.routine->sum == GMM_SUM_SOLVE,
        c->call.uplo, c->call.diag);
    put(w, "    FLAG = %d,\n    SQUARES = %d,\n", c->call.routine->sum == GMM_SUM_ROTM ? 2 : -1,
        c->call.routine->sum == GMM_SUM_ROTMG);
    put(w, "    SPECIAL_OPERAND = %d,\n    SPECIAL = %d\n};\n\n", (int)c->special_operand, (int)c->special);
    put_flags(w, "OUTPUT", gmm_blas_is_output);
    put_flags(w, "UNREAD", gmm_audit_is_unread);
    put_flags(w, "DEAD", gmm_audit_is_dead);
    put(w, "\n");
}

/* ---- situations -------------------------------------------------------------------------------------------------- */

static void put_setting(writer *w, const gmm_audit_setting *t)
{
    static const char *const fills[] = {"USUAL", "ZEROS", "QUIET_NAN", "SIGNALING_NAN", "INFINITE", "LARGE"};
    static const char *const places[] = {"MIDDLE", "END", "START"};
    const struct {
        const char *name;
        int value;
        bool is_fill;
    } members[] = {{"output", t->output, true},
                   {"inputs", t->inputs, true},
                   {"gaps", t->gaps, true},
                   {"stack", t->stack, true},
                   {"registers", t->registers, true},
                   {"earlier", t->earlier, true},
                   {"aligned", t->aligned, false},
                   {"threads", t->threads, false},
                   {"child", t->process, false},
                   {"callers", t->callers, false},
                   {"far", t->far, false},
                   {"float_mode", t->float_mode, false}};

    put(w, "{.placement = %s", places[t->placement]);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (members[i].value && members[i].is_fill)
            put(w, ", .%s = %s", members[i].name, fills[members[i].value]);
        else if (members[i].value)
            put(w, ", .%s = %d", members[i].name, members[i].value);
    put(w, "}");
}

/* Where the special element lies in this situation. */
static long long special_place(writer *w, const gmm_audit_case *c)
{
    gmm_blas_call call;
    long long referenced = 0;

    if (c->special_operand < 0 || !gmm_audit_place(&w->memory, c, &c->settings[0], &call))
        return -1;
    const gmm_audit_operand *o = &w->memory.operands[c->special_operand];
    for (int64_t i = 0; i < o->extent; i++)
        referenced += o->parts[i] == GMM_PART_ALL;
    long long left = referenced ? c->special_element % referenced : 0;
    for (int64_t i = 0; i < o->extent; i++)
        if (o->parts[i] == GMM_PART_ALL && left-- == 0)
            return i;
    return -1;
}

static void put_four(writer *w, const int64_t *numbers)
{
    put(w, "     {%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "},", numbers[0], numbers[1], numbers[2],
        numbers[3]);
}

static void put_situation(writer *w, const char *name, const gmm_audit_case *c)
{
    const gmm_blas_call *call = &c->call;
    int count = gmm_blas_operand_count(call);
    int64_t step[4] = {1, 1, 1, 1}, offset[4] = {0}, extent[4] = {0};

    for (int o = 0; o < count; o++) {
        step[o] = call->operands[o].step;
        offset[o] = call->operands[o].offset;
        extent[o] = gmm_blas_extent(call, o);
    }
    put(w, "    {\"%s\", %d, %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ",\n", name,
        call->row_major && !call->fortran ? 101 : 102, call->m, call->n, call->k, call->kl, call->ku);
    put_four(w, step);
    put_four(w, offset);
    put_four(w, extent);
    put(w, " %lld,\n     ", special_place(w, c));
    put_setting(w, &c->settings[0]);
    put(w, ", ");
    put_setting(w, &c->settings[1]);
    put(w, "},\n");
}

static void put_number(writer *w, double x)
{
    if (isnan(x))
        put(w, "NAN");
    else if (isinf(x))
        put(w, "%sINFINITY", x < 0 ? "-" : "");
    else
        put(w, "%.17g", x);
}

static void put_expected(void *context, int operand, int64_t element, const double want[2], double bound, bool finite)
{
    writer *w = context;

    put(w, "    {%d, %d, %" PRId64 ", {", w->situation, operand, element);
    if (w->c->judge == GMM_JUDGE_SPECIAL) {
        put(w, "%s, 0}, 0},\n", finite ? "0" : "NAN");
        return;
    }
    put_number(w, want[0]);
    put(w, ", ");
    put_number(w, want[1]);
    put(w, "}, ");
    put_number(w, bound);
    put(w, "},\n");
}

static void expect(writer *w, int situation, const gmm_audit_case *c)
{
    gmm_blas_call call;

    w->situation = situation;
    if (c->judge != GMM_JUDGE_REFERENCE && c->judge != GMM_JUDGE_SPECIAL)
        return;
    w->failed |=
        !gmm_audit_place(&w->memory, c, &c->settings[0], &call) || !gmm_audit_expect(c, &w->memory, put_expected, w);
}

static void put_situations(writer *w)
{
    const gmm_audit_record *r = w->record;

    put(w,
        "/* The failing call first, then controls: name, order, m, n, k, kl, ku, steps (leading dimensions, "
        "increments),\n"
        " * offsets from a 64-byte boundary, elements of each operand, the special element, and the two settings. */\n"
        "static const struct situation situations[] = {\n");
    put_situation(w, "the call", w->c);
    for (size_t i = 0; i < r->control_count; i++)
        put_situation(w, r->controls[i].name, &r->controls[i].c);
    put(w,
        "};\n\n/* What should come out: situation, operand (-1: the returned value), element, and how far it may be "
        "off.\n"
        " * The first line is a placeholder. */\n"
        "static const struct expected {\n    int situation, operand;\n    long element;\n    double want[2], bound;\n"
        "} expected[] = {\n    {-1, 0, 0, {0, 0}, 0},\n");
    expect(w, 0, w->c);
    for (size_t i = 0; i < r->control_count; i++)
        expect(w, (int)i + 1, &r->controls[i].c);
    put(w, "};\n\n");
}

/* ---- what is needed only by some --------------------------------------------------------------------------------- */

typedef struct needs {
    bool stack, registers, earlier, threads, callers, far;
} needs;

static void need(needs *n, const gmm_audit_case *c)
{
    for (int i = 0; i < 2; i++) {
        n->stack |= c->settings[i].stack != 0;
        n->registers |= c->settings[i].registers != 0;
        n->earlier |= c->settings[i].earlier != 0;
        n->threads |= c->settings[i].threads != 0;
        n->callers |= c->settings[i].callers > 1;
        n->far |= c->settings[i].far != 0;
    }
}

static bool has_routine(const writer *w, const gmm_blas_routine *routine, int type, bool fortran)
{
    size_t i = 0;

    while (gmm_blas_routine_at(i) != routine)
        i++;
    return (w->audit->crew.interfaces[i][type] & (fortran ? 2 : 1)) != 0;
}

/* gemm and gemv of all types, in the interface that the library has. */
static void put_earlier_calls(writer *w)
{
    static const char *const gemm = "gemm", *const gemv = "gemv";
    char type;
    bool fortran = !gmm_blas_symbol_form_at(w->audit->crew.cblas);

    put(w,
        "static void earlier_call(int type, integer n, void *a, void *b, void *c, const void *one, const void *zero)\n"
        "{\n    static const integer step = 1;\n\n    (void)type, (void)n, (void)a, (void)b, (void)c, (void)one, "
        "(void)zero, (void)step;\n");
    for (int t = 0; t < 4; t++)
        for (int v = 0; v < 2; v++) {
            char name[8] = {"sdcz"[t], 0}, scalars[2][64];
            memcpy(name + 1, v ? gemv : gemm, 5);
            const gmm_blas_routine *r = gmm_blas_routine_find(name, &type);
            const char *real = t == 0 ? "float" : "double";
            if (!has_routine(w, r, t, fortran))
                continue;
            for (int i = 0; i < 2; i++)
                if (t < 2 && !fortran)
                    snprintf(scalars[i], sizeof scalars[i], "*(const %s *)%s", real, i ? "zero" : "one");
                else
                    snprintf(scalars[i], sizeof scalars[i], "%s", i ? "zero" : "one");
            put(w, "    if (type == %d) {\n        extern void ", t);
            put_symbol(w, r, type, fortran);
            if (fortran)
                put(w,
                    v ? "(const char *, const integer *, const integer *, const void *, void *, const integer *, void "
                        "*, const integer *, const void *, void *, const integer *, size_t);\n"
                      : "(const char *, const char *, const integer *, const integer *, const integer *, const void *, "
                        "void *, const integer *, void *, const integer *, const void *, void *, const integer *, "
                        "size_t, size_t);\n");
            else {
                const char *s = t < 2 ? real : "const void *";
                put(w,
                    v ? "(int, int, integer, integer, %s, void *, integer, void *, integer, %s, void *, integer);\n"
                      : "(int, int, int, integer, integer, integer, %s, void *, integer, void *, integer, %s, void *, "
                        "integer);\n",
                    s, s);
            }
            put(w, "        ");
            put_symbol(w, r, type, fortran);
            if (fortran)
                put(w,
                    v ? "(\"T\", &n, &n, %s, a, &n, b, &step, %s, c, &step, 1);\n    }\n"
                      : "(\"N\", \"N\", &n, &n, &n, %s, a, &n, b, &n, %s, c, &n, 1, 1);\n    }\n",
                    scalars[0], scalars[1]);
            else
                put(w,
                    v ? "(102, 112, n, n, %s, a, n, b, step, %s, c, step);\n    }\n"
                      : "(102, 111, 111, n, n, n, %s, a, n, b, n, %s, c, n);\n    }\n",
                    scalars[0], scalars[1]);
        }
    put(w, "}\n\n");
}

static bool is_vector(const gmm_blas_call *call, int operand)
{
    return call->routine->operands[operand].form == GMM_FORM_VECTOR;
}

static bool is_packed(const gmm_blas_call *call, int operand)
{
    return call->routine->operands[operand].storage == GMM_STORED_PACKED;
}

static void put_helpers(writer *w)
{
    needs n = {0};

    need(&n, w->c);
    for (size_t i = 0; i < w->record->control_count; i++)
        need(&n, &w->record->controls[i].c);
    if (n.stack || n.registers)
        put_block(w, gmm_repro_pattern);
    if (n.stack)
        put_block(w, gmm_repro_stack);
    if (n.registers)
        put_block(w, gmm_repro_registers);
    if (n.earlier) {
        put_earlier_calls(w);
        put_block(w, gmm_repro_earlier);
    }
    if (n.threads)
        put_block(w, gmm_repro_threads);
    if (n.callers)
        put_block(w, gmm_repro_callers);
    if (n.far) {
        put_flags(w, "VECTOR", is_vector);
        put_flags(w, "PACKED", is_packed);
        put(w, "\n");
        put_block(w, gmm_repro_far);
    }
    put(w, "#define STACK(fill) %s\n", n.stack ? "stack_filler(pattern_of(fill))" : "(void)(fill)");
    put(w, "#define REGISTERS(fill) %s\n", n.registers ? "dirty_registers(pattern_of(fill))" : "(void)(fill)");
    put(w, "#define EARLIER(fill) %s\n", n.earlier ? "call_earlier(fill)" : "(void)(fill)");
    put(w, "#define SET_THREADS(count) %s\n", n.threads ? "set_threads(count)" : "(void)(count)");
    put(w, "#define TOGETHER(s, count, result) %s\n", n.callers ? "call_together(s, count, result)" : "1");
    put(w, "#define FAR_DIFFERS(s, first) %s\n\n", n.far ? "far_differs(s, first)" : "0");
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void put_title(writer *w)
{
    const gmm_audit_record *r = w->record;
    const gmm_blas_info *info = &w->audit->crew.info;
    const char *slash = strrchr(info->path, '/'), *environment = w->audit->environment;
    int folder = slash ? (int)(slash - info->path) : 0;

    put(w, "/* repro-%s-%s.c - %s.\n *\n * %s: ", r->check->name, r->symbol, r->check->summary,
        gmm_audit_verdict_text(r->verdict));
    put_comment(w, r->outcome.detail);
    put(w, "\n *     ");
    put_comment(w, r->call);
    put(w, "\n * Seen with ");
    put_comment(w, *info->version ? info->version : info->name);
    put(w, " (");
    put_comment(w, info->path);
    put(w, ").\n *\n * Compile: cc -O1 repro-%s-%s.c -o repro '", r->check->name, r->symbol);
    put_comment(w, info->path);
    put(w, "' '-Wl,-rpath,");
    if (slash)
        put(w, "%.*s", folder, info->path);
    put(w, "' -lm -lpthread -ldl\n * Run:     %s%s./repro\n *\n", environment ? environment : "",
        environment ? " " : "");
    put(w, " * It prints OK or BAD for the call and for each control, and exits 1 if the call is BAD. Each runs in a "
           "process\n"
           " * of its own. Written by gathermm audit.\n */\n");
}

static void write_all(writer *w)
{
    put_title(w);
    put_block(w, gmm_repro_head);
    put_constants(w);
    put_prototype(w);
    put(w, "\n");
    put_situations(w);
    put_call(w);
    put_block(w, gmm_repro_mix);
    put_block(w, gmm_repro_memory);
    put_parts(w);
    put_block(w, gmm_repro_place);
    put_helpers(w);
    put_block(w, gmm_repro_control);
    put_block(w, gmm_repro_main);
}

gmm_status gmm_audit_reproduction(gmm_audit *audit, size_t i, const char **text)
{
    if (!audit || !text)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", audit ? "text" : "audit");
    *text = NULL;
    if (i >= audit->record_count)
        return gmm_fail(GMM_ERR_ARGUMENT, "finding %zu; there are %zu", i, audit->record_count);
    gmm_audit_record *r = &audit->records[i];
    if (!r->alone)
        return gmm_fail(GMM_ERR_ARGUMENT, "finding %zu shows only after other calls: no program reproduces it", i);
    if (!r->reproduction) {
        writer w = {.audit = audit, .record = r, .c = &r->c};
        size_t size;
        w.to = open_memstream(&r->reproduction, &size);
        if (!w.to)
            return gmm_fail(GMM_ERR_MEMORY, "no memory for a program");
        w.failed = !gmm_audit_memory_open(&w.memory);
        write_all(&w);
        gmm_audit_memory_close(&w.memory);
        w.failed |= ferror(w.to) != 0;
        w.failed |= fclose(w.to) != 0;
        if (w.failed) {
            free(r->reproduction);
            r->reproduction = NULL;
            return gmm_fail(GMM_ERR_MEMORY, "no memory for a program");
        }
    }
    *text = r->reproduction;
    return GMM_OK;
}
