/* guard_watch.c - a watched call: what is looked at before and after it. No lock, and no allocation once buffers are
 * there. */
/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE

#include "guard/guard_watch.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "blas/audit_memory.h"
#include "blas/call_lines.h"
#include "cpu/fp_env.h"

enum {
    BUFFERS = 64,
    SHAPES = 8192, /* that are remembered; then new ones are not looked into any more */
    ALL_SHAPES = 64,
    SOME_SHAPES = 16,
    WINDOW_BYTES = 64,           /* of a gap behind each line: where a tail that is too long goes */
    RESULT_TERMS = 512,          /* likewise, of a function over vectors, which is quick itself */
    SUM_MULTIPLICATIONS = 20000, /* the longest sum that is compared at every call */
#if defined(__x86_64__)
    SECOND_FLOAT = 1 /* of a complex number in registers: beside the first one */
#else
    SECOND_FLOAT = 2 /* ... in a register of its own */
#endif
};
static const size_t most_kept_bytes = (size_t)256 << 20;

/* ---- shared memory ----------------------------------------------------------------------------------------------- */

static gmm_guard_state alone; /* in a process that has no file */
gmm_guard_state *gmm_guard_shared = &alone;

__attribute__((noreturn)) static void stop(const char *why)
{
    dprintf(STDERR_FILENO, "gathermm guard: %s\n", why);
    _exit(3);
}

