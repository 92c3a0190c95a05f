# SPDX-License-Identifier: Apache-2.0
# sy_isa.m4 - which instruction sets the CPU kernels are compiled for, besides the portable one

# SY_ISA_CHECK(NAME, Name in messages, FLAGS, STATEMENTS)
# Sets SY_<NAME>_CFLAGS and the conditional HAVE_<NAME>_BUILD.
AC_DEFUN([SY_ISA_CHECK], [
SY_$1_CFLAGS="$3"
sy_save_CFLAGS=$CFLAGS
CFLAGS="$CFLAGS $SY_$1_CFLAGS"
AC_CACHE_CHECK([whether $2 kernels can be compiled for the host], [sy_cv_isa_$1],
  [AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
#ifndef __x86_64__
#error the host is not x86-64
#endif
#include <immintrin.h>]],
    [[$4]])],
    [sy_cv_isa_$1=yes], [sy_cv_isa_$1=no])])
CFLAGS=$sy_save_CFLAGS
AS_IF([test "x$sy_cv_isa_$1" = xyes],
  [AC_DEFINE([HAVE_$1_BUILD], [1], [Define to 1 if the CPU kernels are compiled for $2 too.])])
AM_CONDITIONAL([HAVE_$1_BUILD], [test "x$sy_cv_isa_$1" = xyes])
AC_SUBST([SY_$1_CFLAGS])
])

# SY_ISA
# The kernels are compiled once for each instruction set and the program picks at run time, so this asks what the
# compiler can make for the host, not what this machine can run.
AC_DEFUN([SY_ISA], [
SY_ISA_CHECK([AVX2], [AVX2], [-mavx2 -mfma -mf16c],
  [__m256 a = _mm256_set1_ps(1.0f);
   a = _mm256_fmadd_ps(a, a, _mm256_cvtph_ps(_mm_setzero_si128()));
   return _mm256_movemask_ps(a);])
sy_avx512="-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512bf16"
sy_avx512="$sy_avx512 -mprefer-vector-width=512"
SY_ISA_CHECK([AVX512], [AVX-512], [$sy_avx512],
  [__m512 a = _mm512_set1_ps(1.0f);
   a = _mm512_dpbf16_ps(a, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_setzero_si512());
   return _mm512_cmp_ps_mask(a, a, 0);])
SY_ISA_CHECK([AMX], [AMX], [$sy_avx512 -mamx-tile -mamx-bf16 -mamx-int8],
  [_tile_zero(0);
   _tile_dpbf16ps(0, 1, 2);
   _tile_dpbssd(0, 1, 2);
   return 0;])
])
