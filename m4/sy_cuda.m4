# SPDX-License-Identifier: Apache-2.0
# sy_cuda.m4 - the CUDA compiler, looked for only: this version computes on CPUs

# SY_CUDA
# Sets NVCC, sy_cuda_home, sy_have_cuda and sy_version_cuda.
AC_DEFUN([SY_CUDA], [
AC_ARG_WITH([cuda],
  [AS_HELP_STRING([--with-cuda@<:@=DIR@:>@], [use nvcc of DIR, PATH or /usr/local/cuda; default: if it is there])],
  [], [with_cuda=auto])
AC_ARG_VAR([NVCC], [CUDA compiler])
sy_have_cuda=no
sy_version_cuda=
sy_cuda_home=
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
])
