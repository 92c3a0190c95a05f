# SPDX-License-Identifier: Apache-2.0
# sy_compiler.m4 - the dialect, the warnings, and the floating-point rules that bit-exactness rests on

# SY_COMPILER
# Sets SY_CFLAGS (always used) and SY_WARNINGS. Contraction is off because a fused multiply-add that the compiler picks
# in one place and not in another would make a row's bits depend on the code around it.
AC_DEFUN([SY_COMPILER], [
AC_ARG_ENABLE([werror],
  [AS_HELP_STRING([--enable-werror], [treat warnings as errors (for development)])],
  [], [enable_werror=no])
AC_LANG_PUSH([C])
for sy_flag in $CFLAGS $CPPFLAGS; do
  AS_CASE([$sy_flag],
    [-ffast-math|-Ofast|-fassociative-math|-funsafe-math-optimizations|-ffp-contract=fast|-ffp-contract=on],
    [AC_MSG_ERROR([$sy_flag lets the compiler reorder or fuse floating-point arithmetic, and results would no longer be
the same bits on every layout; leave it out of CFLAGS])])
done
SY_CFLAGS="-std=gnu11 -ffp-contract=off"
sy_save_CFLAGS=$CFLAGS
CFLAGS="$SY_CFLAGS $CFLAGS"
AC_CACHE_CHECK([whether $CC takes $SY_CFLAGS], [sy_cv_cc_dialect],
  [AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <stdatomic.h>]], [[_Atomic int n = 0; atomic_fetch_add(&n, 1);]])],
    [sy_cv_cc_dialect=yes], [sy_cv_cc_dialect=no])])
CFLAGS=$sy_save_CFLAGS
AS_IF([test "x$sy_cv_cc_dialect" = xno],
  [AC_MSG_ERROR([$CC does not compile C11 with atomics and -ffp-contract=off; use gcc 12 or clang 14 or newer, for
example CC=gcc])])
SY_WARNINGS="-Wall -Wextra"
AS_IF([test "x$enable_werror" = xyes], [SY_WARNINGS="$SY_WARNINGS -Werror"])
sy_cc_version=`$CC --version 2>/dev/null | sed 1q`
AC_DEFINE_UNQUOTED([SY_BUILD_COMPILER], ["$sy_cc_version"], [First line of the compiler's --version.])
AC_DEFINE_UNQUOTED([SY_BUILD_CFLAGS], ["$SY_CFLAGS $CFLAGS"], [The dialect and CFLAGS of this build.])
AC_LANG_POP([C])
AC_SUBST([SY_CFLAGS])
AC_SUBST([SY_WARNINGS])
])
