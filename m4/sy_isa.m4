# SPDX-License-Identifier: Apache-2.0
# sy_isa.m4 - which instruction sets the CPU kernels are compiled for, besides the portable one

# SY_ISA
# The kernels are compiled once for each instruction set and the program picks at run time, so this asks what the
# compiler can make for the host, not what this machine can run.
AC_DEFUN([SY_ISA], [
SY_AVX2_CFLAGS="-mavx2 -mfma -mf16c"
sy_save_CFLAGS=$CFLAGS
CFLAGS="$CFLAGS $SY_AVX2_CFLAGS"
AC_CACHE_CHECK([whether AVX2 kernels can be compiled for the host], [sy_cv_isa_avx2],
  [AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
#ifndef __x86_64__
#error the host is not x86-64
#endif
#include <immintrin.h>]],
    [[__m256 a = _mm256_set1_ps(1.0f);
      a = _mm256_fmadd_ps(a, a, _mm256_cvtph_ps(_mm_setzero_si128()));
      return _mm256_movemask_ps(a);]])],
    [sy_cv_isa_avx2=yes], [sy_cv_isa_avx2=no])])
CFLAGS=$sy_save_CFLAGS
AS_IF([test "x$sy_cv_isa_avx2" = xyes],
  [AC_DEFINE([HAVE_AVX2_BUILD], [1], [Define to 1 if the CPU kernels are compiled for AVX2 too.])])
AM_CONDITIONAL([HAVE_AVX2_BUILD], [test "x$sy_cv_isa_avx2" = xyes])
AC_SUBST([SY_AVX2_CFLAGS])
])
