/* call_program.c - a call from a file as a C program that needs nothing but a BLAS. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "blas/audit.h"
#include "blas/audit_memory.h"
#include "blas/call_lines.h"
#include "blas/call_replay.h"
#include "blas/call_types.h"
#include "blas/givens.h"
#include "blas/repro_text.h"

enum {
    LITERAL_BYTES = 4 << 20, /* larger operands are read from the .gmmcall file */
    MOST_EXPECTED = 2000
};
#define OPERATIONS 5e6 /* multiplications that are spent on expected values */

/* clang-format off */
static const char *const head[] = {
    "#define _GNU_SOURCE",
    "#include <dlfcn.h>",
    "#include <math.h>",
    "#include <signal.h>",
    "#include <stdint.h>",
    "#include <stdio.h>",
    "#include <stdlib.h>",
    "#include <string.h>",
    "#include <sys/wait.h>",
    "#include <unistd.h>",
    "",
    NULL,
};

static const char *const pattern[] = {
    "static void fill_pattern(char *at, size_t count)",
    "{",
    "    static const unsigned char pattern[8] = {0x5A, 0x5A, 0xFA, 0x7F, 0x5A, 0x5A, 0xFA, 0x7F}; /* NaN */",
    "    size_t i;",
    "",
    "    for (i = 0; i < count; i++)",
    "        at[i] = (char)pattern[i % 8];",
    "}",
    "",
    NULL,
};

static const char *const numbers[] = {
    "/* An operand of numbers in [-1, 1): which ones does not matter. */",
    "static const void *make_numbers(int o)",
    "{",
    "    char *data = malloc(BYTES[o] + 1);",
    "    long i, j;",
    "    int p;",
    "",
    "    fill_pattern(data, BYTES[o]);",
    "    for (i = 0; i < LINES[o]; i++)",
    "        for (j = line_start(o, i); j < line_start(o, i) + line_length(o, i); j++)",
    "            for (p = 0; p < PARTS; p++) {",
    "                uint64_t h = mix(mix((uint64_t)j * 8 + (uint64_t)o * 2 + (uint64_t)p));",
    "                real value = (real)((double)(int64_t)(h >> 40) * 0x1p-23 - 1);",
    "                memcpy(data + (size_t)(j * PARTS + p) * sizeof value, &value, sizeof value);",
    "            }",
    "    return data;",
    "}",
    "",
    NULL,
};

