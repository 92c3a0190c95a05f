# SPDX-License-Identifier: Apache-2.0
# sy_nccl.m4 - NCCL, which programs open at run time: nothing of it is needed here

# SY_NCCL
# Sets SY_NCCL_FLAGS for the CUDA compiler, and sy_note_nccl.
AC_DEFUN([SY_NCCL], [
AC_REQUIRE([SY_CUDA])
AC_ARG_WITH([nccl],
  [AS_HELP_STRING([--with-nccl@<:@=DIR@:>@], [have programs with CUDA open NCCL (2.19 or later) at run time,
    from DIR/lib or where the system finds libraries; default: that])], [], [with_nccl=auto])
SY_NCCL_FLAGS=
sy_note_nccl="opened at run time"
AS_CASE([$with_nccl],
  [no], [SY_NCCL_FLAGS=-DSY_NO_NCCL; sy_note_nccl="left out as asked"],
  [yes|auto], [],
  [AS_IF([test -e "$with_nccl/lib/libnccl.so.2"],
    [SY_NCCL_FLAGS="-DSY_NCCL_DIR='\"$with_nccl\"'"; sy_note_nccl="opened at run time from $with_nccl/lib"],
    [AC_MSG_ERROR([NCCL was asked for and was not found.
  looked for: $with_nccl/lib/libnccl.so.2
  to mend it: install libnccl2 of NVIDIA's repository and leave out the folder, or name one with lib/libnccl.so.2])])])
AS_IF([test "x$sy_have_cuda" = xno], [
  AS_CASE([$with_nccl], [no|auto], [],
    [AC_MSG_ERROR([NCCL was asked for, and there is no CUDA, which it is for.
  looked for: nvcc, as said above
  to mend it: name CUDA's folder with --with-cuda=DIR, or leave --with-nccl out])])
  AS_IF([test "x$with_nccl" = xauto], [sy_note_nccl="not used without CUDA"])
])
AC_SUBST([SY_NCCL_FLAGS])
])
