/* check_list.c - the checks as an array. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

#define CHECK(name) &name,
static const gmm_blas_check *const checks[] = {
#include "blas/check_list.h"
};
#undef CHECK

const gmm_blas_check *gmm_blas_check_at(size_t i)
{
    return i < sizeof checks / sizeof checks[0] ? checks[i] : NULL;
}

bool gmm_audit_check_at(size_t i, gmm_audit_check *check)
{
    const gmm_blas_check *found = gmm_blas_check_at(i);

    if (!found || !check)
        return false;
    *check = (gmm_audit_check){found->name, found->summary, found->on_request};
    return true;
}
