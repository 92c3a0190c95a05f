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
	%D%/places.c %D%/places.h \
	%D%/placement.c %D%/placement.h

# Discovery, and what other programs' files say of machines.
libtopo_a_SOURCES += \
	%D%/append.c %D%/append.h \
	%D%/finding.c %D%/finding.h \
	%D%/hwloc_links.c %D%/hwloc_links.h %D%/hwloc_view.c %D%/hwloc_view.h %D%/hwloc_xml.c \
	%D%/nccl_private.h %D%/nccl_settle.c %D%/nccl_write.c %D%/nccl_xml.c %D%/nccl_xml.h \
	%D%/nvml.c %D%/nvml.h %D%/nvml_api.h %D%/nvml_check.c \
	%D%/matrix.c \
	%D%/show.c %D%/show.h \
	%D%/survey.c \
	%D%/svg.c %D%/svg.h %D%/svg_plan.c %D%/svg_private.h \
	%D%/view.c %D%/view.h

# Cluster files.
libtopo_a_SOURCES += \
	%D%/cluster.h %D%/cluster_private.h \
	%D%/cluster_check.c %D%/cluster_dump.c %D%/cluster_dump.h %D%/cluster_dump_node.c \
	%D%/cluster_match.c %D%/cluster_merge.c %D%/cluster_merge.h %D%/cluster_verify.c \
	%D%/cluster_fabric.c %D%/cluster_link.c %D%/cluster_node.c %D%/cluster_rank.c \
	%D%/cluster_read.c %D%/cluster_types.c %D%/cluster_value.c %D%/cluster_vertex.c \
	%D%/quantity.c %D%/quantity.h \
	%D%/range.c %D%/range.h \
	%D%/report.c %D%/report.h \
	%D%/yamltree.c %D%/yamltree.h

EXTRA_DIST += %D%/clusters/cpu-eth-16.yaml %D%/clusters/dgx-h100.yaml %D%/clusters/gb200-nvl72.yaml \
	%D%/clusters/h200-4x8.yaml %D%/clusters/laptop.yaml
