# SPDX-License-Identifier: Apache-2.0
# sy_summary.m4 - what configure found, in one box

# SY_SUMMARY_LINE(LABEL, TEXT)
m4_define([SY_SUMMARY_LINE], [AS_ECHO(["  |  `printf '%-14s' '$1'`  $2"])])

# SY_SUMMARY
AC_DEFUN([SY_SUMMARY], [
AS_CASE([$sy_have_ucx$with_ucx],
  [yes*], [sy_note_ucx=${sy_version_ucx:-found}],
  [nono], [sy_note_ucx="left out as asked"],
  [sy_note_ucx="not found: no ucx transport"])
AS_CASE([$sy_have_cuda$with_cuda],
  [yes*], [sy_note_cuda="$sy_version_cuda, for $with_cuda_arch"
    AS_IF([test "x$sy_have_nvtx" = xno], [sy_note_cuda="$sy_note_cuda, without NVTX"])],
  [nono], [sy_note_cuda="left out as asked"],
  [sy_note_cuda="not found: CPUs only"])
AS_ECHO(["  +----------------------------------------------------------------------"])
SY_SUMMARY_LINE([switchyard], [$PACKAGE_VERSION])
SY_SUMMARY_LINE([compiler], [$CC ($sy_cc_version)])
SY_SUMMARY_LINE([flags], [$SY_CFLAGS $CFLAGS])
SY_SUMMARY_LINE([sanitizers], [$enable_sanitizers])
sy_isas=portable
AS_IF([test "x$sy_cv_isa_AVX2" = xyes], [sy_isas="$sy_isas, AVX2"])
AS_IF([test "x$sy_cv_isa_AVX512" = xyes], [sy_isas="$sy_isas, AVX-512 with BF16"])
AS_IF([test "x$sy_cv_isa_AMX" = xyes], [sy_isas="$sy_isas, AMX"])
SY_SUMMARY_LINE([CPU kernels], [$sy_isas])
SY_SUMMARY_LINE([MPI], [${sy_version_mpi:-found}, launcher $MPIRUN])
SY_SUMMARY_LINE([hwloc], [${sy_version_hwloc:-found}])
SY_SUMMARY_LINE([expat], [${sy_version_expat:-found}])
SY_SUMMARY_LINE([jansson], [${sy_version_jansson:-found}])
SY_SUMMARY_LINE([PCRE2], [${sy_version_pcre2:-found}])
SY_SUMMARY_LINE([utf8proc], [${sy_version_utf8proc:-found}])
SY_SUMMARY_LINE([libyaml], [${sy_version_yaml:-found}])
SY_SUMMARY_LINE([UCX], [$sy_note_ucx])
SY_SUMMARY_LINE([CUDA], [$sy_note_cuda])
SY_SUMMARY_LINE([NCCL], [$sy_note_nccl])
AS_ECHO(["  +----------------------------------------------------------------------"])
])
