# SPDX-License-Identifier: Apache-2.0
# launch/local.mk - scripts that are run from the source folder

EXTRA_DIST += \
	%D%/setup \
	%D%/demo \
	%D%/check \
	%D%/measure-load \
	%D%/mpi-env.sh
