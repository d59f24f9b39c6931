/* blas_name_list.h - the names under which programs load a BLAS, and the integers that each promises: a line each. */
/* SPDX-License-Identifier: MIT */

/* BLAS(name, integer_bits): 0 where one name serves both widths. */
#if defined(__APPLE__)
BLAS("/System/Library/Frameworks/Accelerate.framework/Accelerate", 32)
BLAS("libopenblas.dylib", 32)
BLAS("libopenblas.0.dylib", 32)
BLAS("libblis.4.dylib", 0)
BLAS("libcblas.dylib", 32)
BLAS("libblas.dylib", 32)
#else
BLAS("libopenblas.so.0", 32)
BLAS("libopenblasp.so.0", 32) /* Fedora: pthreads */
BLAS("libopenblaso.so.0", 32) /* Fedora: OpenMP */
BLAS("libopenblas64.so.0", 64)
BLAS("libopenblas64_.so.0", 64)
BLAS("libblis.so.4", 32)
BLAS("libblis-mt.so.4", 32)
BLAS("libblis64.so.4", 64)
BLAS("libflexiblas.so.3", 32)
BLAS("libflexiblas64.so.3", 64)
BLAS("libmkl_rt.so.3", 0)
BLAS("libmkl_rt.so.2", 0)
BLAS("libmkl_rt.so.1", 0)
BLAS("libarmpl_lp64.so", 32)
BLAS("libarmpl_ilp64.so", 64)
BLAS("libnvpl_blas_lp64_gomp.so.0", 32)
BLAS("libnvpl_blas_ilp64_gomp.so.0", 64)
BLAS("libsatlas.so.3", 32) /* Fedora: ATLAS in one library, serial and threaded */
BLAS("libtatlas.so.3", 32)
BLAS("libf77blas.so.3", 32)
BLAS("libcblas.so.3", 32)
BLAS("libcblas64.so.3", 64)
BLAS("libblas.so.3", 32)
BLAS("libblas64.so.3", 64)
BLAS("libgslcblas.so.0", 32)
#endif
