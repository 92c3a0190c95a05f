# SPDX-License-Identifier: Apache-2.0
# sy_ucx.m4 - UCX, looked for only: this version moves rows over MPI alone (Debian 12 has 1.13)

# SY_UCX
AC_DEFUN([SY_UCX], [
SY_LIBRARY([ucx], [UCX], [ucx], [1.12], [ucp/api/ucp.h], [ucp], [ucp_get_version], [libucx-dev],
  [optional])
])