static const char *const body[] = {
    "enum { AS_IT_WAS, ZEROS, ONES, NANS, ALIGNED, ONE_THREAD, TRIALS };",
    "enum { MARGIN = 256, BOUNDARY = 64 };",
    "static char *block[4], *before[4];",
    "",
    "/* Operands between margins, each at its offset from a 64-byte boundary. Only elements that must not be read vary. */",
    "static void place(int trial)",
    "{",
    "    int o, p;",
    "    long i, j;",
    "",
    "    for (o = 0; o < OPERANDS; o++) {",
    "        size_t all = 2 * MARGIN + BOUNDARY + (BYTES[o] + BOUNDARY - 1) / BOUNDARY * BOUNDARY;",
    "        block[o] = aligned_alloc(BOUNDARY, all);",
    "        before[o] = malloc(all);",
    "        fill_pattern(block[o], all);",
    "        base[o] = block[o] + MARGIN + (trial == ALIGNED ? 0 : OFFSET[o]);",
    "        memcpy(base[o], content(o), BYTES[o]);",
    "        for (i = 0; UNREAD[o] && trial >= ZEROS && trial <= NANS && i < LINES[o]; i++)",
    "            for (j = 0; j < line_length(o, i) * PARTS; j += PARTS)",
    "                for (p = 0; p < PARTS; p++) {",
    "                    real value = trial == ONES && p == 0 ? 1 : 0;",
    "                    char *at = base[o] + (size_t)(line_start(o, i) * PARTS + j + p) * sizeof value;",
    "                    if (trial == NANS)",
    "                        fill_pattern(at, sizeof value);",
    "                    else",
    "                        memcpy(at, &value, sizeof value);",
    "                }",
    "        memcpy(before[o], block[o], all);",
    "    }",
    "}",
    "",
    "/* Whether nothing but elements of outputs has changed. */",
    "static int intact(void)",
    "{",
    "    int o, same = 1;",
    "    long i;",
    "",
    "    for (o = 0; o < OPERANDS; o++) {",
    "        size_t all = 2 * MARGIN + BOUNDARY + (BYTES[o] + BOUNDARY - 1) / BOUNDARY * BOUNDARY;",
    "        char *copy = before[o] + (base[o] - block[o]);",
    "        for (i = 0; OUTPUT[o] && i < LINES[o]; i++)",
    "            memcpy(copy + (size_t)line_start(o, i) * PARTS * sizeof(real),",
    "                   base[o] + (size_t)line_start(o, i) * PARTS * sizeof(real),",
    "                   (size_t)line_length(o, i) * PARTS * sizeof(real));",
    "        same &= !memcmp(before[o], block[o], all);",
    "    }",
    "    return same;",
    "}",
    "",
    "/* 1 if something is wrong. */",
    "static int run(int trial)",
    "{",
    "    double result[2] = {0, 0};",
    "    size_t e;",
    "    int p;",
    "",
    "    place(trial);",
    "    if (trial == ONE_THREAD)",
    "        set_threads(1);",
    "    make_call(result);",
    "    for (e = 1; e < sizeof expected / sizeof expected[0]; e++)",
    "        for (p = 0; p < PARTS; p++) {",
    "            double got = result[p];",
    "            if (expected[e].operand >= 0) {",
    "                real value;",
    "                memcpy(&value, base[expected[e].operand] + (size_t)(expected[e].element * PARTS + p) * sizeof value,",
    "                       sizeof value);",
    "                got = value;",
    "            }",
    "            if (!(fabs(got - expected[e].want[p]) <= expected[e].bound)) {",
    "                printf(\"    element %ld is %.9g; it should be %.9g\\n\", expected[e].element, got, expected[e].want[p]);",
    "                return 1;",
    "            }",
    "        }",
    "    if (intact())",
    "        return 0;",
    "    printf(\"    memory that is not the output was changed\\n\");",
    "    return 1;",
    "}",
    "",
    "int main(int argc, char **argv)",
    "{",
    "    int trial, unread = UNREAD[0] || UNREAD[1] || UNREAD[2] || UNREAD[3], bad = 0;",
    "",
    "    prepare(argc > 1 ? argv[1] : NULL);",
    "    for (trial = AS_IT_WAS; trial < TRIALS; trial++) {",
    "        int status = 0;",
    "        if (trial >= ZEROS && trial <= NANS && !unread)",
    "            continue;",
    "        fflush(stdout);",
    "        pid_t child = fork();",
    "        if (child == 0) {",
    "            alarm(20);",
    "            status = run(trial);",
    "            fflush(stdout);",
    "            _exit(status);",
    "        }",
    "        waitpid(child, &status, 0);",
    "        printf(\"%-4s%s\", status ? \"BAD\" : \"OK\", NAMES[trial]);",
    "        if (WIFSIGNALED(status))",
    "            printf(\" (%s)\", WTERMSIG(status) == SIGALRM ? \"does not return\" : strsignal(WTERMSIG(status)));",
    "        printf(\"\\n\");",
    "        bad |= (trial == AS_IT_WAS || trial == SHOWN_BY) && status;",
    "    }",
    "    return bad;",
    "}",
    NULL,
};
/* clang-format on */

static void print_block(FILE *to, const char *const *lines)
{
    for (; *lines; lines++)
        fprintf(to, "%s\n", *lines);
}

/* Paths are strangers' text: nothing in them may end a comment. */
static void print_comment(FILE *to, const char *text)
{
    for (; *text; text++)
        fputc((text[0] == '*' && text[1] == '/') || (unsigned char)*text < 0x20 ? '?' : *text, to);
}

static const char *file_name(const gmm_replay *replay)
{
    const char *slash = strrchr(replay->path, '/');

    return slash ? slash + 1 : replay->path;
}

