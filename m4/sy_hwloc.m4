# SPDX-License-Identifier: Apache-2.0
# sy_hwloc.m4 - hwloc: cores, caches, NUMA nodes and PCI devices of a machine (Debian 12 has 2.9)

# SY_HWLOC
AC_DEFUN([SY_HWLOC], [
SY_LIBRARY([hwloc], [HWLOC], [hwloc], [2.5], [hwloc.h], [hwloc], [hwloc_topology_init], [libhwloc-dev],
  [required])
])
