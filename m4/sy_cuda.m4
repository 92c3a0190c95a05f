# SPDX-License-Identifier: Apache-2.0
# sy_cuda.m4 - the CUDA compiler and the architectures that GPU kernels are compiled for

# SY_CUDA
# Sets NVCC, NVCCFLAGS, CUDA_LIBS, NVTX_CPPFLAGS, SY_GENCODE, sy_have_cuda, sy_have_nvtx, sy_cuda_home and sy_version_cuda,
# and the conditional HAVE_CUDA.
AC_DEFUN([SY_CUDA], [
AC_ARG_WITH([cuda],
  [AS_HELP_STRING([--with-cuda@<:@=DIR@:>@], [use nvcc of DIR, PATH or /usr/local/cuda; default: if it is there])],
  [], [with_cuda=auto])
AC_ARG_WITH([cuda-arch],
  [AS_HELP_STRING([--with-cuda-arch=LIST], [compile GPU kernels for these architectures alone, as in 80,90a;
    default: 80 89 90a 100 120, and PTX for later ones])], [], [with_cuda_arch=all])
AC_ARG_VAR([NVCC], [CUDA compiler])
AC_ARG_VAR([NVCCFLAGS], [flags of the CUDA compiler, default -O3])
sy_have_cuda=no
sy_version_cuda=
sy_cuda_home=
sy_have_nvtx=no
AS_CASE([$with_cuda],
  [no], [NVCC=],
  [yes|auto], [AC_PATH_PROG([NVCC], [nvcc], [], [$PATH$PATH_SEPARATOR/usr/local/cuda/bin])],
  [AC_PATH_PROG([NVCC], [nvcc], [], [$with_cuda/bin])])
AS_IF([test -n "$NVCC"], [
  sy_version_cuda=`"$NVCC" --version 2>/dev/null | sed -n 's/.*release \(@<:@0-9.@:>@*\).*/\1/p'`
  AS_IF([test -n "$sy_version_cuda"], [
    sy_have_cuda=yes
    sy_cuda_home=`AS_DIRNAME(["$NVCC"])`/..
  ])
])
AS_IF([test "x$sy_have_cuda" = xno], [AS_CASE([$with_cuda], [no|auto], [], [yes],
  [AC_MSG_ERROR([CUDA was asked for and nvcc was not found.
  looked for: a working nvcc in PATH and in /usr/local/cuda/bin
  to mend it: install nvidia-cuda-toolkit (Debian, Ubuntu) or NVIDIA's own packages, say where it is with
  --with-cuda=DIR, or leave --with-cuda out])],
  [AC_MSG_ERROR([CUDA was asked for and nvcc was not found.
  looked for: a working $with_cuda/bin/nvcc
  to mend it: name the folder that has bin/nvcc, or leave --with-cuda out])])])
CUDA_LIBS=
SY_GENCODE=
AS_IF([test "x$sy_have_cuda" = xyes], [
  : "${NVCCFLAGS=-O3}"
  AS_IF([test "x$with_cuda_arch" = xall], [
    with_cuda_arch="80 89 90a 100 120"
    SY_GENCODE="-gencode=arch=compute_120,code=compute_120"
  ])
  with_cuda_arch=`AS_ECHO(["$with_cuda_arch"]) | tr , ' '`
  for sy_arch in $with_cuda_arch; do
    SY_GENCODE="-gencode=arch=compute_$sy_arch,code=sm_$sy_arch $SY_GENCODE"
  done
  AC_MSG_CHECKING([whether nvcc compiles for $with_cuda_arch])
  AS_ECHO(["__global__ void f(float *x) { *x = 1; }"]) >conftest.cu
  AS_IF(["$NVCC" $SY_GENCODE $NVCCFLAGS -ccbin "${CXX:-g++}" -c -o conftest.cu.o conftest.cu >conftest.cu.log 2>&1],
    [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no])
     cat conftest.cu.log >&AS_MESSAGE_LOG_FD
     AS_IF([test "x$with_cuda" = xauto], [sy_have_cuda=no],
       [AC_MSG_ERROR([CUDA was asked for and nvcc does not compile: config.log has what it says.
  looked for: an nvcc that compiles for $with_cuda_arch, with g++ beside it
  to mend it: install g++, name other architectures with --with-cuda-arch, or leave --with-cuda out])])])
  rm -f conftest.cu conftest.cu.o conftest.cu.log
])
AS_IF([test "x$sy_have_cuda" = xyes], [
  for sy_dir in lib64 lib targets/x86_64-linux/lib; do
    AS_IF([test -e "$sy_cuda_home/$sy_dir/libcudart_static.a"], [
      CUDA_LIBS="-L$sy_cuda_home/$sy_dir"
      break
    ])
  done
  AC_DEFINE_UNQUOTED([SY_BUILD_CUDA], ["CUDA $sy_version_cuda for $with_cuda_arch"],
    [nvcc's version and the architectures of the GPU kernels, where there are any.])
  AC_MSG_CHECKING([for NVTX])
  AS_ECHO(["#include <nvtx3/nvToolsExt.h>"]) >conftest.cu
  AS_IF(["$NVCC" -ccbin "${CXX:-g++}" -c -o conftest.cu.o conftest.cu >&AS_MESSAGE_LOG_FD 2>&1], [
    sy_have_nvtx=yes
    NVTX_CPPFLAGS="-isystem $sy_cuda_home/include"
    AC_DEFINE([SY_HAVE_NVTX], [1], [NVTX's headers are there: ranges go into the timelines of NVIDIA's profilers.])
  ])
  rm -f conftest.cu conftest.cu.o
  AC_MSG_RESULT([$sy_have_nvtx])
  CUDA_LIBS="$CUDA_LIBS -lcudart_static -lstdc++ -lpthread -ldl -lrt"
])
SY_NVCC_WARNINGS=
AS_IF([test "x$enable_werror" = xyes], [SY_NVCC_WARNINGS="-Werror all-warnings"])
AC_SUBST([SY_NVCC_WARNINGS])
AM_CONDITIONAL([HAVE_CUDA], [test "x$sy_have_cuda" = xyes])
AC_SUBST([CUDA_LIBS])
AC_SUBST([NVTX_CPPFLAGS])
AC_SUBST([SY_GENCODE])
# Dependencies that nvcc writes; make's own wildcards are no business of automake's.
SY_CUDA_DEPENDENCIES='-include $(wildcard kernels/cuda/*.d)'
AC_SUBST([SY_CUDA_DEPENDENCIES])
AM_SUBST_NOTMAKE([SY_CUDA_DEPENDENCIES])
])