static void open_state(void)
{
    const char *path = getenv(GMM_GUARD_VARIABLE);
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map =
        file < 0 ? MAP_FAILED : mmap(NULL, sizeof(gmm_guard_state), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

    if (file >= 0)
        close(file);
    if (map == MAP_FAILED)
        stop("cannot open the file that " GMM_GUARD_VARIABLE " names; start programs by 'gathermm guard'");
    gmm_guard_shared = map;
    if (gmm_guard_shared->version != GMM_GUARD_VERSION)
        stop("libgathermm_guard.so is of another version than the command");
    atomic_fetch_add(&gmm_guard_shared->processes, 1);
}

#if defined(__APPLE__)
__attribute__((constructor)) static void begin(void)
{
    gmm_guard_fill_slots();
    open_state();
}
#else
/* In the copy among the program's libraries: the other one must have been there before. */
__attribute__((constructor)) static void begin(void)
{
    const struct link_map *own = gmm_guard_own_object();
    Lmid_t name_space = LM_ID_NEWLM;

    /* A link map is what dlopen's handles are. */
    if (!own || dlinfo((void *)(uintptr_t)own, RTLD_DI_LMID, &name_space) || name_space != LM_ID_BASE)
        return;
    if (!atomic_load(&gmm_guard_connected))
        stop("the loader did not take libgathermm_guard.so as LD_AUDIT: no call could be watched");
    open_state();
}
#endif

/* ---- memory that is kept ----------------------------------------------------------------------------------------- */

typedef struct buffer {
    _Atomic uint32_t busy;
    char *memory;
    size_t room;
} buffer;

static buffer buffers[BUFFERS];

/* A free buffer with that much room; NULL if there is none. Busy ones of other threads stay busy in a forked child. */
static buffer *take_buffer(size_t bytes)
{
    for (int i = 0; i < BUFFERS && bytes <= most_kept_bytes; i++) {
        buffer *b = &buffers[i];
        if (atomic_load_explicit(&b->busy, memory_order_relaxed) || atomic_exchange(&b->busy, 1))
            continue;
        if (b->room < bytes) {
            size_t room = (bytes + bytes / 2 + 65535) / 65536 * 65536;
            if (b->memory)
                munmap(b->memory, b->room);
            void *memory = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            b->memory = memory == MAP_FAILED ? NULL : memory;
            b->room = b->memory ? room : 0;
        }
        if (b->memory)
            return b;
        atomic_store(&b->busy, 0);
        return NULL;
    }
    return NULL;
}

/* ---- what has been seen ------------------------------------------------------------------------------------------ */

static _Atomic uint64_t shapes[SHAPES];

static uint64_t shape_of(const gmm_guard_watch *w)
{
    const gmm_blas_call *c = &w->call;
    const int64_t parts[] = {(int64_t)(w->slot - gmm_guard_slots),
                             c->m,
                             c->n,
                             c->k,
                             c->kl,
                             c->ku,
                             c->row_major | c->side << 8 | c->uplo << 16 | c->diag << 24,
                             c->transpose_a | c->transpose_b << 8,
                             (c->beta[0] == 0 && c->beta[1] == 0) | (c->alpha[0] == 0 && c->alpha[1] == 0) << 1 |
                                 (c->beta[0] == 1) << 2 | (c->alpha[0] == 1) << 3};
    uint64_t hash = 0;

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        hash = gmm_audit_mix(hash ^ (uint64_t)parts[i]);
    for (int i = 0; i < GMM_BLAS_OPERANDS; i++)
        hash = gmm_audit_mix(hash ^ (uint64_t)c->operands[i].step * 64 ^ (uint64_t)c->operands[i].offset);
    return hash ? hash : 1;
}

/* LAPACK calls with ever new sizes: all of the first ones are looked into, then some. */
static bool is_worth_it(gmm_guard_slot *slot)
{
    uint32_t number = atomic_fetch_add_explicit(&slot->shapes, 1, memory_order_relaxed);

    return number < ALL_SHAPES || number % SOME_SHAPES == 0;
}

static bool is_fresh(const gmm_guard_watch *w)
{
    uint64_t hash = shape_of(w);

    for (size_t i = 0; i < 8; i++) {
        _Atomic uint64_t *place = &shapes[(hash + i) % SHAPES];
        uint64_t there = atomic_load_explicit(place, memory_order_relaxed);
        if (there == hash)
            return false;
        if (there == 0)
            return atomic_compare_exchange_strong(place, &there, hash) && is_worth_it(w->slot);
    }
    return false;
}

/* ---- sums over memory -------------------------------------------------------------------------------------------- */

/* Any change of one word changes the second sums; lanes are independent, so compilers use vectors. */
typedef struct lanes {
    uint64_t first[8], second[8];
} lanes;

static void add_bytes(lanes *l, const char *bytes, size_t count)
{
    size_t at = 0;

    for (; at + sizeof l->first <= count; at += sizeof l->first) {
        uint64_t word[8];
        memcpy(word, bytes + at, sizeof word);
        for (int i = 0; i < 8; i++) {
            l->first[i] += word[i];
            l->second[i] += l->first[i];
        }
    }
    if (at < count) {
        uint64_t word[8] = {0};
        memcpy(word, bytes + at, count - at);
        for (int i = 0; i < 8; i++) {
            l->first[i] += word[i];
            l->second[i] += l->first[i];
        }
    }
}

/* Of an operand that is only read its elements; of any the memory just behind each line but the last. */
static uint64_t sum_operand(const gmm_blas_call *call, int operand, bool elements)
{
    int64_t lines = gmm_call_line_count(call, operand);
    size_t bytes = gmm_blas_element_bytes(call->type);
    const char *base = call->operands[operand].data;
    lanes l = {{0}, {0}};
    uint64_t sum = 0;

    for (int64_t i = 0; i < lines; i++) {
        gmm_call_line line = gmm_call_line_at(call, operand, i);
        size_t from = (size_t)line.start * bytes, length = (size_t)line.length * bytes, gap = 0;
        if (i + 1 < lines)
            gap = (size_t)gmm_call_line_at(call, operand, i + 1).start * bytes - from - length;
        gap = gap < WINDOW_BYTES ? gap : WINDOW_BYTES;
        if (elements)
            add_bytes(&l, base + from, length + gap);
        else if (gap > 0)
            add_bytes(&l, base + from + length, gap);
    }
    for (int i = 0; i < 8; i++)
        sum = gmm_audit_mix(sum ^ l.second[i]) ^ l.first[i];
    return sum;
}

/* ---- before and after -------------------------------------------------------------------------------------------- */

typedef struct sample {
    int operand; /* -1: the result */
    bool taken;
    int64_t row, column;
    double own[2];
} sample;

typedef struct look {
    gmm_guard_watch watch;
    buffer *kept;
    bool deep;
    uint64_t sums[GMM_BLAS_OPERANDS];
    sample sample;
} look;

static _Thread_local uint64_t ticks __attribute__((tls_model("initial-exec")));

static void keep_outputs(look *l)
{
    gmm_guard_watch *w = &l->watch;
    size_t bytes = gmm_blas_element_bytes(w->call.type), total = 0, sizes[GMM_BLAS_OPERANDS] = {0};

    for (int o = 0; o < gmm_blas_operand_count(&w->call); o++) {
        int64_t lines = gmm_call_line_count(&w->call, o);
        if (!gmm_blas_is_output(&w->call, o))
            continue;
        /* What is not to be read and holds nothing unusual can be made up. */
        if (gmm_audit_is_unread(&w->call, o) && !(w->reasons & GMM_GUARD_FRESH) &&
            gmm_call_is_finite(&w->call, o, w->call.operands[o].data))
            continue;
        for (int64_t i = 0; i < lines; i++)
            sizes[o] += (size_t)gmm_call_line_at(&w->call, o, i).length * bytes;
        total += sizes[o];
    }
    l->kept = total ? take_buffer(total) : NULL;
    char *to = l->kept ? l->kept->memory : NULL;
    for (int o = 0; to && o < gmm_blas_operand_count(&w->call); o++) {
        int64_t lines = gmm_call_line_count(&w->call, o);
        if (!sizes[o])
            continue;
        w->kept[o] = to;
        for (int64_t i = 0; i < lines; i++) {
            gmm_call_line line = gmm_call_line_at(&w->call, o, i);
            memcpy(to, (const char *)w->call.operands[o].data + (size_t)line.start * bytes,
                   (size_t)line.length * bytes);
            to += (size_t)line.length * bytes;
        }
    }
}

/* An element to compare: any, and often one of the last, where tails are. */
static void choose_sample(look *l)
{
    const gmm_blas_call *call = &l->watch.call;
    uint64_t h = gmm_audit_mix(ticks ^ (uint64_t)(uintptr_t)l);
    int64_t rows, columns;

    l->sample.operand = -1;
    l->sample.taken = false;
    if (gmm_call_needs_whole_output(call) || gmm_call_sum_length(call) > SUM_MULTIPLICATIONS)
        return;
    for (int o = 0; o < gmm_blas_operand_count(call); o++)
        if (gmm_blas_is_output(call, o))
            l->sample.operand = o;
    if (l->sample.operand < 0) {
        l->sample.taken = call->n <= RESULT_TERMS;
        return;
    }
    gmm_blas_stored_shape(call, l->sample.operand, &rows, &columns);
    l->sample.row = h & 1 ? rows - 1 : (int64_t)((h >> 8) % (uint64_t)rows);
    l->sample.column = h & 2 ? columns - 1 : (int64_t)((h >> 32) % (uint64_t)columns);
    int64_t at = gmm_blas_where(call, l->sample.operand, l->sample.row, l->sample.column);
    l->sample.taken = at >= 0;
    if (at >= 0)
        gmm_audit_load(call->type, call->operands[l->sample.operand].data, at, l->sample.own);
}

static void look_for_overlap(const look *l)
{
    const gmm_blas_call *call = &l->watch.call;
    char why[64];

    if (gmm_blas_level(call->routine) == 1)
        return;
    for (int a = 0; a < gmm_blas_operand_count(call); a++)
        for (int b = 0; b < gmm_blas_operand_count(call); b++)
            if (a != b && gmm_blas_is_output(call, a) && (b > a || !gmm_blas_is_output(call, b)) &&
                gmm_call_overlap(call, a, b)) {
                snprintf(why, sizeof why, "%c overlaps %c", call->routine->operands[a].name,
                         call->routine->operands[b].name);
                gmm_guard_blame_caller(&l->watch, why);
                return;
            }
}

static void look_before(look *l)
{
    const gmm_blas_call *call = &l->watch.call;
    int32_t every = gmm_guard_shared->sample;

    if (is_fresh(&l->watch))
        l->watch.reasons |= GMM_GUARD_FRESH;
    l->deep = (l->watch.reasons & GMM_GUARD_FRESH) || every <= 1 || ++ticks % (uint64_t)every == 0;
    ticks += every <= 1;
    keep_outputs(l);
    if (!l->deep)
        return;
    look_for_overlap(l);
    for (int o = 0; o < gmm_blas_operand_count(call); o++)
        l->sums[o] = sum_operand(call, o, !gmm_blas_is_output(call, o));
    choose_sample(l);
}

static bool result_is_finite(const gmm_guard_watch *w)
{
    return isfinite(w->result.value[0]) && isfinite(w->result.value[1]);
}

static void look_after(look *l)
{
    gmm_guard_watch *w = &l->watch;
    const gmm_blas_call *call = &w->call;

    for (int o = 0; o < gmm_blas_operand_count(call); o++)
        if (gmm_blas_is_output(call, o) && !gmm_call_is_finite(call, o, call->operands[o].data))
            w->reasons |= GMM_GUARD_NOT_FINITE;
    if (!result_is_finite(w))
        w->reasons |= GMM_GUARD_NOT_FINITE;
    for (int o = 0; l->deep && o < gmm_blas_operand_count(call); o++)
        if (l->sums[o] != sum_operand(call, o, !gmm_blas_is_output(call, o)))
            w->reasons |= GMM_GUARD_CHANGED;
    if (l->deep && l->sample.taken && !(w->reasons & GMM_GUARD_CHANGED)) {
        gmm_call_view view = {.call = call, .own = l->sample.own, .result = &w->result};
        gmm_call_expected e;
        for (int o = 0; o < GMM_BLAS_OPERANDS; o++)
            view.before[o] = view.after[o] = call->operands[o].data;
        gmm_call_expect(&view, l->sample.operand, l->sample.row, l->sample.column, &e);
        if (!gmm_call_expected_holds(&e))
            w->reasons |= GMM_GUARD_WRONG;
    }
    if (w->reasons)
        gmm_guard_examine(w);
    if (l->kept)
        atomic_store_explicit(&l->kept->busy, 0, memory_order_release);
}

/* ---- the call ---------------------------------------------------------------------------------------------------- */

#define W(i) arguments->words[i]
#define ALL_WORDS W(0), W(1), W(2), W(3), W(4), W(5), W(6), W(7), W(8), W(9), W(10), W(11), W(12), W(13), W(14), W(15)
#define WORD_TYPES                                                                                                     \
    intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t,      \
        intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, double, double

typedef struct returned {
    intptr_t word;
    gmm_guard_pair numbers;
} returned;

static returned call_real(const gmm_guard_slot *slot, const gmm_guard_arguments *arguments, gmm_guard_result kind)
{
    returned r = {0, {0, 0}};

    if (kind == GMM_GUARD_PAIR)
        r.numbers =
            ((gmm_guard_pair(*)(WORD_TYPES))slot->real)(ALL_WORDS, arguments->numbers[0], arguments->numbers[1]);
    else if (kind == GMM_GUARD_NUMBER)
        r.numbers.first = ((double (*)(WORD_TYPES))slot->real)(ALL_WORDS, arguments->numbers[0], arguments->numbers[1]);
    else
        r.word = ((intptr_t(*)(WORD_TYPES))slot->real)(ALL_WORDS, arguments->numbers[0], arguments->numbers[1]);
    return r;
}

static gmm_blas_result understand_result(const gmm_guard_watch *w, const returned *r, const void *complex_at)
{
    gmm_blas_sum kind = w->call.routine->sum;
    bool single = gmm_blas_real_bytes(w->call.type) == sizeof(float);
    gmm_blas_result result = {{0, 0}, -1};

    if (complex_at) {
        gmm_audit_load(w->call.type, complex_at, 0, result.value);
    } else if (kind == GMM_SUM_IAMAX) {
        result.index = (w->integer_bits == 64 ? (int64_t)r->word : (int64_t)(int32_t)r->word) - w->call.fortran;
    } else if (gmm_guard_result_of(w->call.routine) != GMM_GUARD_WORD) {
        /* A float lies in the lower half of its register; of two on x86-64 the second in the upper one. */
        float narrow[4];
        memcpy(narrow, &r->numbers, sizeof narrow);
        result.value[0] = single ? (double)narrow[0] : r->numbers.first;
        if (w->call.routine->complex_value)
            result.value[1] = single ? (double)narrow[SECOND_FLOAT] : r->numbers.second;
    }
    return result;
}

/* The frame of the watched call that this thread is in. A call that is made by it (netlib's CBLAS calls its Fortran
 * names) lies below; one that lies above shows that the watched call was left by a jump, as Octave's xerbla does. */
static _Thread_local uintptr_t watched_frame __attribute__((tls_model("initial-exec")));

static int integer_bits(gmm_guard_slot *slot)
{
    const gmm_blas_library *library;
    int bits = atomic_load_explicit(&slot->integer_bits, memory_order_relaxed);

    if (bits)
        return bits;
    bits = gmm_guard_library(slot, &library);
    /* C's functions have one way only. */
    atomic_store(&slot->complex_return, !slot->fortran ? GMM_COMPLEX_REGISTERS
                                        : library      ? library->complex_return
                                                       : GMM_COMPLEX_UNKNOWN);
    atomic_store(&slot->integer_bits, bits);
    return bits;
}

static void count_call(const gmm_guard_slot *slot)
{
    static const char types[] = "sdcz";
    const char *type = strchr(types, slot->type);

    atomic_fetch_add_explicit(&gmm_guard_shared->calls[slot->routine][type - types][slot->fortran], 1,
                              memory_order_relaxed);
}

/* Whether the call is one to look at: with arguments that mean something, and with something to do. */
static bool understand_call(look *l, const gmm_guard_arguments *arguments, const void **result_at)
{
    gmm_guard_watch *w = &l->watch;
    char why[128];

    if (!gmm_guard_decode(w->slot, arguments, w->integer_bits, w->complex_return, &w->call, result_at))
        return false;
    if (!gmm_call_is_legal(&w->call, why, sizeof why)) {
        if (gmm_blas_level(w->call.routine) > 1)
            gmm_guard_blame_caller(w, why);
        return false;
    }
    return !gmm_call_is_empty(&w->call) &&
           (gmm_blas_level(w->call.routine) > 1 || w->call.routine->operands[1].form || w->call.operands[0].step > 0);
}

static returned watch(size_t number, const gmm_guard_arguments *arguments, gmm_guard_result kind)
{
    gmm_guard_slot *slot = &gmm_guard_slots[number];
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0), outer = watched_frame;
    const void *result_at;
    look l = {.sample = {.operand = -1}};
    returned r;

    if (!slot->real)
        stop("a BLAS function was called that was never bound");
    if ((outer && frame < outer) || !atomic_load_explicit(&slot->ready, memory_order_acquire))
        return call_real(slot, arguments, kind);
    int error = errno;
    gmm_fp_env environment = gmm_fp_enter(); /* what is compared raises flags, and must not trap */
    watched_frame = frame;                   /* the library is asked for its integers through its own functions */
    l.watch.slot = slot;
    l.watch.integer_bits = integer_bits(slot);
    l.watch.complex_return = (gmm_blas_complex_return)atomic_load_explicit(&slot->complex_return, memory_order_relaxed);
    count_call(slot);
    if (atomic_load_explicit(&gmm_guard_slots_missing, memory_order_relaxed))
        atomic_fetch_add(&gmm_guard_shared->unwatched, atomic_exchange(&gmm_guard_slots_missing, 0));
    bool looks = understand_call(&l, arguments, &result_at);
    if (looks)
        look_before(&l);
    gmm_fp_leave(environment);
    errno = error;
    r = call_real(slot, arguments, kind);
    error = errno;
    if (looks) {
        environment = gmm_fp_enter();
        l.watch.result = understand_result(&l.watch, &r, result_at);
        look_after(&l);
        gmm_fp_leave(environment);
    }
    watched_frame = 0;
    errno = error;
    return r;
}

intptr_t gmm_guard_call_word(size_t slot, const gmm_guard_arguments *arguments)
{
    return watch(slot, arguments, GMM_GUARD_WORD).word;
}

double gmm_guard_call_number(size_t slot, const gmm_guard_arguments *arguments)
{
    return watch(slot, arguments, GMM_GUARD_NUMBER).numbers.first;
}

gmm_guard_pair gmm_guard_call_pair(size_t slot, const gmm_guard_arguments *arguments)
{
    return watch(slot, arguments, GMM_GUARD_PAIR).numbers;
}
