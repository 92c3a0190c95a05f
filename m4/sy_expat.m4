# SPDX-License-Identifier: Apache-2.0
# sy_expat.m4 - expat: XML of hwloc and NCCL, with the place of every element (Debian 12 has 2.5)

# SY_EXPAT
AC_DEFUN([SY_EXPAT], [
SY_LIBRARY([expat], [EXPAT], [expat], [2.2], [expat.h], [expat], [XML_ParserCreate], [libexpat1-dev],
  [required])
])