/* Of operands that are written out. */
static size_t literal_bytes(const gmm_replay *replay)
{
    size_t bytes = 0;

    for (int o = 0; o < gmm_blas_operand_count(&replay->small.kept.call); o++)
        bytes += replay->made[o] ? 0 : replay->small.kept.bytes[o];
    return bytes;
}

static void print_title(FILE *to, const gmm_replay *replay)
{
    const gmm_call_record *r = &replay->small;

    fprintf(to,
            "/* A BLAS call that went wrong, written by gathermm.\n *\n * %s: ", gmm_guard_verdict_text(r->verdict));
    print_comment(to, replay->record.detail);
    fprintf(to, "\n *     ");
    print_comment(to, replay->call);
    fprintf(to, "\n * Seen with ");
    print_comment(to, r->library);
    if (*replay->reduced)
        fprintf(to, ".\n * Made smaller for this program: %s", replay->reduced);
    else
        fprintf(to, ".");
    fprintf(to,
            "\n *\n * Compile: cc -O1 THIS.c -o repro LIBRARY -lm -ldl     (LIBRARY: a path, or -lblas)\n"
            " * Run:     ./repro%s, with LD_LIBRARY_PATH where LIBRARY is\n *\n"
            " * It prints OK or BAD for the call and for controls, each in a process of its own, and exits 1 if the "
            "call is BAD%s.\n */\n",
            literal_bytes(replay) > LITERAL_BYTES ? " FILE.gmmcall" : "",
            r->trial != GMM_TRIAL_AS_IT_WAS ? ",\n * as it was or with the change that showed it" : "");
}

/* ---- the call ---------------------------------------------------------------------------------------------------- */

static void print_number(FILE *to, double x)
{
    if (isnan(x))
        fprintf(to, "NAN");
    else if (isinf(x))
        fprintf(to, "%sINFINITY", x < 0 ? "-" : "");
    else
        fprintf(to, "%.17g", x);
}

static void print_integer(FILE *to, const gmm_blas_call *call, int64_t value)
{
    fprintf(to, call->fortran ? "&(const integer){%" PRId64 "}" : "%" PRId64, value);
}

static void print_factor(FILE *to, const gmm_blas_call *call, char argument)
{
    const double *value = argument == '*' ? call->alpha : call->beta;

    fprintf(to, gmm_blas_by_value(call, argument) ? "(real)" : "(const real[]){(real)");
    print_number(to, value[0]);
    if (!gmm_blas_by_value(call, argument)) {
        fprintf(to, ", (real)");
        print_number(to, value[1]);
        fprintf(to, "}");
    }
}

static void print_argument(FILE *to, const void *context, char argument, int *operand)
{
    const gmm_blas_call *call = context;

    if (argument == 'o')
        fprintf(to, "%d", call->row_major ? 101 : 102);
    else if (gmm_blas_is_flag(argument) && call->fortran)
        fprintf(to, "\"%c\"", gmm_blas_flag(call, argument));
    else if (gmm_blas_is_flag(argument))
        fprintf(to, "%d", gmm_blas_flag_number(argument, gmm_blas_flag(call, argument)));
    else if (strchr("MNK", argument))
        print_integer(to, call, gmm_blas_size(call, argument));
    else if (strchr("LU", argument))
        print_integer(to, call, argument == 'L' ? call->kl : call->ku);
    else if (strchr("*+", argument))
        print_factor(to, call, argument);
    else if (argument == 'R')
        fprintf(to, "complex_result");
    else {
        fprintf(to, "base[%d]", *operand);
        if (argument != 'P') {
            fprintf(to, ", ");
            print_integer(to, call, call->operands[*operand].step);
        }
        (*operand)++;
    }
}

static void print_call(FILE *to, const gmm_replay *replay)
{
    const gmm_blas_call *call = &replay->small.kept.call;

    gmm_blas_write_prototype(to, call, replay->record.symbol, call->hidden_result);
    fprintf(to, "\nstatic char *base[4];\n\nstatic void make_call(double *result)\n{\n");
    gmm_blas_write_call(to, call, replay->record.symbol, call->hidden_result, print_argument, call);
    fprintf(to, "    (void)result;\n}\n\n");
}

