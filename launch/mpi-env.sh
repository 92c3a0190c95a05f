# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# mpi-env.sh - what Open MPI must be told to run on a laptop or in a container; for sourcing
#
# Each setting is left alone when it is already in the environment.

# Containers run as root; Open MPI asks for this twice before it believes it.
if [ "$(id -u)" -eq 0 ]; then
    : "${OMPI_ALLOW_RUN_AS_ROOT:=1}" "${OMPI_ALLOW_RUN_AS_ROOT_CONFIRM:=1}"
    export OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM
fi

# More ranks than cores are normal here. Unbound, and giving the core away while they wait, they cost little; without
# the last one an exchange between ranks that share a core takes a thousand times as long.
: "${OMPI_MCA_rmaps_base_oversubscribe:=1}" "${OMPI_MCA_hwloc_base_binding_policy:=none}"
: "${OMPI_MCA_mpi_yield_when_idle:=1}"
export OMPI_MCA_rmaps_base_oversubscribe OMPI_MCA_hwloc_base_binding_policy OMPI_MCA_mpi_yield_when_idle

# Reading another process's memory needs a capability that containers lack, and is not faster.
: "${OMPI_MCA_btl_vader_single_copy_mechanism:=none}"
export OMPI_MCA_btl_vader_single_copy_mechanism

# A node that has gone is noticed by mpirun after 40 seconds, and not after 8 minutes: later than the ranks (--timeout, 30 s),
# which know better what they wait for. Ranks cannot set this, mpirun has it already.
: "${OMPI_MCA_oob_tcp_keepalive_time:=20}" "${OMPI_MCA_oob_tcp_keepalive_intvl:=5}"
: "${OMPI_MCA_oob_tcp_keepalive_probes:=4}"
export OMPI_MCA_oob_tcp_keepalive_time OMPI_MCA_oob_tcp_keepalive_intvl OMPI_MCA_oob_tcp_keepalive_probes

# hwloc's OpenGL part asks every X display for its GPUs; where the name localhost does not resolve, that takes 5 seconds
# in each process.
: "${HWLOC_COMPONENTS:=-gl}"
export HWLOC_COMPONENTS
