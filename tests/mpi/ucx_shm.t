#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ucx_shm.t - the ucx transport over shared memory, where puts need no help, beside Open MPI's use of UCX too

# shellcheck source=tests/mpi/ucx.sh
. "${SY_SRCDIR:-.}/tests/mpi/ucx.sh"

ucx_needed
: "${OMPI_MCA_pml:=ob1}"
export OMPI_MCA_pml
ucx_conforms put 1 2 3 4 5 6 7 8 16

OMPI_MCA_pml=ucx OMPI_MCA_opal_common_ucx_tls=any OMPI_MCA_opal_common_ucx_devices=any
export OMPI_MCA_opal_common_ucx_tls OMPI_MCA_opal_common_ucx_devices
# shellcheck disable=SC2086 # MPIRUN is a command with arguments
if $MPIRUN -n 2 "$SY_BUILDDIR/switchyard" doctor </dev/null >/dev/null 2>&1; then
    ucx_conforms put 3
else
    skip "Open MPI over UCX" "this MPI has no pml of that name"
fi
done_testing
