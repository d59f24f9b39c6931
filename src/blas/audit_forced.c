/* audit_forced.c - which other kernels of a library this CPU can run: each is tried in processes of its own. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blas/audit_state.h"

#define FORCED(library, environment) {library, environment},
static const struct {
    const char *library, *environment;
} forced[] = {
#include "blas/forced_kernel_list.h"
};
#undef FORCED

/* As many first cases as show an illegal instruction, if there is one to show. */
enum {
    PROBES = 96
};

static unsigned everything(const void *context, const gmm_blas_routine *routine, char type)
{
    const gmm_audit_crew *crew = context;
    size_t i = 0;

    while (gmm_blas_routine_at(i) != routine)
        i++;
    return crew->interfaces[i][strchr("sdcz", type) - "sdcz"];
}

/* Products of each type come through without a signal but for faults, which may be findings. */
static bool works(gmm_audit_crew *crew)
{
    gmm_audit_plan plan = {0};
    gmm_audit_case *cases = calloc(PROBES, sizeof *cases);
    gmm_audit_outcome *outcomes = calloc(PROBES, sizeof *outcomes);
    int count = 0, ran = 0;
    bool fine = cases && outcomes && !gmm_audit_plan_make(&plan, 1, "integers", "gemm,gemv,dot,trmm");

    for (int64_t i = 0; fine && i < 4 * PROBES && count < PROBES; i++)
        count += gmm_audit_plan_case(&plan, i, everything, crew, &cases[count]);
    fine = fine && !gmm_audit_crew_run(crew, cases, count, gmm_audit_seconds() + 2, outcomes, &ran);
    for (int i = 0; i < ran && fine; i++)
        fine = outcomes[i].verdict != GMM_AUDIT_CRASH && outcomes[i].verdict != GMM_AUDIT_EXIT;
    gmm_audit_plan_free(&plan);
    free(cases);
    free(outcomes);
    return fine;
}

/* OpenBLAS says which kernels it took: several names may mean the same ones. */
static bool is_known(const char *const *versions, size_t count, const char *version)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(versions[i], version))
            return true;
    return false;
}

static void find_kernels(gmm_audit *audit)
{
    enum {
        MOST = sizeof audit->kernels / sizeof audit->kernels[0]
    };
    const gmm_blas_info *info = &audit->crew.info;
    const char *versions[MOST + 1] = {info->version};
    char texts[MOST][sizeof info->version];
    bool is_mkl = strstr(info->path, "mkl") != NULL;

    for (size_t i = 0; i < sizeof forced / sizeof forced[0] && audit->kernel_count < MOST; i++) {
        gmm_audit_crew crew;
        bool openblas = !strcmp(forced[i].library, "OpenBLAS");
        bool fits = is_mkl ? !strcmp(forced[i].library, "MKL")
                           : !strncmp(info->version, forced[i].library, strlen(forced[i].library));
        if (!fits ||
            gmm_audit_crew_start(&crew, audit->library, forced[i].environment, audit->crew.threads, audit->crew.budget))
            continue;
        bool is_new = !openblas || !is_known(versions, audit->kernel_count + 1, crew.info.version);
        if (is_new && works(&crew)) {
            size_t k = audit->kernel_count++;
            snprintf(audit->kernels[k], sizeof audit->kernels[k], "%s", forced[i].environment);
            memcpy(texts[k], crew.info.version, sizeof texts[k]);
            versions[k + 1] = texts[k];
        }
        gmm_audit_crew_end(&crew);
    }
    audit->kernels_known = true;
}

const char *gmm_audit_forced_kernel_at(gmm_audit *audit, size_t i)
{
    if (!audit)
        return NULL;
    if (!audit->kernels_known)
        find_kernels(audit);
    return i < audit->kernel_count ? audit->kernels[i] : NULL;
}
