# SPDX-License-Identifier: Apache-2.0
# sy_pcre2.m4 - PCRE2, 8-bit: the pre-tokenizers' regular expressions (Debian 12 has 10.42)

# SY_PCRE2
AC_DEFUN([SY_PCRE2], [
SY_LIBRARY([pcre2], [PCRE2], [libpcre2-8], [10.32], [pcre2.h], [pcre2-8], [pcre2_match_8], [libpcre2-dev],
  [required], [#define PCRE2_CODE_UNIT_WIDTH 8])
])
