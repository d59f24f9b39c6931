/* symbol_form_list.h - how libraries decorate the names of routines, so that several fit into one process: a line each.
 */
/* SPDX-License-Identifier: MIT */

/* FORM(fortran, prefix, suffix), usual ones first: a library that has several is taken by the first. */
FORM(false, "", "")
FORM(false, "", "64_") /* OpenBLAS with SYMBOLSUFFIX=64_, Julia */
FORM(false, "", "_64") /* netlib's and MKL's extended interface */
FORM(false, "", "_64_")
FORM(false, "scipy_", "64_") /* the wheels of numpy and scipy */
FORM(false, "scipy_", "")
FORM(false, "", "$NEWLAPACK") /* Accelerate since macOS 13.3 */
FORM(false, "", "$NEWLAPACK$ILP64")
FORM(true, "", "_")
FORM(true, "", "_64_")
FORM(true, "", "64_")
FORM(true, "", "_64")
FORM(true, "scipy_", "_64_")
FORM(true, "scipy_", "_")
FORM(true, "", "$NEWLAPACK")
FORM(true, "", "$NEWLAPACK$ILP64")
FORM(true, "", "") /* compilers without underscores: last, for C libraries may have an sgemm of their own */
