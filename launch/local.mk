# SPDX-License-Identifier: Apache-2.0
# launch/local.mk - the launcher with what it sources, and scripts that are run from the source folder

dist_bin_SCRIPTS += %D%/switchyard-run
# Where switchyard-run looks: ../share/switchyard beside its folder.
sourceddir = $(bindir)/../share/switchyard
dist_sourced_DATA = %D%/check-nodes.sh %D%/find-places.sh %D%/mpi-env.sh
# Batch scripts, to be used as they are or copied and changed.
slurmdir = $(sourceddir)/slurm
dist_slurm_SCRIPTS = %D%/slurm/single.sh %D%/slurm/array.sh %D%/slurm/requeue.sh

EXTRA_DIST += \
	%D%/setup \
	%D%/demo \
	%D%/check \
	%D%/measure-load \
	%D%/container-build \
	%D%/Dockerfile \
	%D%/Dockerfile.dockerignore \
	%D%/switchyard.def
