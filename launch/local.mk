# SPDX-License-Identifier: Apache-2.0
# launch/local.mk - the launcher with what it sources, and scripts that are run from the source folder

dist_bin_SCRIPTS += %D%/switchyard-run
# Where switchyard-run looks: ../share/switchyard beside its folder.
sourceddir = $(bindir)/../share/switchyard
dist_sourced_DATA = %D%/check-nodes.sh %D%/mpi-env.sh

EXTRA_DIST += \
	%D%/setup \
	%D%/demo \
	%D%/check \
	%D%/measure-load
