# SPDX-License-Identifier: Apache-2.0
# sy_sanitizers.m4 - instrumented builds: --enable-sanitizers and --enable-fuzzers

# SY_SANITIZERS
# Sets SY_SANITIZE_CFLAGS, SY_SANITIZE_LDFLAGS (for everything), SY_FUZZ_LDFLAGS (for the fuzz programs alone) and the
# conditional FUZZERS.
AC_DEFUN([SY_SANITIZERS], [
AC_ARG_ENABLE([sanitizers],
  [AS_HELP_STRING([--enable-sanitizers@<:@=LIST@:>@],
    [compile with -fsanitize=LIST (address,undefined when no list is given)])],
  [], [enable_sanitizers=no])
AC_ARG_ENABLE([fuzzers],
  [AS_HELP_STRING([--enable-fuzzers], [make the parsers' fuzz programs with libFuzzer; needs clang])],
  [], [enable_fuzzers=no])
AS_IF([test "x$enable_sanitizers" = xyes], [enable_sanitizers=address,undefined])
AS_IF([test "x$enable_fuzzers" != xno && test "x$enable_sanitizers" = xno], [enable_sanitizers=address,undefined])
SY_SANITIZE_CFLAGS=
SY_SANITIZE_LDFLAGS=
SY_FUZZ_LDFLAGS=
AS_IF([test "x$enable_sanitizers" != xno], [
  SY_SANITIZE_CFLAGS="-fsanitize=$enable_sanitizers -fno-sanitize-recover=all -fno-omit-frame-pointer"
  SY_SANITIZE_LDFLAGS="-fsanitize=$enable_sanitizers"
  sy_save_CFLAGS=$CFLAGS
  CFLAGS="$CFLAGS $SY_SANITIZE_CFLAGS"
  AC_MSG_CHECKING([whether $CC links with -fsanitize=$enable_sanitizers])
  AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [AC_MSG_RESULT([yes])], [
    AC_MSG_RESULT([no])
    AC_MSG_ERROR([$CC cannot link a program with -fsanitize=$enable_sanitizers; on Debian and Ubuntu the run-time
library comes with the packages gcc and libclang-rt-14-dev; or leave out --enable-sanitizers])])
  CFLAGS=$sy_save_CFLAGS
])
AS_IF([test "x$enable_fuzzers" != xno], [
  sy_save_CFLAGS=$CFLAGS
  CFLAGS="$CFLAGS -fsanitize=fuzzer"
  AC_MSG_CHECKING([whether $CC has libFuzzer])
  AC_LINK_IFELSE([AC_LANG_SOURCE([[
#include <stddef.h>
#include <stdint.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return data != NULL && size > 4096; }]])],
    [AC_MSG_RESULT([yes])], [
    AC_MSG_RESULT([no])
    AC_MSG_ERROR([$CC cannot link with -fsanitize=fuzzer; configure with CC=clang (Debian and Ubuntu: packages clang and
libclang-rt-14-dev or newer), or leave out --enable-fuzzers])])
  CFLAGS=$sy_save_CFLAGS
  SY_SANITIZE_CFLAGS="$SY_SANITIZE_CFLAGS -fsanitize=fuzzer-no-link"
  SY_FUZZ_LDFLAGS=-fsanitize=fuzzer
])
AM_CONDITIONAL([FUZZERS], [test "x$enable_fuzzers" != xno])
AS_CASE([$enable_sanitizers], [*address*],
  [AC_DEFINE([SY_BUILD_ADDRESS_SANITIZER], [1], [Define to 1 if the build has the address sanitizer.])])
AC_SUBST([SY_SANITIZE_CFLAGS])
AC_SUBST([SY_SANITIZE_LDFLAGS])
AC_SUBST([SY_FUZZ_LDFLAGS])
])