/* ---- operands ---------------------------------------------------------------------------------------------------- */

static void print_literal(FILE *to, const gmm_kept_call *kept, int operand)
{
    const char *bytes = kept->call.operands[operand].data;

    fprintf(to, "static const uint32_t data_%d[] = { /* %c, its bits */", operand,
            kept->call.routine->operands[operand].name);
    for (size_t at = 0; at < kept->bytes[operand]; at += 4) {
        uint32_t word;
        memcpy(&word, bytes + at, sizeof word);
        fprintf(to, "%s0x%08" PRIx32 ",", at % 40 ? "" : "\n", word);
    }
    fprintf(to, "%s\n};\n\n", kept->bytes[operand] ? "" : "0");
}

/* Where each operand's content is: made by the formula, a literal, or read from the file. */
static void print_content(FILE *to, const gmm_replay *replay, const char *where)
{
    int count = gmm_blas_operand_count(&replay->small.kept.call);

    fprintf(to, "static const void *content(int operand)\n{\n    switch (operand) {\n");
    for (int o = 0; o < count; o++) {
        fprintf(to, o < count - 1 ? "    case %d:\n        return " : "    default: /* %d */\n        return ", o);
        if (replay->made[o])
            fprintf(to, "make_numbers(%d);\n", o);
        else
            fprintf(to, where, o);
    }
    fprintf(to, "    }\n}\n\n");
}

static void print_operands(FILE *to, const gmm_replay *replay)
{
    const gmm_kept_call *kept = &replay->small.kept;
    int count = gmm_blas_operand_count(&kept->call);
    bool made = false;

    for (int o = 0; o < count; o++)
        made |= replay->made[o] != NULL;
    if (made) {
        print_block(to, gmm_repro_mix);
        print_block(to, numbers);
    }
    if (literal_bytes(replay) <= LITERAL_BYTES) {
        for (int o = 0; o < count; o++)
            if (!replay->made[o])
                print_literal(to, kept, o);
        print_content(to, replay, "data_%d;\n");
        fprintf(to, "static void prepare(const char *path)\n{\n    (void)path;\n}\n\n");
        return;
    }
    fprintf(to, "static char *loaded[4];\n\n");
    print_content(to, replay, "loaded[%d];\n");
    fprintf(to, "/* Read the operands from the .gmmcall file. */\nstatic void prepare(const char *path)\n{\n"
                "    static const long at[] = {");
    for (int o = 0; o < count; o++)
        fprintf(to, "%" PRId64 ", ", replay->small.data_at[o]);
    fprintf(
        to,
        "0};\n    FILE *file = fopen(path ? path : \"%s\", \"rb\");\n    int o;\n\n"
        "    for (o = 0; o < OPERANDS; o++) {\n        loaded[o] = malloc(BYTES[o] + 1);\n"
        "        if (!file || !loaded[o] || fseek(file, at[o], SEEK_SET) || fread(loaded[o], 1, BYTES[o], file) != "
        "BYTES[o]) {\n            fprintf(stderr, \"cannot read the operands from the .gmmcall file; name it as the "
        "argument\\n\");\n            exit(3);\n        }\n    }\n    fclose(file);\n}\n\n",
        file_name(replay));
}

/* The lines of an operand: their starts and lengths are straight functions of their numbers but for bands. */
static void print_lines(FILE *to, const gmm_replay *replay, bool length)
{
    const gmm_blas_call *call = &replay->small.kept.call;

    fprintf(to, "static long line_%s(int operand, long i)\n{\n", length ? "length" : "start");
    for (int o = 0; o < gmm_blas_operand_count(call); o++) {
        int64_t count = gmm_call_line_count(call, o);
        if ((!gmm_blas_is_output(call, o) && !replay->made[o]) || count == 0)
            continue;
        /* These are never bands: the second difference is 0. */
        gmm_call_line first = gmm_call_line_at(call, o, 0), second = gmm_call_line_at(call, o, count > 1 ? 1 : 0);
        int64_t from = length ? first.length : first.start, step = (length ? second.length : second.start) - from;
        fprintf(to, "    if (operand == %d)\n        return %" PRId64 " + i * (%" PRId64 ");\n", o, from, step);
    }
    fprintf(to, "    (void)operand, (void)i;\n    return 0;\n}\n\n");
}

