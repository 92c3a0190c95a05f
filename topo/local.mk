# SPDX-License-Identifier: Apache-2.0
# topo/local.mk - machines, clusters, and where experts go

noinst_LIBRARIES += libtopo.a

libtopo_a_SOURCES = \
	%D%/cgroup.c %D%/cgroup.h \
	%D%/discover.c %D%/discover.h \
	%D%/gpu.c %D%/gpu.h \
	%D%/placement.c %D%/placement.h
