# SPDX-License-Identifier: Apache-2.0
# sy_jansson.m4 - jansson: JSON of checkpoints and requests (Debian 12 has 2.14)

# SY_JANSSON
AC_DEFUN([SY_JANSSON], [
SY_LIBRARY([jansson], [JANSSON], [jansson], [2.12], [jansson.h], [jansson], [json_loadb], [libjansson-dev],
  [required])
])
