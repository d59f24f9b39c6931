/* bench_ceilings.c - the machine's ceilings, measured again and again in the course of a run. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "bench.h"
#include "command.h"
#include "gathermm/ceilings.h"
#include "output.h"

/* Memory's rate moves, and takes time to show; arithmetic's hardly does. */
#define READ_SECONDS 0.2
#define ARITHMETIC_SECONDS 0.05

int bench_ceilings_measure(bench_ceilings *c, double seconds)
{
    gmm_ceiling_info info;

    for (size_t i = 0; i < BENCH_MAX_CEILINGS && gmm_ceiling_at(c->context, i, &info); i++) {
        gmm_ceiling_result result;
        double limit = !strcmp(info.name, "read") ? READ_SECONDS : ARITHMETIC_SECONDS;
        if (!info.usable)
            continue;
        gmm_status status =
            gmm_ceiling_measure(c->context, info.name, c->threads, seconds < limit ? seconds : limit, &result);
        if (status)
            return complain_status(status);
        c->mean[i] = c->measurements ? (c->last[i] + result.median) / 2 : result.median;
        c->last[i] = result.median;
        c->total[i] += result.median;
        c->best[i] = result.best > c->best[i] ? result.best : c->best[i];
    }
    c->measurements++;
    return EXIT_FINE;
}

bench_binding bench_bind(const bench_ceilings *c, double bytes, double f32, double bf16, double int8)
{
    const struct {
        const char *ceiling;
        double amount;
    } works[] = {{"fma_f32", f32}, {"dot_bf16", bf16}, {"dot_int8", int8}, {"read", bytes}};
    bench_binding binds = {0};
    gmm_ceiling_info info;

    for (size_t w = 0; w < sizeof works / sizeof works[0]; w++)
        for (size_t i = 0; i < BENCH_MAX_CEILINGS && gmm_ceiling_at(c->context, i, &info); i++) {
            bool read = !strcmp(info.name, "read");
            double seconds = works[w].amount / c->mean[i] * 1e-9;
            if (strcmp(info.name, works[w].ceiling) != 0 || !(works[w].amount > 0) || !(c->mean[i] > 0))
                continue;
            if (!binds.ceiling || (read ? seconds > binds.seconds : seconds < binds.seconds))
                binds = (bench_binding){info.name, c->mean[i], seconds};
        }
    return binds;
}