static void print_constants(FILE *to, const gmm_call_record *record)
{
    const gmm_kept_call *kept = &record->kept;
    const gmm_blas_call *call = &kept->call;
    int count = gmm_blas_operand_count(call);
    char name[48];

    fprintf(to, "enum { OPERANDS = %d, PARTS = %d, SHOWN_BY = %d };\n", count, gmm_blas_is_complex(call->type) ? 2 : 1,
            (int)record->trial);
    fprintf(to, "static const size_t BYTES[4] = {");
    for (int o = 0; o < GMM_BLAS_OPERANDS; o++)
        fprintf(to, "%s%zu", o ? ", " : "", kept->bytes[o]);
    fprintf(to, "}, OFFSET[4] = {");
    for (int o = 0; o < GMM_BLAS_OPERANDS; o++)
        fprintf(to, "%s%" PRId64, o ? ", " : "", call->operands[o].offset);
    fprintf(to, "};\nstatic const long LINES[4] = {");
    for (int o = 0; o < GMM_BLAS_OPERANDS; o++)
        fprintf(to, "%s%" PRId64, o ? ", " : "", o < count ? gmm_call_line_count(call, o) : 0);
    fprintf(to, "};\nstatic const int OUTPUT[4] = {");
    for (int o = 0; o < GMM_BLAS_OPERANDS; o++)
        fprintf(to, "%s%d", o ? ", " : "", o < count && gmm_blas_is_output(call, o));
    fprintf(to, "}, UNREAD[4] = {");
    for (int o = 0; o < GMM_BLAS_OPERANDS; o++)
        fprintf(to, "%s%d", o ? ", " : "", o < count && gmm_blas_is_output(call, o) && gmm_audit_is_unread(call, o));
    fprintf(to, "};\nstatic const char *const NAMES[] = {");
    for (int t = 0; t < GMM_TRIALS; t++) {
        gmm_trial_name(call, (gmm_trial)t, name);
        fprintf(to, "%s\"%s\"", t ? ", " : "", name);
    }
    fprintf(to, "};\n\n");
}

/* ---- what should come out ---------------------------------------------------------------------------------------- */

static void print_expected(FILE *to, const gmm_call_expected *e, int operand, int64_t element)
{
    if (e->open)
        return;
    fprintf(to, "    {%d, %" PRId64 ", {", operand, element);
    print_number(to, e->want[0]);
    fprintf(to, ", ");
    print_number(to, e->want[1]);
    fprintf(to, "}, %.17g},\n", e->bound);
}

/* rotg and rotmg are judged by equations of what came out; here it is netlib's choice among what they allow. */
static void expect_rotation(const gmm_call_view *view, int operand, int64_t row, gmm_call_expected *e)
{
    gmm_givens before = gmm_givens_load(view->call, view->before), after;

    gmm_givens_solve(view->call, &before, &after);
    gmm_givens_expect(view->call, &before, &after, operand, row, e);
    e->got[0] = e->want[0] = after.operands[operand][row];
    e->open |= isnan(e->want[0]); /* a parameter that the flag does not ask for */
    e->bound = gmm_givens_bound(view->call->type, e->want[0]);
}

