/* interpose_list.h - the functions that the guard stands before on macOS, where names must be known when it is built.
 */
/* SPDX-License-Identifier: MIT */

/* A line for each of routine_list.h but gemm3m, which Accelerate has not, and Fortran's complex dot products, which the
 * guard does not watch; tests/unit/test_interpose_list.c holds the two together. */

/* WORD returns nothing or an integer, NUMBER a floating-point number, CBLAS_ONLY writes a complex number where it is
 * told, which has no counterpart in Fortran. */
/* clang-format off */
WORD(sgemm) WORD(dgemm) WORD(cgemm) WORD(zgemm)
WORD(ssymm) WORD(dsymm) WORD(csymm) WORD(zsymm)
WORD(chemm) WORD(zhemm)
WORD(ssyrk) WORD(dsyrk) WORD(csyrk) WORD(zsyrk)
WORD(cherk) WORD(zherk)
WORD(ssyr2k) WORD(dsyr2k) WORD(csyr2k) WORD(zsyr2k)
WORD(cher2k) WORD(zher2k)
WORD(strmm) WORD(dtrmm) WORD(ctrmm) WORD(ztrmm)
WORD(strsm) WORD(dtrsm) WORD(ctrsm) WORD(ztrsm)
WORD(sgemv) WORD(dgemv) WORD(cgemv) WORD(zgemv)
WORD(sgbmv) WORD(dgbmv) WORD(cgbmv) WORD(zgbmv)
WORD(ssymv) WORD(dsymv)
WORD(chemv) WORD(zhemv)
WORD(ssbmv) WORD(dsbmv)
WORD(chbmv) WORD(zhbmv)
WORD(sspmv) WORD(dspmv)
WORD(chpmv) WORD(zhpmv)
WORD(strmv) WORD(dtrmv) WORD(ctrmv) WORD(ztrmv)
WORD(stbmv) WORD(dtbmv) WORD(ctbmv) WORD(ztbmv)
WORD(stpmv) WORD(dtpmv) WORD(ctpmv) WORD(ztpmv)
WORD(strsv) WORD(dtrsv) WORD(ctrsv) WORD(ztrsv)
WORD(stbsv) WORD(dtbsv) WORD(ctbsv) WORD(ztbsv)
WORD(stpsv) WORD(dtpsv) WORD(ctpsv) WORD(ztpsv)
WORD(sger) WORD(dger)
WORD(cgeru) WORD(zgeru)
WORD(cgerc) WORD(zgerc)
WORD(ssyr) WORD(dsyr)
WORD(cher) WORD(zher)
WORD(sspr) WORD(dspr)
WORD(chpr) WORD(zhpr)
WORD(ssyr2) WORD(dsyr2)
WORD(cher2) WORD(zher2)
WORD(sspr2) WORD(dspr2)
WORD(chpr2) WORD(zhpr2)
WORD(saxpy) WORD(daxpy) WORD(caxpy) WORD(zaxpy)
WORD(sscal) WORD(dscal) WORD(cscal) WORD(zscal)
WORD(csscal) WORD(zdscal)
WORD(scopy) WORD(dcopy) WORD(ccopy) WORD(zcopy)
WORD(sswap) WORD(dswap) WORD(cswap) WORD(zswap)
NUMBER(sdot) NUMBER(ddot)
CBLAS_ONLY(cdotu_sub) CBLAS_ONLY(zdotu_sub)
CBLAS_ONLY(cdotc_sub) CBLAS_ONLY(zdotc_sub)
NUMBER(snrm2) NUMBER(dnrm2) NUMBER(scnrm2) NUMBER(dznrm2)
NUMBER(sasum) NUMBER(dasum) NUMBER(scasum) NUMBER(dzasum)
WORD(isamax) WORD(idamax) WORD(icamax) WORD(izamax)
WORD(srot) WORD(drot) WORD(csrot) WORD(zdrot)
    /* clang-format on */
