# SPDX-License-Identifier: Apache-2.0
# sy_mpi.m4 - MPI 3.1: Open MPI (Debian 12 has 4.1.4), or another that has mpicc

# SY_MPI
# The flags are asked of mpicc and given to $CC, so that any compiler can be used. Sets MPI_CPPFLAGS, MPI_LDFLAGS,
# MPI_LIBS, MPIRUN, sy_version_mpi.
AC_DEFUN([SY_MPI], [
AC_REQUIRE([PKG_PROG_PKG_CONFIG])
AC_ARG_WITH([mpi],
  [AS_HELP_STRING([--with-mpi@<:@=DIR@:>@], [use the MPI (needed) of DIR/bin/mpicc instead of the one in PATH])],
  [], [with_mpi=auto])
AC_ARG_VAR([MPICC], [MPI compiler wrapper that is asked for flags])
AC_ARG_VAR([MPIRUN], [launcher of MPI programs, for the tests])
AS_CASE([$with_mpi],
  [no], [AC_MSG_ERROR([switchyard cannot be built without MPI: leave out --without-mpi])],
  [yes|auto], [sy_path=$PATH; sy_where="mpicc in PATH (or MPICC=), then pkg-config module ompi-c or mpich"],
  [sy_path=$with_mpi/bin; sy_where="$with_mpi/bin/mpicc"])
sy_wrapper=${MPICC:-mpicc}
sy_given=$MPICC
AC_PATH_PROG([MPICC], [$sy_wrapper], [], [$sy_path])
AS_IF([test -n "$sy_given" && ! test -x "$MPICC"],
  [AC_MSG_ERROR([MPICC=$sy_given is no program in $sy_path; name an mpicc, or leave MPICC out])])
AS_IF([test -n "$MPICC"], [sy_path=`AS_DIRNAME(["$MPICC"])`$PATH_SEPARATOR$sy_path])
# A launcher that is given may have arguments and is taken as it is.
AS_IF([test -z "$MPIRUN"], [AC_PATH_PROGS([MPIRUN], [mpirun mpiexec], [mpirun], [$sy_path])])

AC_MSG_CHECKING([for the flags of MPI])
sy_compile=
sy_link=
AS_IF([test -n "$MPICC" && sy_compile=`"$MPICC" --showme:compile 2>/dev/null`], [
  # Open MPI
  sy_link=`"$MPICC" --showme:link 2>/dev/null`
], [test -n "$MPICC" && sy_compile=`"$MPICC" -compile_info 2>/dev/null`], [
  # MPICH and its relatives print the whole command.
  sy_link=`"$MPICC" -link_info 2>/dev/null`
], [
  AS_CASE([$with_mpi], [yes|auto], [
    for sy_module in ompi-c mpich; do
      AS_IF([test -z "$sy_link" && test -n "$PKG_CONFIG" && "$PKG_CONFIG" --exists $sy_module], [
        sy_compile=`"$PKG_CONFIG" --cflags $sy_module`
        sy_link=`"$PKG_CONFIG" --libs $sy_module`
      ])
    done
  ])
])
MPI_CPPFLAGS=
MPI_LDFLAGS=
MPI_LIBS=
for sy_flag in $sy_compile; do
  AS_CASE([$sy_flag], [-I*|-D*], [MPI_CPPFLAGS="$MPI_CPPFLAGS $sy_flag"])
done
for sy_flag in $sy_link; do
  AS_CASE([$sy_flag], [-L*|-Wl*], [MPI_LDFLAGS="$MPI_LDFLAGS $sy_flag"], [-l*], [MPI_LIBS="$MPI_LIBS $sy_flag"])
done
AC_MSG_RESULT([${MPI_LIBS:-none}])

sy_save_CPPFLAGS=$CPPFLAGS
sy_save_LDFLAGS=$LDFLAGS
sy_save_LIBS=$LIBS
CPPFLAGS="$CPPFLAGS $MPI_CPPFLAGS"
LDFLAGS="$LDFLAGS $MPI_LDFLAGS"
LIBS="$MPI_LIBS $LIBS"
AC_MSG_CHECKING([for MPI >= 3.1])
AC_LINK_IFELSE([AC_LANG_PROGRAM([[
#include <mpi.h>
#if MPI_VERSION < 3 || (MPI_VERSION == 3 && MPI_SUBVERSION < 1)
#error MPI is older than 3.1
#endif]], [[return MPI_Init(0, 0);]])], [sy_have_mpi=yes], [sy_have_mpi=no])
AC_MSG_RESULT([$sy_have_mpi])
# Open MPI has this beside MPI, MPICH within.
AC_CHECK_HEADER([mpi-ext.h], [sy_have_mpi_ext=yes], [sy_have_mpi_ext=no], [[#include <mpi.h>]])
AS_IF([test "x$sy_have_mpi_ext" = xyes], [AC_DEFINE([HAVE_MPI_EXT_H], [1], [MPI has mpi-ext.h.])])
AC_MSG_CHECKING([whether MPI says if it takes memory of GPUs])
AC_LINK_IFELSE([AC_LANG_PROGRAM([[
#include <mpi.h>
#ifdef HAVE_MPI_EXT_H
#include <mpi-ext.h>
#endif]], [[return MPIX_Query_cuda_support();]])], [sy_have_mpi_query=yes], [sy_have_mpi_query=no])
AC_MSG_RESULT([$sy_have_mpi_query])
AS_IF([test "x$sy_have_mpi_query" = xyes],
  [AC_DEFINE([HAVE_MPI_CUDA_QUERY], [1], [MPI has MPIX_Query_cuda_support().])])
CPPFLAGS=$sy_save_CPPFLAGS
LDFLAGS=$sy_save_LDFLAGS
LIBS=$sy_save_LIBS
AS_IF([test "x$sy_have_mpi" = xno], [
  AC_MSG_ERROR([no MPI 3.1 was found that $CC can link.
  looked for: $sy_where
  to mend it: install openmpi-bin and libopenmpi-dev (Debian, Ubuntu), load your site's MPI module, or say where it is:
  --with-mpi=DIR or MPICC=FILE])
])
sy_version_mpi=`$MPIRUN --version 2>/dev/null | sed -n 's/^.*(Open.*) /Open MPI /p; s/^ *Version: */MPICH /p' | sed 1q`
AC_DEFINE_UNQUOTED([SY_BUILD_MPI], ["${sy_version_mpi:-unknown}"], [What mpirun says of itself.])
AC_SUBST([MPI_CPPFLAGS])
AC_SUBST([MPI_LDFLAGS])
AC_SUBST([MPI_LIBS])
])
