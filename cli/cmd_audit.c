/* cmd_audit.c - 'gathermm audit': hold a BLAS library against its contract. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "gathermm/blas.h"
#include "output.h"
static int run(int argc, char **argv)
{
    gmm_audit *a;
    gmm_audit_options o = {.size = sizeof o, .environment = getenv("AENV"), .checks=getenv("ACHECKS"), .routines=getenv("AROUT")};
    (void)argc;
    if (gmm_audit_create(argv[1], &o, &a)) return complain_status(GMM_OK);
    gmm_blas_info info; gmm_audit_library(a, &info);
    printf("%s %s %d\n", info.path, info.version, info.integer_bits);
    if (gmm_audit_run(a, argc > 3 ? atoll(argv[3]) : 1000000, atof(argv[2]))) return complain_status(GMM_OK);
    printf("cases %lld\n", (long long)gmm_audit_cases(a));
    gmm_audit_finding f;
    for (size_t i = 0; gmm_audit_finding_at(a, i, &f); i++)
        { if (getenv("AMIN")) { gmm_audit_minimize(a, i, atof(getenv("AMIN"))); gmm_audit_finding_at(a, i, &f); const char *t; char nm[200]; snprintf(nm, sizeof nm, "%s/repro-%s-%s.c", getenv("AOUT"), f.check, f.routine); if (getenv("AOUT") && !gmm_audit_reproduction(a,i,&t)) {FILE *oo=fopen(nm,"w"); fputs(t,oo); fclose(oo);}}
        printf("%-9s %-14s %-16s %5lld/%-5lld %s\n      %s\n", gmm_audit_verdict_text(f.verdict), f.check, f.routine, (long long)f.failed, (long long)f.cases, f.detail, f.call); gmm_audit_control t; for (size_t j=0; gmm_audit_control_at(a,i,j,&t); j++) printf("          %s %s\n", t.fails ? "BAD" : "OK", t.name);}
    for (size_t i = 0; gmm_audit_note_at(a, i); i++) printf("%s\n", gmm_audit_note_at(a, i));
    gmm_audit_destroy(a);
    return 0;
}
const command cmd_audit = {.name = "audit", .arguments = "LIB", .summary = "x", .help = "x\n", .run = run};
