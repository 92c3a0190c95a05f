# SPDX-License-Identifier: Apache-2.0
# topo/local.mk - machines, clusters, and where experts go

noinst_LIBRARIES += libtopo.a

libtopo_a_SOURCES = \
	%D%/cgroup.c %D%/cgroup.h \
	%D%/discover.c %D%/discover.h \
	%D%/gpu.c %D%/gpu.h \
	%D%/model.c %D%/model.h %D%/model_private.h \
	%D%/model_equal.c %D%/model_finish.c %D%/model_pack.c %D%/model_types.c \
	%D%/path.c %D%/path.h \
	%D%/placement.c %D%/placement.h

# Discovery, and what other programs' files say of machines.
libtopo_a_SOURCES += \
	%D%/finding.c %D%/finding.h \
	%D%/nvml.c %D%/nvml.h %D%/nvml_api.h %D%/nvml_check.c
