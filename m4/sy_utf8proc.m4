# SPDX-License-Identifier: Apache-2.0
# sy_utf8proc.m4 - utf8proc: Unicode normalization before tokenizing

# SY_UTF8PROC
AC_DEFUN([SY_UTF8PROC], [
SY_LIBRARY([utf8proc], [UTF8PROC], [libutf8proc], [2.2], [utf8proc.h], [utf8proc], [utf8proc_map], [libutf8proc-dev],
  [required])
])