static void print_output(FILE *to, const gmm_call_view *view, const gmm_call_record *record, int operand)
{
    const gmm_blas_call *call = view->call;
    int64_t rows, columns, listed = 0;
    gmm_call_expected e;
    bool rotation = call->routine->sum == GMM_SUM_ROTG || call->routine->sum == GMM_SUM_ROTMG;

    gmm_blas_stored_shape(call, operand, &rows, &columns);
    double count = (double)rows * (double)columns;
    double share = fmin(OPERATIONS / (double)gmm_call_sum_length(call), MOST_EXPECTED) / count;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns && listed < 2 * MOST_EXPECTED; j++) {
            int64_t at = gmm_blas_where(call, operand, i, j);
            bool wrong = operand == record->operand && i == record->row && j == record->column;
            uint64_t h = gmm_audit_mix((uint64_t)i * 0x9E3779B97F4A7C15u ^ (uint64_t)j);
            if (at < 0 || (!wrong && (double)(h >> 11) * 0x1p-53 >= share))
                continue;
            if (rotation)
                expect_rotation(view, operand, i, &e);
            else
                gmm_call_expect(view, operand, i, j, &e);
            print_expected(to, &e, operand, at);
            listed++;
        }
}

static void print_all_expected(FILE *to, const gmm_call_record *record)
{
    const gmm_blas_call *call = &record->kept.call;
    gmm_blas_sum kind = call->routine->sum;
    gmm_blas_result none = {{0, 0}, -1};
    gmm_call_view view = {.call = call, .result = &none};
    gmm_call_expected e;
    const void *before[GMM_BLAS_OPERANDS] = {NULL};

    for (int o = 0; o < gmm_blas_operand_count(call); o++)
        before[o] = view.before[o] = view.after[o] = call->operands[o].data;
    fprintf(to,
            "/* What should come out: operand (-1: the returned value), element, number, bound. The first line is a "
            "placeholder. */\n"
            "static const struct expected {\n    int operand;\n    long element;\n    double want[2], bound;\n"
            "} expected[] = {\n    {-1, 0, {0, 0}, 0},\n");
    if (kind != GMM_SUM_SOLVE && gmm_call_inputs_are_finite(call, before) && !gmm_call_is_empty(call)) {
        for (int o = 0; o < gmm_blas_operand_count(call); o++)
            if (gmm_blas_is_output(call, o))
                print_output(to, &view, record, o);
        if (kind == GMM_SUM_DOT || kind == GMM_SUM_NRM2 || kind == GMM_SUM_ASUM || kind == GMM_SUM_IAMAX) {
            gmm_call_expect(&view, -1, 0, 0, &e);
            print_expected(to, &e, -1, 0);
        }
    }
    fprintf(to, "};\n\n");
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void print_all(FILE *to, const gmm_replay *replay)
{
    const gmm_kept_call *kept = &replay->small.kept;

    print_title(to, replay);
    print_block(to, head);
    fprintf(to, "typedef %s integer;\ntypedef %s real;\n\n", kept->integer_bits == 64 ? "int64_t" : "int",
            gmm_blas_real_bytes(kept->call.type) == sizeof(float) ? "float" : "double");
    if (kept->call.routine->complex_value)
        fprintf(to, "typedef %s _Complex complex_real;\n\n",
                gmm_blas_real_bytes(kept->call.type) == sizeof(float) ? "float" : "double");
    print_call(to, replay);
    print_constants(to, &replay->small);
    print_lines(to, replay, false);
    print_lines(to, replay, true);
    print_block(to, pattern);
    print_operands(to, replay);
    print_all_expected(to, &replay->small);
    print_block(to, gmm_repro_threads);
    print_block(to, body);
}

gmm_status gmm_replay_program(gmm_replay *replay, const char **text)
{
    size_t size;

    if (!replay || !text)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", replay ? "text" : "replay");
    *text = NULL;
    if (replay->small.kept.call.routine->sum == GMM_SUM_SOLVE && replay->record.verdict != GMM_GUARD_MEMORY)
        return gmm_fail(GMM_ERR_ARGUMENT,
                        "a solution is judged by its residual: 'gathermm replay' does, no program does");
    if (!replay->program) {
        FILE *to = open_memstream(&replay->program, &size);
        if (!to)
            return gmm_fail(GMM_ERR_MEMORY, "no memory for a program");
        print_all(to, replay);
        bool failed = ferror(to) != 0;
        if (fclose(to) || failed) {
            free(replay->program);
            replay->program = NULL;
            return gmm_fail(GMM_ERR_MEMORY, "no memory for a program");
        }
    }
    *text = replay->program;
    return GMM_OK;
}
