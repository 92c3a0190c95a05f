# SPDX-License-Identifier: Apache-2.0
# sy_nccl.m4 - NCCL, looked for only: this version has no GPU transport

# SY_NCCL
AC_DEFUN([SY_NCCL], [
AC_REQUIRE([SY_CUDA])
# nccl.h includes CUDA's headers, so the two are looked for together.
sy_outer_CPPFLAGS=$CPPFLAGS
AS_IF([test -n "$sy_cuda_home"], [CPPFLAGS="$CPPFLAGS -I$sy_cuda_home/include"])
SY_LIBRARY([nccl], [NCCL], [nccl], [2.19], [nccl.h], [nccl], [ncclGetVersion], [libnccl-dev of NVIDIA's repository],
  [optional])
CPPFLAGS=$sy_outer_CPPFLAGS
])
