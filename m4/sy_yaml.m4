# SPDX-License-Identifier: Apache-2.0
# sy_yaml.m4 - libyaml: cluster files (Debian 12 has 0.2.5)

# SY_YAML
AC_DEFUN([SY_YAML], [
SY_LIBRARY([yaml], [YAML], [yaml-0.1], [0.2.1], [yaml.h], [yaml], [yaml_parser_initialize], [libyaml-dev],
  [required])
])
