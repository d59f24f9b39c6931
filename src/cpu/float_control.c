/* float_control.c - see float_control.h. */
/* SPDX-License-Identifier: MIT */
#include "cpu/float_control.h"

#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
enum {
    MXCSR_CONTROL = 0xFFC0,
    MXCSR_DAZ = 1 << 6,
    MXCSR_MASKS = 0x3F << 7,
    MXCSR_ROUNDING = 3 << 13,
    MXCSR_FTZ = 1 << 15,
    X87_MASKS = 0x3F,
    X87_PRECISION = 3 << 8,
    X87_ROUNDING = 3 << 10
};

/* FNSTENV's: control, status, tag word and four more. */
typedef struct environment {
    uint32_t word[7];
} environment;

gmm_float_control gmm_float_control_read(void)
{
    environment x87;
    uint32_t mxcsr;

    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    /* Storing it masks all exceptions: it is loaded again. */
    __asm__ volatile("fnstenv %0\n\tfldenv %0" : "+m"(x87)::"memory");
    return (gmm_float_control){mxcsr & MXCSR_CONTROL, x87.word[0] & 0xFFFF, x87.word[2] & 0xFFFF};
}

void gmm_float_control_write(const gmm_float_control *control)
{
    environment x87;
    uint32_t mxcsr;

    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    mxcsr = (mxcsr & ~(uint32_t)MXCSR_CONTROL) | control->vector;
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
    __asm__ volatile("fnstenv %0" : "=m"(x87)::"memory");
    x87.word[0] = (x87.word[0] & ~0xFFFFu) | control->x87;
    x87.word[1] &= ~0x80FFu; /* an exception that is noted would trap where the mask now lets it */
    x87.word[2] = (x87.word[2] & ~0xFFFFu) | control->tags;
    __asm__ volatile("fldenv %0" ::"m"(x87) : "memory");
}

gmm_float_control gmm_float_control_of(const gmm_float_control *control, gmm_float_mode mode)
{
    gmm_float_control changed = *control;

    if (mode == GMM_FLOAT_FLUSHING)
        changed.vector |= MXCSR_FTZ | MXCSR_DAZ;
    if (mode == GMM_FLOAT_TRUNCATING) {
        changed.vector |= MXCSR_ROUNDING;
        changed.x87 |= X87_ROUNDING;
    }
    return changed;
}

static const struct {
    bool x87;
    uint32_t bits;
    const char *name;
} parts[] = {{false, MXCSR_FTZ, "flush to zero"},         {false, MXCSR_DAZ, "subnormals are zero"},
             {false, MXCSR_ROUNDING, "rounding"},         {false, MXCSR_MASKS, "traps"},
             {true, X87_ROUNDING, "rounding of the x87"}, {true, X87_PRECISION, "precision of the x87"},
             {true, X87_MASKS, "traps of the x87"}};

bool gmm_float_control_same(const gmm_float_control *before, const gmm_float_control *after, char *text, size_t size)
{
    uint32_t vector = before->vector ^ after->vector, x87 = before->x87 ^ after->x87;
    size_t length;

    if (!vector && !x87 && before->tags == after->tags)
        return true;
    snprintf(text, size, "MXCSR was 0x%x and is 0x%x, the x87's control word was 0x%x and is 0x%x%s:", before->vector,
             after->vector, before->x87, after->x87,
             before->tags == after->tags ? "" : ", its registers are left in use (no EMMS)");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        length = strlen(text);
        if ((parts[i].x87 ? x87 : vector) & parts[i].bits)
            snprintf(text + length, size - length, "%s %s", text[length - 1] == ':' ? "" : ",", parts[i].name);
    }
    length = strlen(text);
    if (text[length - 1] == ':')
        text[length - 1] = '\0';
    return false;
}
#else
#if defined(__aarch64__)
enum {
    FPCR_FZ = 1 << 24,
    FPCR_ROUNDING = 3 << 22
};

gmm_float_control gmm_float_control_read(void)
{
    uint64_t fpcr;

    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return (gmm_float_control){(uint32_t)fpcr, 0, 0};
}

void gmm_float_control_write(const gmm_float_control *control)
{
    __asm__ volatile("msr fpcr, %0" ::"r"((uint64_t)control->vector));
}

gmm_float_control gmm_float_control_of(const gmm_float_control *control, gmm_float_mode mode)
{
    gmm_float_control changed = *control;

    changed.vector |= mode == GMM_FLOAT_FLUSHING ? FPCR_FZ : mode == GMM_FLOAT_TRUNCATING ? FPCR_ROUNDING : 0;
    return changed;
}
#else
gmm_float_control gmm_float_control_read(void)
{
    return (gmm_float_control){0, 0, 0};
}

void gmm_float_control_write(const gmm_float_control *control)
{
    (void)control;
}

gmm_float_control gmm_float_control_of(const gmm_float_control *control, gmm_float_mode mode)
{
    (void)mode;
    return *control;
}
#endif

bool gmm_float_control_same(const gmm_float_control *before, const gmm_float_control *after, char *text, size_t size)
{
    if (before->vector == after->vector)
        return true;
    snprintf(text, size, "FPCR was 0x%x and is 0x%x", before->vector, after->vector);
    return false;
}
#endif
