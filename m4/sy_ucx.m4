# SPDX-License-Identifier: Apache-2.0
# sy_ucx.m4 - UCX, for the ucx transport (Debian 12 has 1.13)

# SY_UCX
# Sets the automake conditional HAVE_UCX, and HAVE_UCX for the sources.
AC_DEFUN([SY_UCX], [
SY_LIBRARY([ucx], [UCX], [ucx], [1.13], [ucp/api/ucp.h], [ucp], [ucp_get_version], [libucx-dev],
  [optional])
AS_IF([test "x$sy_have_ucx" = xyes], [
  # The pieces of UCX that are called beside ucp; pkg-config names them, a plain probe does not.
  AS_CASE([$UCX_LIBS], [*-lucs*], [], [UCX_LIBS="$UCX_LIBS -lucs"])
  AC_DEFINE([HAVE_UCX], [1], [The ucx transport is built.])
])
AM_CONDITIONAL([HAVE_UCX], [test "x$sy_have_ucx" = xyes])
])
